//! Opens a relayed connection: asks gateways of the target's cluster in turn until one
//! has connected it. Both the near relay and the stand-in begin here.
//!
//! A gateway that says nothing, on a link by which nothing else comes either, may be
//! gone without a word. Beside it the next one is asked; the first that has connected
//! is taken. A gateway has many links, which go silent together: no second one of them is
//! asked while there is another gateway.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{sleep, timeout};
use weft_decide::Reason;
use weft_model::ClusterName;
use weft_proto::peer::RelayStream;

use crate::tunnel::{PeerStream, RelayLink, Tunnels};

/// A stream whose far end is connected, or why there is none.
pub(crate) async fn open(
    tunnels: &Tunnels,
    worker: usize,
    cluster: &ClusterName,
    header: &RelayStream,
) -> Result<PeerStream, Reason> {
    let mut asked = Vec::with_capacity(TRIES);
    let mut answers = FuturesUnordered::new();
    let mut last = Reason::NoPath;
    for turn in 1.. {
        let link = (turn <= TRIES).then(|| tunnels.relay_link(worker, cluster, &asked));
        let link = link.flatten();
        asked.extend(link.as_ref().map(RelayLink::node));
        answers.extend(link.clone().map(|link| ask(link, header.clone())));
        let answer = tokio::select! {
            answer = answers.next() => answer,
            () = silent(link.as_ref()), if turn < TRIES => continue,
        };
        match answer {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(Failure::Final(reason))) => return Err(reason),
            Some(Err(Failure::OfGateway(reason))) => last = reason,
            None => break,
        }
    }
    Err(last)
}

/// Why a gateway did not connect, and whether another one may do better.
enum Failure {
    OfGateway(Reason),
    Final(Reason),
}

/// Asks one gateway.
async fn ask(link: RelayLink, header: RelayStream) -> Result<PeerStream, Failure> {
    let priority = priority(&header);
    let mut stream = match timeout(OPEN, link.open(header)).await {
        Ok(Ok(stream)) => Unused(Some(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a relay stream could not be opened");
            return Err(Failure::OfGateway(Reason::NoPath));
        }
        Err(_) => return Err(Failure::OfGateway(Reason::NoPath)),
    };
    let mut status = [0];
    let answered = {
        let PeerStream { send, recv, .. } = stream.0.as_mut().expect("taken at the end only");
        // It fails only on a stream that has ended, and then the read fails too.
        let _ = send.set_priority(priority);
        timeout(STATUS, recv.read_exact(&mut status)).await
    };
    match answered {
        Ok(Ok(())) => match Reason::from_wire(status[0]) {
            Ok(()) => Ok(stream.0.take().expect("taken here only")),
            Err(reason) if is_of_gateway(reason) => Err(Failure::OfGateway(reason)),
            Err(reason) => Err(Failure::Final(reason)),
        },
        Ok(Err(_)) => Err(Failure::OfGateway(Reason::NoPath)),
        Err(_) => Err(Failure::Final(Reason::Timeout)),
    }
}

/// Resolves once nothing has come by the link for as long as an answer may take.
async fn silent(link: Option<&RelayLink>) {
    let Some(link) = link else {
        return std::future::pending().await;
    };
    loop {
        let arrived = link.arrived();
        sleep((link.rtt() * ROUND_TRIPS).max(PATIENCE_MIN)).await;
        if link.doubt(arrived) {
            return;
        }
    }
}

/// A stream that nobody uses yet: dropped as it is, it would end as if all had been said.
struct Unused(Option<PeerStream>);

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(mut stream) = self.0.take() {
            abandon(&mut stream);
        }
    }
}

/// Resets a stream that nobody will use.
pub(super) fn abandon(stream: &mut PeerStream) {
    let _ = stream.send.reset(ABANDONED);
    let _ = stream.recv.stop(ABANDONED);
}

/// Whether another gateway of the same cluster may do better. What a gateway says of
/// the endpoint, others would only repeat.
fn is_of_gateway(reason: Reason) -> bool {
    matches!(reason, Reason::Draining | Reason::Overload | Reason::NoPath)
}

/// A connection's priority among the streams of its tunnel connection; higher goes first.
fn priority(header: &RelayStream) -> i32 {
    i32::try_from(header.priority.min(PRIORITY_MAX)).unwrap_or(0)
}

const ABANDONED: quinn::VarInt = quinn::VarInt::from_u32(3);
const PRIORITY_MAX: u32 = 7;
/// How many gateways are asked.
const TRIES: usize = 3;
/// How long opening a stream may take: it waits while the peer allows no more.
const OPEN: Duration = Duration::from_secs(5);
/// How long the far gateway may take to connect, including the way there and back.
const STATUS: Duration = Duration::from_secs(10);
/// Silence on a link that should bring an answer, in round trips and at least, after
/// which another gateway is asked.
const ROUND_TRIPS: u32 = 3;
const PATIENCE_MIN: Duration = Duration::from_millis(200);
