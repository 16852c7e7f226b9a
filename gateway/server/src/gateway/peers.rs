//! What a follower needs to begin anew: where the others are, and whom of them it may believe.
//!
//! It has no log to read that from. It keeps the list beside its membership, and while it knows
//! nothing asks the other gateways of its own cluster for a newer one: the leader may be a gateway
//! that came while this one was away, and who is not known is not let in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tokio::task::JoinSet;
use weft_identity::Bundles;
use weft_model::{Federation, NodeId, TrustDomain};
use weft_proto::identity as wire;

use super::follow;
use crate::hub::Hub;
use crate::membership::{KnownPeer, keep_peers, known_peers, peers};
use crate::tunnel::Question;

/// The question for every gateway, which only those of the same cluster may ask.
pub(crate) const METHOD_PEERS: &str = "membership.peers";
/// How often it is asked while nothing is known.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often what is kept is compared with what is known.
const KEEP: Duration = Duration::from_secs(2);

/// Those who may tell a follower of the federation.
pub(super) fn believed(peers: &[KnownPeer]) -> BTreeSet<NodeId> {
    let votes = peers.iter().filter(|peer| peer.votes);
    votes.map(|peer| peer.node).collect()
}

/// Learns of the others until there is a state that tells of them; from then on keeps them.
pub(super) async fn keep(hub: Arc<Hub>, told: Vec<KnownPeer>) {
    let mut known = told;
    while hub.registry().state().domain().is_none() {
        if let Some(newer) = learn(&hub, &known).await {
            take(&hub, &newer).await;
            known = newer;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let mut kept = None;
    loop {
        let now = peers(&hub.registry().state(), hub.node());
        if kept.as_ref() != Some(&now) {
            match keep_peers(hub.config(), &now) {
                Ok(()) => kept = Some(now),
                Err(error) => tracing::debug!(%error, "the others' addresses are not kept"),
            }
        }
        tokio::time::sleep(KEEP).await;
    }
}

/// What the first gateway of this cluster to answer knows.
async fn learn(hub: &Arc<Hub>, known: &[KnownPeer]) -> Option<Vec<KnownPeer>> {
    let mut asked = JoinSet::new();
    for peer in known.iter().filter(|peer| peer.cluster == *hub.cluster()) {
        let (tunnels, node) = (hub.tunnels().clone(), peer.node);
        asked.spawn(async move {
            let until = Instant::now() + PATIENCE;
            tunnels.call(node, METHOD_PEERS, Bytes::new(), until).await
        });
    }
    while let Some(answer) = asked.join_next().await {
        let Ok(Ok(answer)) = answer else {
            continue;
        };
        match read(answer, hub) {
            // One that knows nothing either.
            Ok(peers) if peers.is_empty() => {}
            Ok(peers) => return Some(peers),
            Err(why) => {
                tracing::warn!(why, "what another gateway says of the others does not read");
            }
        }
    }
    None
}

fn read(answer: Bytes, hub: &Hub) -> Result<Vec<KnownPeer>, String> {
    let answer = wire::Peers::decode(answer).map_err(|error| error.to_string())?;
    known_peers(&answer.peers, hub.domain())
}

/// Goes by what was learned, as by a state.
async fn take(hub: &Hub, peers: &[KnownPeer]) {
    let own = hub.bundles().current();
    let domains: BTreeSet<&TrustDomain> = peers.iter().map(|it| it.bundle.trust_domain()).collect();
    let others = own.iter().filter(|it| !domains.contains(it.trust_domain()));
    let bundles: Bundles = peers
        .iter()
        .map(|peer| peer.bundle.clone())
        .chain(others.cloned())
        .collect();
    hub.bundles().replace(bundles);
    hub.tunnels().set_peers(follow::targets(peers));
    hub.registry().heed(believed(peers)).await;
}

/// The answer to a gateway that begins anew.
pub(crate) fn answer(hub: &Hub, question: &Question) -> Result<Bytes, String> {
    if question.peer.trust_domain != *hub.trust_domain() {
        return Err(format!("{} is not of this cluster", question.peer));
    }
    let state: &Federation = &hub.registry().state();
    let peers = peers(state, question.node);
    Ok(wire::Peers { peers }.encode_to_vec().into())
}
