//! Three registries over channels, with real folders.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use weft_identity::SigningKey;
use weft_model::fixture::{cluster_spec, export, name, route};
use weft_model::{
    AppProtocol, Author, ClusterName, ClusterRole, Command, FormatLevel, Founding, GatewayRecord,
    GatewayRole, Generation, Index, NodeId, Redemption, RequestId, ServiceType, SignerEpoch,
    TokenGrant, TokenId, WallTime,
};
use weft_proto::peer::RaftBatch;
use weft_registry::{CallError, Draft, Proposal, Registry, RegistryConfig, Start, Transport};

/// Longer than anything takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Carries everything between registries of one process, except to and from those cut off.
#[derive(Clone, Default)]
pub(crate) struct Switch {
    plugged: Arc<Mutex<BTreeMap<NodeId, Registry>>>,
    deaf: Arc<Mutex<BTreeSet<NodeId>>>,
}

/// One node's end of it.
pub(crate) struct Port {
    me: NodeId,
    switch: Switch,
}

impl Switch {
    pub(crate) fn port(&self, me: NodeId) -> Port {
        Port {
            me,
            switch: self.clone(),
        }
    }

    pub(crate) fn plug(&self, node: NodeId, registry: Registry) {
        self.plugged.lock().unwrap().insert(node, registry);
    }

    /// Nothing reaches the node any more, and nothing it says reaches anybody.
    pub(crate) fn unplug(&self, node: NodeId) {
        self.plugged.lock().unwrap().remove(&node);
    }

    /// Nothing reaches the node any more, not even answers; what it says reaches the others.
    pub(crate) fn deafen(&self, node: NodeId) {
        self.deaf.lock().unwrap().insert(node);
    }

    fn hears(&self, node: NodeId) -> bool {
        !self.deaf.lock().unwrap().contains(&node)
    }

    fn between(&self, from: NodeId, to: NodeId) -> Option<Registry> {
        let plugged = self.plugged.lock().unwrap();
        plugged.get(&from)?;
        plugged.get(&to).cloned()
    }
}

impl Transport for Port {
    fn send(&self, to: NodeId, batch: RaftBatch) {
        let peer = self.switch.between(self.me, to);
        if let Some(peer) = peer.filter(|_| self.switch.hears(to)) {
            peer.deliver(self.me, batch);
        }
    }

    fn call(
        &self,
        to: NodeId,
        method: &'static str,
        body: Bytes,
    ) -> impl Future<Output = Result<Bytes, CallError>> + Send {
        let (switch, from) = (self.switch.clone(), self.me);
        let peer = switch.between(from, to).filter(|_| switch.hears(to));
        async move {
            let answer = match peer {
                Some(peer) => peer.answer(from, method, body).await,
                None => Err(CallError::Peer("unplugged".into())),
            };
            match switch.hears(from) {
                true => answer,
                false => std::future::pending().await,
            }
        }
    }
}

pub(crate) fn cluster(number: u8) -> ClusterName {
    name(&format!("c{number}"))
}

pub(crate) fn gateway_key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32])
}

fn gateway(number: u8) -> GatewayRecord {
    GatewayRecord {
        name: name("gw"),
        tunnel: None,
        api: None,
        key: gateway_key(number).public(),
        format: FormatLevel::FIRST,
        role: GatewayRole::Member,
    }
}

fn request(number: u64) -> RequestId {
    RequestId(u128::from(number).to_be_bytes())
}

pub(crate) fn founding() -> Proposal {
    let admin = SigningKey::from_seed([250; 32]).public();
    let founding = Founding {
        domain: name("fed.example.org"),
        cluster: cluster(1),
        spec: cluster_spec("r1"),
        bundle: vec![b"ca 1".to_vec()],
        operators: vec![b"operators".to_vec()],
        gateway: gateway(1),
        admin: (name("ana"), admin),
    };
    let draft = Draft {
        request: request(1 << 60),
        author: Author::Founder,
        by_order_of: None,
        generation: Generation(0),
        command: Command::Found(Box::new(founding)),
    };
    Proposal::sign(&gateway_key(1), &draft)
}

pub(crate) fn grant(number: u8) -> Proposal {
    let token = SigningKey::from_seed([100 + number; 32]);
    let grant = TokenGrant {
        key: token.public(),
        cluster: cluster(number),
        region: name(&format!("r{number}")),
        role: ClusterRole::Voter,
        expires: WallTime(now().0 + 3_600_000),
    };
    let draft = Draft {
        request: request((2 << 60) + u64::from(number)),
        author: Author::Operator(name("ana"), SignerEpoch::FIRST),
        by_order_of: None,
        generation: Generation(number.into()),
        command: Command::GrantToken(grant),
    };
    Proposal::sign(&SigningKey::from_seed([250; 32]), &draft)
}

pub(crate) fn redemption(number: u8) -> Proposal {
    let key = SigningKey::from_seed([100 + number; 32]);
    let token = TokenId::of(&key.public());
    let redemption = Redemption {
        token,
        bundle: vec![format!("ca {number}").into_bytes()],
        spec: cluster_spec(&format!("r{number}")),
        gateway: gateway(number),
    };
    let draft = Draft {
        request: request((3 << 60) + u64::from(number)),
        author: Author::Token(token),
        by_order_of: None,
        generation: Generation(0),
        command: Command::RedeemToken(Box::new(redemption)),
    };
    Proposal::sign(&key, &draft)
}

/// Write number `generation` of a cluster: one of its exports.
pub(crate) fn write(number: u8, generation: u64) -> Proposal {
    let key = name(&format!("shop/s{}", generation % 50));
    let port = u16::try_from(generation % 60_000 + 1).unwrap();
    let spec = export(ServiceType::ClusterSetIP, "http", AppProtocol::Http, port);
    let draft = Draft {
        request: request((u64::from(number) << 32) + generation),
        author: Author::Gateway(NodeId(number.into()), SignerEpoch::FIRST),
        by_order_of: None,
        generation: Generation(generation),
        command: Command::PutExport(cluster(number), key, Box::new(spec)),
    };
    Proposal::sign(&gateway_key(number), &draft)
}

/// A route, of the second format level.
pub(crate) fn put_route(number: u8) -> Proposal {
    let draft = Draft {
        request: request((7 << 60) + u64::from(number)),
        author: Author::Operator(name("ana"), SignerEpoch::FIRST),
        by_order_of: None,
        generation: Generation(100 + u64::from(number)),
        command: Command::PutRoute(name("shop"), name("web"), Box::new(route("web"))),
    };
    Proposal::sign(&SigningKey::from_seed([250; 32]), &draft)
}

pub(crate) fn now() -> WallTime {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    WallTime(u64::try_from(since.as_millis()).unwrap())
}

pub(crate) fn start(dir: &Path, switch: &Switch, node: u8, start: Start) -> Registry {
    let node = NodeId(node.into());
    let config = RegistryConfig {
        snapshot_entries: 100,
        tail_entries: 20,
        propose_timeout: DEADLINE,
        read_timeout: DEADLINE,
        ..RegistryConfig::new(dir.join(node.to_string()), start)
    };
    let registry = Registry::start(config, switch.port(node)).unwrap();
    switch.plug(node, registry.clone());
    registry
}

/// Founds with node 1 and lets 2 and 3 join; all three vote when this returns.
pub(crate) async fn three(dir: &Path, switch: &Switch) -> Vec<Registry> {
    three_by(start, dir, switch).await
}

/// The same, each started by `start`.
pub(crate) async fn three_by(
    start: fn(&Path, &Switch, u8, Start) -> Registry,
    dir: &Path,
    switch: &Switch,
) -> Vec<Registry> {
    let mut nodes = vec![start(dir, switch, 1, Start::Found(founding()))];
    for number in [2, 3] {
        nodes[0].propose(grant(number)).await.unwrap();
        nodes[0].propose(redemption(number)).await.unwrap();
        let join = Start::Join {
            node: NodeId(number.into()),
            domain: name("fed.example.org"),
        };
        nodes.push(start(dir, switch, number, join));
    }
    for node in &nodes {
        until("three voters", || node.status().raft.voters.len() == 3).await;
    }
    nodes
}

/// Waits for a level, not for an event.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "still waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn applied(registry: &Registry, index: Index) {
    let mut changed = registry.changed();
    let wait = timeout(DEADLINE, changed.wait_for(|applied| *applied >= index));
    wait.await.expect("the index is applied in time").unwrap();
}

pub(crate) async fn leader(nodes: &[Registry]) -> usize {
    let lead = |node: &Registry| {
        let raft = &node.status().raft;
        raft.leadership.leader == Some(raft.node)
    };
    until("a leader", || nodes.iter().any(lead)).await;
    nodes.iter().position(lead).unwrap()
}

/// Three that vote, and understand all that this build does.
pub(crate) async fn three_at_newest_level(dir: &Path, switch: &Switch) -> Vec<Registry> {
    let nodes = three(dir, switch).await;
    let newest = weft_registry::wire::FORMAT_SUPPORTED;
    let sign = |number: u8, request_number: u64, command: Command| {
        let draft = Draft {
            request: request((4 << 60) + request_number),
            author: Author::Gateway(NodeId(number.into()), SignerEpoch::FIRST),
            by_order_of: None,
            generation: Generation(1),
            command,
        };
        Proposal::sign(&gateway_key(number), &draft)
    };
    for number in 1..=3 {
        let record = GatewayRecord {
            format: newest,
            ..gateway(number)
        };
        let put = sign(number, number.into(), Command::PutGateway(record));
        nodes[0].propose(put).await.unwrap();
    }
    let raise = sign(1, 4, Command::RaiseFormat(newest));
    nodes[0].propose(raise).await.unwrap();
    nodes
}

/// Makes gateway 4, of the first cluster, a follower, and starts it.
pub(crate) async fn follow(
    dir: &Path,
    switch: &Switch,
    through: &Registry,
    heeds: &[u64],
) -> Registry {
    let key = SigningKey::from_seed([104; 32]);
    let token = TokenGrant {
        key: key.public(),
        cluster: cluster(1),
        region: name("r1"),
        role: ClusterRole::Voter,
        expires: WallTime(now().0 + 3_600_000),
    };
    let draft = Draft {
        request: request(5 << 60),
        author: Author::Operator(name("ana"), SignerEpoch::FIRST),
        by_order_of: None,
        generation: Generation(4),
        command: Command::GrantToken(token),
    };
    let admin = SigningKey::from_seed([250; 32]);
    through
        .propose(Proposal::sign(&admin, &draft))
        .await
        .unwrap();
    let redemption = Redemption {
        token: TokenId::of(&key.public()),
        bundle: vec![b"ca 1".to_vec()],
        spec: cluster_spec("r1"),
        gateway: GatewayRecord {
            name: name("gw-2"),
            format: weft_registry::wire::FORMAT_SUPPORTED,
            role: GatewayRole::Follower,
            ..gateway(4)
        },
    };
    let draft = Draft {
        request: request(6 << 60),
        author: Author::Token(redemption.token),
        by_order_of: None,
        generation: Generation(0),
        command: Command::RedeemToken(Box::new(redemption)),
    };
    through.propose(Proposal::sign(&key, &draft)).await.unwrap();
    start_following(dir, switch, heeds)
}

pub(crate) fn start_following(dir: &Path, switch: &Switch, heeds: &[u64]) -> Registry {
    let follow = Start::Follow {
        node: NodeId(4),
        domain: name("fed.example.org"),
        heeds: heeds.iter().copied().map(NodeId).collect(),
    };
    start(dir, switch, 4, follow)
}
