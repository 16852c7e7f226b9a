//! At the beginning: who sees to it that a peer that is not reached directly is reached through
//! another. The lower node of two does, since both see that the path is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quinn::{Connection, RecvStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use weft_model::NodeId;
use weft_plan::detour::{Candidate, Detours, Plan};
use weft_plan::{Moment, Path};
use weft_proto::peer::StreamHeader;
use weft_proto::peer::stream_header::Kind;

use super::ticket::Ticket;
use super::{ADMITTED, Refused, Relaying, socket};
use crate::tunnel::close::Close;
use crate::tunnel::dial::DialError;
use crate::tunnel::hello::{self, Purpose};
use crate::tunnel::link::{Dialled, Link, Origin, PeerStream};
use crate::tunnel::peer::PeerTarget;
use crate::tunnel::shared::Shared;
use crate::tunnel::{drain, tls};

/// How often silence is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long the one in between, and the one behind it, may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(3);
/// How long a handshake through it may take, and its hello.
const HANDSHAKE: Duration = Duration::from_secs(6);
/// How long streams on a detour that is left may go on.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Why a detour came to nothing.
#[derive(Debug, thiserror::Error)]
enum DetourError {
    #[error("{refused} ({})", refused.code())]
    Refused {
        #[from]
        refused: Refused,
    },
    #[error("no connection to the one in between takes streams")]
    NoStream,
    #[error("the connection through it failed")]
    Dial(#[from] DialError),
    #[error("no answer through it in time")]
    Timeout,
}

/// Keeps detours to those who need one, on the first worker, whose runtime is the caller's.
pub(in crate::tunnel) async fn keep(shared: Arc<Shared>) {
    let Some(relaying) = shared.through.relaying.clone() else {
        return;
    };
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut keeper = Keeper {
        shared: Arc::clone(&shared),
        relaying,
        detours: Detours::default(),
        direct: BTreeMap::new(),
        running: BTreeMap::new(),
        leaving: BTreeMap::new(),
        tell,
    };
    let mut links = shared.links.subscribe();
    loop {
        links.mark_unchanged();
        keeper.look();
        tokio::select! {
            () = shared.draining.cancelled() => return,
            Some(outcome) = told.recv() => keeper.note(outcome),
            _ = links.changed() => {}
            () = sleep(LOOK) => {}
        }
    }
}

/// What became of an attempt.
struct Outcome {
    target: NodeId,
    via: NodeId,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// It leads to the peer.
    Led,
    /// It did, until now.
    Ended,
    /// It never did.
    Failed,
}

struct Keeper {
    shared: Arc<Shared>,
    relaying: Relaying,
    detours: Detours,
    /// Whether each peer's cluster is reached directly, and since when.
    direct: BTreeMap<NodeId, (bool, Moment)>,
    /// Attempts, and the detours that they became.
    running: BTreeMap<NodeId, (NodeId, AbortOnDropHandle<()>)>,
    /// What leaves links, by their sequence.
    leaving: BTreeMap<u64, AbortOnDropHandle<()>>,
    tell: mpsc::UnboundedSender<Outcome>,
}

impl Keeper {
    fn note(&mut self, outcome: Outcome) {
        let Outcome { target, via, what } = outcome;
        match what {
            What::Led => return self.detours.led(target, via),
            What::Ended => {}
            What::Failed => {
                let now = self.shared.through.now();
                self.detours.refused(target, via, now);
            }
        }
        self.running.remove(&target);
    }

    fn look(&mut self) {
        let peers = self.shared.peers.load_full();
        self.leaving.retain(|_, task| !task.is_finished());
        self.detours.retain(|node| peers.get(node).is_some());
        self.direct.retain(|node, _| peers.get(*node).is_some());
        self.running.retain(|node, _| peers.get(*node).is_some());
        let ours = |target: &&PeerTarget| {
            self.shared.node < target.node && target.cluster != self.relaying.cluster
        };
        let targets: Vec<PeerTarget> = peers.iter().filter(ours).cloned().collect();
        for target in targets {
            self.settle(&target);
        }
    }

    fn settle(&mut self, target: &PeerTarget) {
        let now = self.shared.through.now();
        let up = self.is_reached(target);
        let (before, changed) = *self.direct.entry(target.node).or_insert((up, now));
        let changed = match before == up {
            true => changed,
            false => now,
        };
        self.direct.insert(target.node, (up, changed));
        let path = match up {
            true => Path::Up,
            false => Path::Down(changed),
        };
        let current = self.running.get(&target.node).map(|(via, _)| *via);
        let candidates = self.candidates(target);
        match self
            .detours
            .plan(target.node, path, changed, current, candidates, now)
        {
            Plan::Keep => {}
            Plan::Direct => self.leave(target.node),
            Plan::Through(via) => self.begin(target.clone(), via),
        }
    }

    /// Whether any gateway of the peer's cluster is: then the cluster is.
    fn is_reached(&self, target: &PeerTarget) -> bool {
        let peers = self.shared.peers.load();
        let mut of_cluster = peers.iter().filter(|peer| peer.cluster == target.cluster);
        of_cluster.any(|peer| self.shared.direct_control(peer.node).is_some())
    }

    fn candidates(&self, target: &PeerTarget) -> Vec<Candidate> {
        let peers = self.shared.peers.load();
        let third = |peer: &&PeerTarget| {
            peer.relays && peer.cluster != target.cluster && peer.cluster != self.relaying.cluster
        };
        let reached = |peer: &PeerTarget| {
            let link = self.shared.direct_data(peer.node)?;
            Some(Candidate {
                node: peer.node,
                rtt: link.connection.rtt(),
            })
        };
        peers.iter().filter(third).filter_map(reached).collect()
    }

    fn begin(&mut self, target: PeerTarget, via: NodeId) {
        let node = target.node;
        let attempt = Attempt {
            shared: Arc::clone(&self.shared),
            signing: self.relaying.clone(),
            target,
            via,
            led: AtomicBool::new(false),
            tell: self.tell.clone(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(attempt.run()));
        self.running.insert(node, (via, task));
    }

    /// The direct path is back: what runs on the detour may end.
    fn leave(&mut self, node: NodeId) {
        let links = self.shared.links.load_full();
        let detoured = |link: &&Arc<Link>| {
            link.origin.through.is_some() && link.origin.dialled == Dialled::Here
        };
        for link in links
            .of(node)
            .iter()
            .filter(detoured)
            .filter(|l| l.is_alive())
        {
            self.leaving.entry(link.sequence).or_insert_with(|| {
                let (shared, link) = (Arc::clone(&self.shared), Arc::clone(link));
                AbortOnDropHandle::new(tokio::spawn(async move {
                    drain::leave_detour(&shared, &link, PATIENCE).await;
                }))
            });
        }
    }
}

/// The two connections of one detour.
struct Attempt {
    shared: Arc<Shared>,
    signing: Relaying,
    target: PeerTarget,
    via: NodeId,
    led: AtomicBool,
    tell: mpsc::UnboundedSender<Outcome>,
}

impl Attempt {
    async fn run(self) {
        let control = self.carry(Purpose::Control);
        let data = self.carry(Purpose::Data);
        // Without one of them the other is of no use.
        let ended = tokio::select! {
            ended = control => ended,
            ended = data => ended,
        };
        if let Err(error) = &ended {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::info!(
                to = %self.target.id, via = self.via.0, %error, cause, "a detour came to nothing"
            );
        }
        let led = self.led.load(Ordering::Relaxed);
        self.say(if led { What::Ended } else { What::Failed });
    }

    fn say(&self, what: What) {
        let _ = self.tell.send(Outcome {
            target: self.target.node,
            via: self.via,
            what,
        });
    }

    /// One connection, until it ends.
    async fn carry(&self, purpose: Purpose) -> Result<(), DetourError> {
        let stream = self.ask().await?;
        let PeerStream { send, recv, hold } = stream;
        let (endpoint, carry) =
            socket::endpoint(send, recv, None).map_err(|_| DetourError::NoStream)?;
        let connected = async {
            let established = timeout(HANDSHAKE, self.dial(&endpoint, purpose)).await;
            let (connection, origin) = established.map_err(|_| DetourError::Timeout)??;
            self.shared.admit(0, connection.clone(), origin);
            self.led.store(true, Ordering::Relaxed);
            self.say(What::Led);
            connection.closed().await;
            Ok(())
        };
        let ended = tokio::select! {
            ended = connected => ended,
            () = carry => Ok(()),
        };
        Close::Superseded.apply_all(&endpoint);
        drop(hold);
        ended
    }

    /// A stream that leads to the peer.
    async fn ask(&self) -> Result<PeerStream, DetourError> {
        let shared = &self.shared;
        let link = shared.direct_data(self.via).ok_or(DetourError::NoStream)?;
        let ticket = Ticket {
            from: shared.node,
            via: self.via,
            to: self.target.node,
            nonce: rand::random(),
            issued: crate::hub::wall_clock(),
        };
        let kind = Some(Kind::Through(ticket.sign(&self.signing.signing)));
        let opened = timeout(ANSWER, link.open(&StreamHeader { kind })).await;
        let mut stream = match opened {
            Ok(Ok(stream)) => stream,
            _ => return Err(DetourError::NoStream),
        };
        admitted(&mut stream.recv).await?;
        Ok(stream)
    }

    async fn dial(
        &self,
        endpoint: &quinn::Endpoint,
        purpose: Purpose,
    ) -> Result<(Connection, Origin), DialError> {
        let began = Instant::now();
        let (shared, target) = (&self.shared, &self.target);
        let config = shared.tls.client(&target.id)?;
        let connecting = endpoint.connect_with(config, socket::PEER, tls::SERVER_NAME)?;
        let connection = connecting.await?;
        let own = shared.hello(purpose, 0);
        let peer = hello::offer(&connection, &own).await?;
        if peer.node != target.node {
            Close::WrongIdentity.apply(&connection);
            return Err(DialError::WrongNode {
                expected: target.node,
                found: peer.node,
                id: target.id.clone(),
            });
        }
        let origin = Origin {
            node: target.node,
            cluster: target.cluster.clone(),
            id: target.id.clone(),
            incarnation: peer.incarnation,
            purpose,
            dialled: Dialled::Here,
            worker: 0,
            handshake: began.elapsed(),
            through: Some(self.via),
        };
        Ok((connection, origin))
    }
}

/// Reads the byte that says whether a stream is carried.
pub(super) async fn admitted(recv: &mut RecvStream) -> Result<(), Refused> {
    let mut byte = [0];
    match timeout(ANSWER, recv.read_exact(&mut byte)).await {
        Ok(Ok(())) if byte[0] == ADMITTED => Ok(()),
        Ok(Ok(())) => Err(Refused::of(byte[0])),
        _ => Err(Refused::Silent),
    }
}
