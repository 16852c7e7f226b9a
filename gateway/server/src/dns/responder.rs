//! Answers whatever the UDP loop leaves over, and everything over TCP.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use weft_model::ServiceKey;
use weft_plan::dns::wire::{Compiled, Query, Recursion, ResponseCode, TCP_MAX, Unread};
use weft_plan::dns::{ClientView, ExtendedError, Question, RecordType, Verdict, Zones, answer};

use super::forward::Forwarder;
use super::metrics::{Counters, DnsMetrics, Dropped};
use super::publish::ZonesSource;
use super::unusual;

/// How long a question waits for endpoints that nobody has asked for before. Less
/// than the patience of any resolver, more than a round trip around the world.
const AWAIT: Duration = Duration::from_secs(1);
/// How often it is looked whether they have come.
const LOOK: Duration = Duration::from_millis(20);

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What answers come from, shared by connections and left-over datagrams.
pub(super) struct Responder {
    pub(super) zones: ZonesSource,
    pub(super) forwarder: Forwarder,
    pub(super) interest: Option<mpsc::Sender<ServiceKey>>,
    pub(super) metrics: DnsMetrics,
    /// Which of the metrics' threads this counts on.
    pub(super) thread: usize,
}

impl Responder {
    /// Whether other servers are asked.
    pub(super) fn recursion(&self) -> Recursion {
        match self.forwarder.has_upstreams() {
            true => Recursion::Available,
            false => Recursion::Unavailable,
        }
    }

    /// Answers a packet from this port; none if it gets no answer.
    pub(super) async fn respond(
        &self,
        packet: &[u8],
        port: u16,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let query = match Query::read(packet) {
            Ok(query) => query,
            Err(Unread::Ignored) => {
                self.counters().dropped(Dropped::NoQuery);
                return None;
            }
            Err(Unread::Odd) => {
                let judged = unusual::judge(packet, self.recursion())?;
                self.counters().answered(judged.code, None, None);
                return Some(judged.response);
            }
        };
        let question = query.question();
        match self.zones_answer(&question).await {
            Some(compiled) => Some(self.write(&compiled, &query, transport)),
            None => self.others_answer(&query, port, transport).await,
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        self.metrics.thread(self.thread)
    }

    /// The answer of our zones; waits a moment for endpoints that are not known yet.
    async fn zones_answer(&self, question: &Question) -> Option<Compiled> {
        let until = Instant::now() + AWAIT;
        let mut seen: Option<Arc<Zones>> = None;
        loop {
            let zones = self.zones.load_full();
            let fresh = !seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &zones));
            let last = Instant::now() >= until;
            if fresh || last {
                let client = ClientView {
                    turn: rand::random(),
                };
                let answer = answer(&zones, question, &client);
                if let Some(service) = &answer.wanted {
                    show_interest(&self.interest, service);
                }
                let awaited =
                    answer.wanted.is_some() && matches!(answer.verdict, Verdict::CannotKnow(_));
                if !awaited || last {
                    return Compiled::new(question, &answer);
                }
                seen = Some(zones);
            }
            sleep(LOOK).await;
        }
    }

    async fn others_answer(
        &self,
        query: &Query<'_>,
        port: u16,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let id = u16::from_be_bytes([query.packet()[0], query.packet()[1]]);
        if self.forwarder.is_own(port, id) {
            self.counters().dropped(Dropped::Loop);
            return None;
        }
        if !self.forwarder.has_upstreams() || !query.recursion_desired() {
            let refused = Compiled::failure(
                ResponseCode::Refused,
                ExtendedError::NotAuthoritative,
                "the name is in none of the zones served here",
            );
            return Some(self.write(&refused, query, transport));
        }
        match self.forwarder.forward(query, transport).await {
            Ok(response) => {
                let kind = Some(query.record_type());
                self.counters()
                    .answered(u16::from(response[3] & 0xf), None, kind);
                Some(fit(response, query, transport))
            }
            Err(why) => {
                let error = ExtendedError::NoReachableAuthority;
                let failure = Compiled::failure(ResponseCode::ServFail, error, &why.to_string());
                Some(self.write(&failure, query, transport))
            }
        }
    }

    fn write(&self, compiled: &Compiled, query: &Query<'_>, transport: Transport) -> Vec<u8> {
        let mut response = Vec::new();
        let limit = limit(query, transport);
        compiled.write(query, limit, self.recursion(), &mut response);
        count(self.counters(), compiled, query.record_type());
        response
    }
}

/// Counts an answer of our own.
pub(super) fn count(counters: &Counters, compiled: &Compiled, asked: RecordType) {
    counters.answered(compiled.code() as u16, compiled.error(), Some(asked));
}

/// Tells whoever keeps the catalog that somebody asks for a service. If it does not
/// keep up it has enough to do, and the next question comes soon.
pub(super) fn show_interest(interest: &Option<mpsc::Sender<ServiceKey>>, service: &ServiceKey) {
    if let Some(interest) = interest {
        let _ = interest.try_send(service.clone());
    }
}

fn limit(query: &Query<'_>, transport: Transport) -> usize {
    match transport {
        Transport::Udp => query.udp_limit(),
        Transport::Tcp => TCP_MAX,
    }
}

/// A forwarded response, cut to its question if it is more than the client takes.
fn fit(mut response: Vec<u8>, query: &Query<'_>, transport: Transport) -> Vec<u8> {
    if response.len() > limit(query, transport) {
        response.truncate(query.question_end());
        response[2] |= 0x02;
        response[6..12].fill(0);
        if query.edns().is_some() {
            response[11] = 1;
            response.extend([0, 0, 41]);
            response.extend((weft_plan::dns::wire::UDP_MAX as u16).to_be_bytes());
            response.extend([0; 6]);
        }
    }
    response
}
