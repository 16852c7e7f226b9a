//! The tunnels as people look at them: what is measured anyway, and the peers' clocks.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use weft_model::NodeId;

use super::METHOD_CLOCK;
use crate::hub::Hub;
use crate::tunnel::PeerSurvey;

/// How long a peer may take to say what time it is.
const CLOCK_MAX: Duration = Duration::from_secs(2);

/// How far a peer's wall clock is ahead of ours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Skew {
    /// Milliseconds; negative if it is behind.
    pub(crate) ahead_ms: f64,
    /// How far off that may be: half of the round trip, since nobody knows which half was longer.
    pub(crate) margin_ms: f64,
}

/// Every peer with its clock, where it answers.
pub(crate) async fn peers(hub: &Hub) -> Vec<(PeerSurvey, Option<Skew>)> {
    let survey = hub.tunnels().survey();
    let clocks = survey.iter().map(|peer| skew(hub, peer.node));
    let clocks = join_all(clocks).await;
    survey.into_iter().zip(clocks).collect()
}

async fn skew(hub: &Hub, node: NodeId) -> Option<Skew> {
    let asked = Instant::now();
    let before = hub.now().0 as f64;
    let answer = hub
        .tunnels()
        .call(node, METHOD_CLOCK, Bytes::new(), asked + CLOCK_MAX)
        .await
        .ok()?;
    let half = asked.elapsed().as_secs_f64() * 1000.0 / 2.0;
    let theirs = u64::from_be_bytes(answer.as_ref().try_into().ok()?) as f64;
    Some(Skew {
        ahead_ms: theirs - (before + half),
        margin_ms: half + 1.0,
    })
}

/// What time it is here, milliseconds since the Unix epoch, as it is told to a peer.
pub(crate) fn clock(hub: &Hub) -> Bytes {
    Bytes::copy_from_slice(&hub.now().0.to_be_bytes())
}
