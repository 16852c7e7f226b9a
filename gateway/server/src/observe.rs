//! What is observed here, and how the gateways of a federation add it up.
//!
//! ```text
//! sidecars' reports ─┐                               ┌─ call ─> other gateways' windows
//! own stand-ins ─────┴─> Observatory (weft_plan Ring) ┴─> collect ─> top, edges, versions
//! ```
//!
//! **Invariant:** nothing observed becomes a log entry, and nothing here is on disk.

mod collect;
#[cfg(test)]
mod mutants;
mod observatory;
mod peers;
mod ping;
mod tap;
mod taps;

use collect::window_for;
pub(crate) use collect::{Collected, collect, surveys};
pub(crate) use observatory::Observatory;
use peers::clock;
pub(crate) use peers::{Skew, peers};
pub(crate) use ping::{Hop, Ping, Step, ping};
pub(crate) use tap::{Batch, far, near};
pub(crate) use taps::{REPEAT, Sent};

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};
use weft_proxy::Traffic;

use crate::admin::own_peers;
use crate::hub::Hub;
use crate::tunnel::Question;

/// The question by which a gateway asks another for its window.
pub(crate) const METHOD_WINDOW: &str = "observe.window";

/// The question what time it is there.
pub(crate) const METHOD_CLOCK: &str = "observe.clock";
/// The question how the peers are, as seen from there.
pub(crate) const METHOD_SURVEY: &str = "observe.survey";

/// The question by which a gateway reads another's share of a tap.
pub(crate) const METHOD_TAP: &str = "observe.tap";

/// As often as sidecars report.
const OWN_INTERVAL: Duration = Duration::from_secs(2);

/// Takes in what this gateway itself sent, where it stands in for clients.
pub(crate) async fn own_traffic(hub: Arc<Hub>, traffic: Traffic) {
    let identity = hub.svid().current().id().clone();
    let taps = traffic.taps().clone();
    hub.observatory().taps().set_own(identity, taps);
    let mut tick = interval(OWN_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let own = hub.svid().current().id().clone();
        let now = hub.catalog_handle().now();
        hub.observatory().take(now, &own, traffic.take());
    }
}

/// The answer to another gateway's question, if it is one of those.
pub(crate) fn answer(hub: &Hub, question: &Question) -> Option<Result<Bytes, String>> {
    match question.method.as_str() {
        METHOD_WINDOW => Some(window_for(hub, question)),
        METHOD_TAP => Some(tap::tap_for(hub, question)),
        METHOD_CLOCK => Some(Ok(clock(hub))),
        METHOD_SURVEY => {
            let peers = serde_json::to_vec(&own_peers(hub));
            Some(peers.map(Bytes::from).map_err(|error| error.to_string()))
        }
        _ => None,
    }
}
