//! Dialling: one task for each connection that this side should hold.
//!
//! A task sleeps while its connection is up and heard from. When there is none,
//! or its path has gone silent, it dials. A dial that is refused is repeated after
//! a pause; beside one that stays unanswered another is started, since the
//! retransmissions of a single handshake back off just as those of a connection
//! do. The first that is answered is kept. If the silent connection speaks again
//! meanwhile, the dials are dropped.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use quinn::Connection;
use rand::Rng;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use weft_model::{HostPort, NodeId, SpiffeId};

use super::close::Close;
use super::hello::{self, HelloError, Purpose};
use super::link::{Dialled, Link, Origin};
use super::peer::PeerTarget;
use super::shared::Shared;
use super::tls::{self, TlsError};
use crate::address::may_dial;

/// Why one dial came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No certificate of ours, or no bundle for the peer's trust domain.
    #[error("TLS cannot be set up for the peer")]
    Tls(#[from] TlsError),
    /// The name cannot be resolved.
    #[error("{host} cannot be resolved")]
    Resolve {
        /// What peers are told to dial.
        host: HostPort,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// All that the name stands for is another machine's own business, or nobody's.
    #[error("{host} names this machine, or none: a peer elsewhere is not dialled there")]
    Address {
        /// What peers are told to dial.
        host: HostPort,
    },
    /// The address cannot be dialled.
    #[error("the address cannot be dialled")]
    Connect(#[from] quinn::ConnectError),
    /// The handshake failed.
    #[error("the handshake failed")]
    Handshake(#[from] quinn::ConnectionError),
    /// The peer did not answer the hello.
    #[error("the peer did not answer the hello")]
    Hello(#[from] HelloError),
    /// The peer gave a reason and closed.
    #[error("the peer refused: {0}")]
    Refused(Close),
    /// Somebody else answered.
    #[error("expected node {expected}, {id} answered as node {found}")]
    WrongNode {
        /// Whom we dialled.
        expected: NodeId,
        /// Who answered, by its own account.
        found: NodeId,
        /// Who answered, by its certificate.
        id: SpiffeId,
    },
    /// Nothing answered in time.
    #[error("no answer within {} s", ATTEMPT.as_secs())]
    Timeout,
}

/// Keeps a task for every peer of the current table, on `worker`.
pub(super) async fn dial_peers(shared: Arc<Shared>, worker: usize) {
    let mut changed = shared.peers_changed.subscribe();
    let mut tasks: BTreeMap<(NodeId, Purpose), AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        changed.mark_unchanged();
        let peers = shared.peers.load_full();
        tasks.retain(|(node, _), _| peers.get(*node).is_some());
        for target in peers.iter() {
            for purpose in purposes(worker) {
                tasks.entry((target.node, *purpose)).or_insert_with(|| {
                    let dialler = Dialler {
                        shared: Arc::clone(&shared),
                        worker,
                        node: target.node,
                        purpose: *purpose,
                    };
                    AbortOnDropHandle::new(tokio::spawn(dialler.run()))
                });
            }
        }
        tokio::select! {
            () = shared.draining.cancelled() => return,
            _ = changed.changed() => {}
        }
    }
}

/// The first worker holds the control connections, each one its data connections.
fn purposes(worker: usize) -> &'static [Purpose] {
    if worker == 0 {
        &[Purpose::Control, Purpose::Data]
    } else {
        &[Purpose::Data]
    }
}

/// Sees to it that one connection is up.
struct Dialler {
    shared: Arc<Shared>,
    worker: usize,
    node: NodeId,
    purpose: Purpose,
}

impl Dialler {
    async fn run(self) {
        let mut links = self.shared.links.subscribe();
        loop {
            links.mark_unchanged();
            if self.is_needed()
                && let Some((connection, origin)) = self.establish().await
            {
                self.shared.admit(self.worker, connection, origin);
                continue;
            }
            tokio::select! {
                _ = links.changed() => {}
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Whether no connection of this kind is up and heard from. Either side's
    /// control connection will do; data connections are each worker's own.
    fn is_needed(&self) -> bool {
        // What goes through a third is no reason not to look for the direct way.
        let links = self.shared.links.load();
        let heard = |link: &Arc<Link>| !link.is_silent() && link.is_direct();
        match self.purpose {
            Purpose::Control => !links.controls(self.node).any(heard),
            Purpose::Data => !links
                .data(self.node)
                .filter(|link| {
                    link.origin.dialled == Dialled::Here && link.origin.worker == self.worker
                })
                .any(heard),
        }
    }

    /// Dials until one is answered; none if it is no longer needed or the peer is gone.
    async fn establish(&self) -> Option<(Connection, Origin)> {
        let mut peers = self.shared.peers_changed.subscribe();
        let mut attempts = FuturesUnordered::new();
        let mut backoff = Backoff::new();
        let mut next = Instant::now();
        while self.is_needed() {
            let target = self.shared.peers.load().get(self.node).cloned()?;
            let may_start = target.address.is_some() && attempts.len() < ATTEMPTS_MAX;
            tokio::select! {
                () = sleep_until(next), if may_start => {
                    attempts.push(self.attempt(target));
                    next = Instant::now() + ABREAST;
                }
                Some(result) = attempts.next() => match result {
                    Ok(established) => return Some(established),
                    Err(error) => {
                        self.failed(&error);
                        next = next.min(Instant::now() + backoff.next());
                    }
                },
                _ = peers.changed() => {
                    backoff = Backoff::new();
                    next = Instant::now();
                }
                () = sleep(LOOK_AGAIN) => {}
            }
        }
        None
    }

    async fn attempt(&self, target: PeerTarget) -> Result<(Connection, Origin), DialError> {
        timeout(ATTEMPT, self.dial(target))
            .await
            .unwrap_or(Err(DialError::Timeout))
    }

    /// Dials all addresses of the peer, each some time after the one before, and takes
    /// the first that answers (RFC 8305).
    async fn dial(&self, target: PeerTarget) -> Result<(Connection, Origin), DialError> {
        let host = target.address.as_ref().ok_or(DialError::Timeout)?;
        let resolve = |source| DialError::Resolve {
            host: host.clone(),
            source,
        };
        let addresses = tokio::net::lookup_host(host.as_str()).await;
        let own = self.shared.address;
        // A gateway of this cluster may be on this machine; another cluster may not say so.
        let trusted = target.id.trust_domain == self.shared.tls.own_domain();
        let named = addresses.map_err(resolve)?.take(ADDRESSES_MAX);
        let addresses: Vec<SocketAddr> = named
            .filter(|address| trusted || may_dial(*address, own))
            .collect();
        if addresses.is_empty() {
            return Err(DialError::Address { host: host.clone() });
        }
        let mut dials: FuturesUnordered<_> = (0..)
            .zip(addresses)
            .map(|(turn, address)| (turn, address, target.clone()))
            .map(|(turn, address, target)| async move {
                sleep(STAGGER * turn).await;
                self.dial_address(target, address).await
            })
            .collect();
        let mut outcome = Err(resolve(io::ErrorKind::NotFound.into()));
        while let Some(next) = dials.next().await {
            if next.is_ok() {
                return next;
            }
            outcome = next;
        }
        outcome
    }

    async fn dial_address(
        &self,
        target: PeerTarget,
        address: SocketAddr,
    ) -> Result<(Connection, Origin), DialError> {
        let began = Instant::now();
        let shared = &self.shared;
        let config = shared.tls.client(&target.id)?;
        let endpoint = &shared.endpoints[self.worker].dial;
        let connection = endpoint
            .connect_with(config, address, tls::SERVER_NAME)?
            .await?;
        let own = shared.hello(self.purpose, self.worker);
        let peer = hello::offer(&connection, &own).await.map_err(|error| {
            let closed = connection.close_reason();
            match closed.as_ref().and_then(Close::of) {
                Some(reason) => DialError::Refused(reason),
                None => error.into(),
            }
        })?;
        if peer.node != target.node {
            Close::WrongIdentity.apply(&connection);
            return Err(DialError::WrongNode {
                expected: target.node,
                found: peer.node,
                id: target.id,
            });
        }
        let origin = Origin {
            node: target.node,
            cluster: target.cluster,
            id: target.id,
            incarnation: peer.incarnation,
            purpose: self.purpose,
            dialled: Dialled::Here,
            worker: self.worker,
            handshake: began.elapsed(),
            through: None,
        };
        Ok((connection, origin))
    }

    fn failed(&self, error: &DialError) {
        self.shared.metrics.dials_failed.inc();
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::debug!(
            node = self.node.0, purpose = ?self.purpose, worker = self.worker,
            %error, cause, "a dial failed"
        );
    }
}

/// Growing pauses between dials, spread so that gateways do not dial in step.
struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    fn new() -> Self {
        Self {
            ceiling: BACKOFF_FIRST,
        }
    }

    /// Between half of the ceiling and all of it; the ceiling doubles.
    fn next(&mut self) -> Duration {
        let pause = self.ceiling.mul_f64(rand::rng().random_range(0.5..1.0));
        self.ceiling = (self.ceiling * 2).min(BACKOFF_MAX);
        pause
    }
}

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// A refused peer is admitted within this time of the cause's end.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How long a dial may go unanswered before another one is started beside it: a
/// healed path is noticed within this time, and the longest round trips fit in.
const ABREAST: Duration = Duration::from_millis(1500);
/// How long one address of a peer may go unanswered before the next is dialled beside
/// it (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one name that are dialled; a resolver may return any number.
const ADDRESSES_MAX: usize = 6;
/// Leaves room for a handshake and a hello over the longest path, with losses.
const ATTEMPT: Duration = Duration::from_secs(6);
/// As many as overlap when none is answered.
const ATTEMPTS_MAX: usize = 4;
/// How often the silence of a connection is measured.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_not_beyond() {
        let mut backoff = Backoff::new();
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.next()).collect();
        assert!(pauses[0] < BACKOFF_FIRST);
        assert!(pauses.iter().all(|pause| *pause < BACKOFF_MAX));
        assert!(pauses[11] >= BACKOFF_MAX / 2);
    }
}
