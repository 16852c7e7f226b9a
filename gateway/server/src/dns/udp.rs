//! The UDP loop: one thread that answers in batches and never waits for anyone.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weft_model::ServiceKey;
use weft_plan::dns::wire::{Query, Recursion, Unread};

use super::memo::{Found, Memo};
use super::metrics::{Counters, DnsMetrics, Dropped};
use super::publish::ZonesSource;
use super::responder::{Responder, Transport, count, show_interest};
use super::sys::{self, Batch, Peer};

/// Left-over queries that may wait to be taken up.
pub(super) const WAITING_MAX: usize = 1024;
/// Left-over queries answered at once.
const AT_ONCE_MAX: usize = 512;

/// A query that takes more than the loop has time for.
pub(super) struct LeftOver {
    packet: Vec<u8>,
    peer: Peer,
}

/// The loop and what it answers from.
pub(super) struct UdpLoop {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) zones: ZonesSource,
    pub(super) recursion: Recursion,
    pub(super) interest: Option<mpsc::Sender<ServiceKey>>,
    pub(super) left_over: mpsc::Sender<LeftOver>,
    pub(super) metrics: DnsMetrics,
    /// Which of the metrics' threads this counts on.
    pub(super) thread: usize,
    pub(super) stop: Arc<AtomicBool>,
}

impl UdpLoop {
    /// Answers until told to stop.
    pub(super) fn run(self) {
        let mut batch = Batch::new();
        let mut memo = Memo::new(self.zones.load_full());
        loop {
            let received = batch.receive(&self.socket);
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            match received {
                Ok(count) => {
                    memo.follow(&self.zones.load());
                    (0..count).for_each(|at| self.handle(&mut batch, at, &mut memo));
                    batch.send(&self.socket, count);
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "DNS over UDP has stopped: its socket cannot be read");
                    return;
                }
            }
        }
    }

    fn handle(&self, batch: &mut Batch, at: usize, memo: &mut Memo) {
        let (packet, peer, reply) = batch.slot(at);
        let query = match Query::read(packet) {
            _ if peer.port() == 0 => return self.counters().dropped(Dropped::NoQuery),
            Err(Unread::Ignored) => return self.counters().dropped(Dropped::NoQuery),
            Err(Unread::Odd) => return self.leave_over(packet, peer),
            Ok(query) => query,
        };
        match memo.answer(&query) {
            Found::Compiled(compiled, wanted) => {
                if let Some(service) = wanted {
                    show_interest(&self.interest, &service);
                }
                compiled.write(&query, query.udp_limit(), self.recursion, reply);
                count(self.counters(), compiled, query.record_type());
            }
            Found::Awaited(service) => {
                show_interest(&self.interest, &service);
                self.leave_over(packet, peer);
            }
            Found::NotOurs => self.leave_over(packet, peer),
        }
    }

    fn leave_over(&self, packet: &[u8], peer: &Peer) {
        let left_over = LeftOver {
            packet: packet.to_vec(),
            peer: peer.clone(),
        };
        if self.left_over.try_send(left_over).is_err() {
            self.counters().dropped(Dropped::Overload);
        }
    }

    fn counters(&self) -> &Counters {
        self.metrics.thread(self.thread)
    }
}

/// Whether an error of a read says nothing about the next one.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    let passing = [Interrupted, WouldBlock, TimedOut, ConnectionRefused];
    passing.contains(&error.kind()) || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Answers what the loop leaves over until cancelled. When it is done, no query is
/// left that still holds the socket.
pub(super) async fn answer_left_over(
    mut waiting: mpsc::Receiver<LeftOver>,
    socket: Arc<UdpSocket>,
    responder: Arc<Responder>,
    cancel: CancellationToken,
) {
    let mut at_once = JoinSet::new();
    while let Some(Some(left_over)) = cancel.run_until_cancelled(waiting.recv()).await {
        let LeftOver { packet, peer } = left_over;
        while at_once.try_join_next().is_some() {}
        if at_once.len() >= AT_ONCE_MAX {
            at_once.join_next().await;
        }
        let (socket, responder) = (Arc::clone(&socket), Arc::clone(&responder));
        at_once.spawn(async move {
            let response = responder
                .respond(&packet, peer.port(), Transport::Udp)
                .await;
            if let Some(mut response) = response {
                // A client whose answer cannot be sent asks again.
                let _ = sys::send(&socket, &peer, &mut response);
            }
        });
    }
    at_once.shutdown().await;
}
