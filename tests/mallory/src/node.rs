//! A gateway process of her own: tunnels by weft's own code, a replica that takes part as any
//! learner does, and everything that a member hears. What she says beyond that is the attempts'.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use weft_gateway::tunnel::{
    IncomingStream, PeerStream, PeerTarget, Question, RaftReceiver, Started, Tuning, TunnelConfig,
    Tunnels, read_frame, write_frame,
};
use weft_gateway::workers::Workers;
use weft_identity::{Bundle, BundleSource, Bundles};
use weft_model::{ClusterName, Federation, Index, NodeId, SpiffeId, TrustDomain};
use weft_proto::catalog::{PeerFrame, peer_frame};
use weft_proto::peer::stream_header::Kind;
use weft_proto::peer::{ProposeAnswer, RaftBatch, RaftMessage, RelayStream};
use weft_registry::{
    CallError, METHOD_PROPOSE, Proposal, ProposeError, Registry, RegistryConfig, Start, Transport,
};
use weft_test_support::{SOON, eventually};

use crate::Loot;

/// How long a peer may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest catalog frame that she reads, in bytes.
const FRAME_MAX: usize = 4 << 20;
/// An append with entries, in the wire's numbers.
const APPEND: u32 = 3;

/// What a leader said to a proposal that she forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is in the leader's log.
    Yes,
    /// The leader did not take it.
    No,
}

/// Her running gateway.
pub struct Node {
    /// What she holds.
    pub loot: Loot,
    /// Her tunnels.
    pub tunnels: Tunnels,
    /// Her replica.
    pub registry: Registry,
    bundles: BundleSource,
    log: Arc<Mutex<BTreeMap<u64, Bytes>>>,
    lies: Lies,
    runtime: Handle,
}

/// What she answers to questions, by method.
type Lies = Arc<Mutex<BTreeMap<String, Bytes>>>;

impl Node {
    /// Starts it, and waits until its replica has the log.
    ///
    /// # Errors
    /// It could not, or does not hear the others.
    pub fn start(loot: Loot, runtime: &Handle) -> Result<Self> {
        let _inside = runtime.enter();
        let member = &loot.member;
        let known = member.peers.iter().map(|peer| peer.bundle.clone());
        let bundles = BundleSource::new(known.chain([member.bundle.clone()]).collect());
        let Started {
            tunnels, incoming, ..
        } = Tunnels::start(TunnelConfig {
            bind: loot.config.spec.tunnel.bind,
            node: member.node,
            gateway: member.gateway.clone(),
            workers: Workers::start(NonZeroUsize::MIN)?,
            svid: loot.svid(),
            bundles: bundles.clone(),
            tuning: Tuning::default(),
            relaying: None,
        })?;
        let first = member.peers.iter().map(|peer| PeerTarget {
            node: peer.node,
            cluster: peer.cluster.clone(),
            gateway: peer.gateway.clone(),
            id: SpiffeId::gateway(peer.bundle.trust_domain().clone(), peer.gateway.clone()),
            address: peer.tunnel.clone(),
            key: None,
            relays: false,
        });
        tunnels.set_peers(first.collect());
        let start = Start::Join {
            node: member.node,
            domain: member.domain.clone(),
        };
        let folder = loot.config.spec.state_dir.join("registry");
        let registry = Registry::start(RegistryConfig::new(folder, start), Wire(tunnels.clone()))?;
        let (log, lies) = (Arc::default(), Lies::default());
        let serving = serve(
            registry.clone(),
            incoming,
            Arc::clone(&log),
            Arc::clone(&lies),
        );
        runtime.spawn(serving);
        let node = Self {
            loot,
            tunnels,
            registry,
            bundles,
            log,
            lies,
            runtime: runtime.clone(),
        };
        eventually("the replica has the log", SOON, || {
            let state = node.state();
            ensure!(state.node(node.id()).is_some(), "not yet");
            ensure!(node.leader().is_some(), "no leader is known");
            Ok(())
        })?;
        node.follow();
        Ok(node)
    }

    /// Her node's id.
    pub fn id(&self) -> NodeId {
        self.loot.member.node
    }

    /// The federation as her replica has it.
    pub fn state(&self) -> Arc<Federation> {
        self.registry.state()
    }

    /// Who leads, as far as she knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.registry.status().raft.leadership.leader
    }

    /// The node of a gateway.
    ///
    /// # Errors
    /// There is none.
    pub fn node_of(&self, cluster: &str, gateway: &str) -> Result<NodeId> {
        let state = self.state();
        let mut nodes = state.nodes();
        let found = nodes.find(|(_, node)| {
            node.cluster.as_str() == cluster && node.gateway.name.as_str() == gateway
        });
        Ok(found.context("no such gateway")?.0)
    }

    /// Takes bundles and peers from the state, as any gateway does.
    pub fn follow(&self) {
        let state = self.state();
        let members = state.clusters().filter_map(|(_, member)| {
            let roots = member.bundle.iter().map(|der| der.clone().into());
            Bundle::new(member.trust_domain.clone(), roots).ok()
        });
        let operators = state.domain().and_then(|domain| {
            let roots = state.operators().iter().map(|der| der.clone().into());
            Bundle::new(TrustDomain::of_operators(domain), roots).ok()
        });
        self.bundles
            .replace(members.chain(operators).collect::<Bundles>());
        let peers = state.nodes().filter_map(|(id, node)| {
            let member = state.cluster(&node.cluster)?;
            Some(PeerTarget {
                node: id,
                cluster: node.cluster.clone(),
                gateway: node.gateway.name.clone(),
                id: SpiffeId::gateway(member.trust_domain.clone(), node.gateway.name.clone()),
                address: node.gateway.tunnel.clone(),
                key: Some(node.gateway.key),
                relays: false,
            })
        });
        self.tunnels
            .set_peers(peers.filter(|peer| peer.node != self.id()).collect());
    }

    /// Everybody's bundles.
    pub fn bundles(&self) -> &BundleSource {
        &self.bundles
    }

    /// Waits for what she asks.
    pub fn wait<F: Future>(&self, asked: F) -> F::Output {
        self.runtime.block_on(asked)
    }

    /// Entries of the log as they came, by position.
    pub fn heard(&self) -> BTreeMap<u64, Bytes> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Answers a question of others with these bytes from now on.
    pub fn lie(&self, method: &str, answer: impl Into<Bytes>) {
        let mut lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
        lies.insert(method.to_owned(), answer.into());
    }

    /// Waits until her replica has applied `index`.
    ///
    /// # Errors
    /// It does not.
    pub fn await_index(&self, index: Index) -> Result<()> {
        eventually("the replica follows", SOON, || {
            let applied = self.registry.applied().index;
            ensure!(applied >= index, "at {applied}");
            Ok(())
        })
    }

    /// Asks a peer by a method of any name.
    ///
    /// # Errors
    /// It refused, or did not answer.
    pub fn call(&self, to: NodeId, method: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        let deadline = Instant::now() + ANSWER;
        Ok(self.wait(self.tunnels.call(to, method, body.into(), deadline))?)
    }

    /// Forwards the bytes of a proposal to whoever leads, as they are.
    ///
    /// # Errors
    /// The leader says that they do not read, or nothing.
    pub fn forward(&self, entry: impl Into<Bytes>) -> Result<Taken> {
        let leader = self.leader().context("no leader")?;
        let answer = self.call(leader, METHOD_PROPOSE, entry)?;
        match ProposeAnswer::decode(answer)?.taken {
            true => Ok(Taken::Yes),
            false => Ok(Taken::No),
        }
    }

    /// Proposes as an honest gateway would, and says what came of it.
    ///
    /// # Errors
    /// The refusal.
    pub fn propose(&self, proposal: Proposal) -> Result<Index, ProposeError> {
        self.wait(self.registry.propose(proposal))
    }

    /// Says things by Raft.
    pub fn say_raft(&self, to: NodeId, messages: Vec<RaftMessage>) {
        self.tunnels.send_raft(to, RaftBatch { messages });
    }

    /// Opens a catalog stream to a peer.
    ///
    /// # Errors
    /// The peer cannot be reached.
    pub fn open_catalog(&self, to: NodeId) -> Result<PeerStream> {
        let control = self.tunnels.control(to).context("no path")?;
        Ok(self.wait(control.open_catalog())?)
    }

    /// Says one thing on a catalog stream.
    ///
    /// # Errors
    /// The stream is gone.
    pub fn tell(&self, stream: &mut PeerStream, frame: peer_frame::Frame) -> Result<()> {
        let frame = PeerFrame { frame: Some(frame) };
        let body = Bytes::from(frame.encode_to_vec());
        Ok(self.wait(write_frame(&mut stream.send, body))?)
    }

    /// Hears one thing on a catalog stream; none at its end.
    ///
    /// # Errors
    /// The stream broke, or nothing came in time.
    pub fn hear(&self, stream: &mut PeerStream) -> Result<Option<peer_frame::Frame>> {
        let read =
            async { tokio::time::timeout(ANSWER, read_frame(&mut stream.recv, FRAME_MAX)).await };
        let frame = self.wait(read).context("nothing came")??;
        let frame = frame.map(PeerFrame::decode).transpose()?;
        Ok(frame.and_then(|frame| frame.frame))
    }

    /// Asks a gateway of `cluster` to carry a connection; the status byte, if one came.
    ///
    /// # Errors
    /// No gateway can be reached.
    pub fn relay(&self, cluster: &str, header: RelayStream) -> Result<(PeerStream, Option<u8>)> {
        let cluster: ClusterName = cluster.parse()?;
        let mut stream = self.wait(self.tunnels.open_relay(0, &cluster, header))?;
        let mut status = [0];
        let read =
            async { tokio::time::timeout(ANSWER, stream.recv.read_exact(&mut status)).await };
        let status = match self.wait(read) {
            Ok(Ok(())) => Some(status[0]),
            Ok(Err(_)) | Err(_) => None,
        };
        Ok((stream, status))
    }
}

/// The registry's way through her tunnels.
struct Wire(Tunnels);

impl Transport for Wire {
    fn send(&self, to: NodeId, batch: RaftBatch) {
        self.0.send_raft(to, batch);
    }

    async fn call(
        &self,
        to: NodeId,
        method: &'static str,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let answer = self.0.call(to, method, body, Instant::now() + ANSWER).await;
        answer.map_err(|error| CallError::Peer(error.to_string()))
    }
}

/// Takes what peers send: the log is kept, questions of the registry are answered, catalog
/// streams that they open are dropped.
async fn serve(
    registry: Registry,
    mut incoming: mpsc::Receiver<IncomingStream>,
    log: Arc<Mutex<BTreeMap<u64, Bytes>>>,
    lies: Lies,
) {
    while let Some(stream) = incoming.recv().await {
        match &stream.header.kind {
            Some(Kind::Raft(_)) => {
                tokio::spawn(follow_log(registry.clone(), stream, Arc::clone(&log)));
            }
            Some(Kind::Rpc(_)) => {
                tokio::spawn(answer(registry.clone(), stream, Arc::clone(&lies)));
            }
            _ => {}
        }
    }
}

async fn follow_log(
    registry: Registry,
    stream: IncomingStream,
    log: Arc<Mutex<BTreeMap<u64, Bytes>>>,
) {
    let Some(mut receiver) = RaftReceiver::new(stream) else {
        return;
    };
    while let Ok(Some(batch)) = receiver.next().await {
        let appends = batch.messages.iter().filter(|said| said.r#type == APPEND);
        let entries = appends.flat_map(|said| &said.entries);
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(entries.map(|entry| (entry.index, entry.data.clone())));
        registry.deliver(receiver.node, batch);
    }
}

async fn answer(registry: Registry, stream: IncomingStream, lies: Lies) {
    let Ok(Some(question)) = Question::read(stream).await else {
        return;
    };
    let lie = lies
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&question.method)
        .cloned();
    let answered = match lie {
        Some(lie) => Ok(lie),
        None => {
            let body = question.body.clone();
            registry.answer(question.node, &question.method, body).await
        }
    };
    // Whoever asked may be gone.
    let _ = match answered {
        Ok(body) => question.answer.send(body).await,
        Err(why) => question.answer.refuse(&why.to_string()).await,
    };
}
