//! Catalog streams to every other gateway, and the leases that depend on them being heard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use weft_model::{ClusterName, Command, Federation, NodeId};
use weft_registry::driver::Role;
use weft_registry::wire::FORMAT_SUPPORTED;

use crate::catalog::{Lead, Propose, Renew};
use crate::hub::Hub;
use crate::tunnel::IncomingStream;

/// The question by which a gateway renews its cluster's lease with the leader.
pub(crate) const METHOD_RENEW: &str = "lease.renew";
/// A link that ended is opened again after this long.
const PAUSE: Duration = Duration::from_millis(500);
/// A renewal that takes longer counts as lost; the next one follows soon.
const RENEW: Duration = Duration::from_secs(2);

/// Keeps one catalog stream per peer: the lower node opens it, the higher one takes it.
pub(super) async fn keep(hub: Arc<Hub>) {
    let mut paths = hub.tunnels().watch_paths();
    let mut links: BTreeMap<NodeId, JoinHandle<()>> = BTreeMap::new();
    loop {
        let wanted: Vec<NodeId> = paths.borrow_and_update().peers.keys().copied().collect();
        links.retain(|node, link| {
            let wanted = wanted.contains(node);
            if !wanted {
                link.abort();
            }
            wanted
        });
        for node in wanted.into_iter().filter(|node| hub.node() < *node) {
            links
                .entry(node)
                .or_insert_with(|| tokio::spawn(open(Arc::clone(&hub), node)));
        }
        if paths.changed().await.is_err() {
            return;
        }
    }
}

async fn open(hub: Arc<Hub>, node: NodeId) {
    loop {
        let state = hub.registry().state();
        if let (Some(control), Some(peer)) = (hub.tunnels().control(node), state.node(node)) {
            match control.open_catalog().await {
                Ok(stream) => {
                    let (cluster, gateway) = (peer.cluster.clone(), peer.gateway.name.clone());
                    let ended = hub
                        .catalog_handle()
                        .link(cluster, gateway, stream.recv, stream.send)
                        .await;
                    tracing::debug!(%node, ended = ?ended.err(), "a catalog link ended");
                }
                Err(error) => tracing::debug!(%node, %error, "no catalog link"),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Serves catalog streams that peers opened: one of each, the last.
pub(super) async fn accept(hub: Arc<Hub>, mut streams: mpsc::Receiver<IncomingStream>) {
    let mut serving: BTreeMap<NodeId, JoinHandle<()>> = BTreeMap::new();
    while let Some(stream) = streams.recv().await {
        let state = hub.registry().state();
        let (Some(peer), Some(send)) = (state.node(stream.node), stream.send) else {
            continue;
        };
        let (cluster, gateway) = (peer.cluster.clone(), peer.gateway.name.clone());
        let (hub, node) = (Arc::clone(&hub), stream.node);
        let before = serving.remove(&node).inspect(JoinHandle::abort);
        let link = tokio::spawn(async move {
            if let Some(before) = before {
                // What it heard counts as lost before this one is heard.
                let _ended = before.await;
            }
            let _hold = stream.hold;
            let ended = hub
                .catalog_handle()
                .link(cluster, gateway, stream.recv, send)
                .await;
            tracing::debug!(peer = %stream.peer, ended = ?ended.err(), "a catalog link ended");
        });
        serving.insert(node, link);
    }
}

/// How often the format level is looked at.
const FORMAT_LOOK: Duration = Duration::from_secs(1);

/// Says which format level we understand, and while we lead raises the one in force to what
/// everybody does.
pub(super) async fn format(hub: Arc<Hub>) {
    let mut tick = tokio::time::interval(FORMAT_LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let leads = hub.registry().status().raft.leadership.role == Role::Leader;
        let Some(command) = format_due(&hub.registry().state(), hub.node(), leads) else {
            continue;
        };
        let what = command.name();
        match hub.write(command, None).await {
            Ok(index) => tracing::info!(%index, what, "the format level is settled"),
            Err(why) => tracing::debug!(%why, what, "the format level was not settled"),
        }
    }
}

fn format_due(state: &Federation, node: NodeId, leads: bool) -> Option<Command> {
    let own = state.node(node)?;
    if own.gateway.format < FORMAT_SUPPORTED {
        let mut record = own.gateway.clone();
        record.format = FORMAT_SUPPORTED;
        return Some(Command::PutGateway(record));
    }
    let understood = state.nodes().map(|(_, node)| node.gateway.format).min()?;
    let level = understood.min(FORMAT_SUPPORTED);
    (leads && level > state.format()).then_some(Command::RaiseFormat(level))
}

/// Renews our cluster's lease, and judges everybody's while we lead.
pub(super) async fn leases(hub: Arc<Hub>) {
    let keeper = hub.leases().clone();
    tokio::join!(
        keeper.renew(renew(&hub)),
        keeper.judge(lead(&hub), propose(&hub))
    );
}

fn renew(hub: &Arc<Hub>) -> Renew {
    let hub = Arc::clone(hub);
    Arc::new(move |cluster: ClusterName| {
        let hub = Arc::clone(&hub);
        Box::pin(async move {
            let leader = hub.registry().status().raft.leadership.leader;
            match leader {
                None => Err("no leader is known".to_owned()),
                Some(leader) if leader == hub.node() => {
                    hub.leases().renewed(cluster);
                    Ok(())
                }
                Some(leader) => {
                    let asked = hub.tunnels().call(
                        leader,
                        METHOD_RENEW,
                        Bytes::new(),
                        Instant::now() + RENEW,
                    );
                    asked.await.map(|_| ()).map_err(|error| error.to_string())
                }
            }
        })
    })
}

fn lead(hub: &Arc<Hub>) -> Lead {
    let hub = Arc::clone(hub);
    Arc::new(move || {
        let status = hub.registry().status();
        let leadership = &status.raft.leadership;
        let term = (leadership.role == Role::Leader).then_some(leadership.term);
        (term, hub.registry().state())
    })
}

fn propose(hub: &Arc<Hub>) -> Propose {
    let hub = Arc::clone(hub);
    Arc::new(move |command: Command| {
        let hub = Arc::clone(&hub);
        Box::pin(async move {
            let written = hub.write(command, None).await;
            written
                .map(|_| ())
                .map_err(|status| status.message().to_owned())
        })
    })
}
