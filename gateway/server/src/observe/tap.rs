//! One tap over all gateways, for one reader.

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use weft_model::{ClusterName, GatewayName, NodeId, ServiceKey, TapFilter};
use weft_proto::catalog as wire;
use weft_proxy::TapId;
use weft_proxy::catalog::wire::{WireError, parse};
use weft_proxy::catalog::{event, filter, tap_id, to_event, to_filter};

use super::METHOD_TAP;
use super::taps::{Reading, Sent};
use crate::hub::Hub;
use crate::tunnel::Question;

/// How often this gateway's own events are taken.
const NEAR: Duration = Duration::from_millis(100);
/// How often another gateway is asked for its own.
const FAR: Duration = Duration::from_millis(500);
/// How long one may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A gateway's events since the last ones, or why there are none.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Whose sources sent the requests.
    pub(crate) cluster: ClusterName,
    /// Which gateway told of them.
    pub(crate) gateway: GatewayName,
    /// What it told.
    pub(crate) reading: Result<Reading, String>,
}

/// Reads this gateway's share of the tap into `batches`, until nobody wants them.
pub(crate) async fn near(hub: &Hub, id: TapId, filter: TapFilter, batches: mpsc::Sender<Batch>) {
    loop {
        let reading = hub.observatory().taps().read(id, &filter);
        let batch = Batch {
            cluster: hub.cluster().clone(),
            gateway: hub.gateway().clone(),
            reading: Ok(reading),
        };
        if batches.send(batch).await.is_err() {
            return;
        }
        tokio::time::sleep(NEAR).await;
    }
}

/// The same of another gateway.
pub(crate) async fn far(
    hub: &Hub,
    (node, cluster, gateway): (NodeId, ClusterName, GatewayName),
    id: TapId,
    filter: TapFilter,
    batches: mpsc::Sender<Batch>,
) {
    let question = wire::TapQuestion {
        id: id.0.to_vec().into(),
        filter: Some(to_filter(&filter)),
    };
    let question = Bytes::from(question.encode_to_vec());
    loop {
        let deadline = Instant::now() + ANSWER_MAX;
        let asked = hub
            .tunnels()
            .call(node, METHOD_TAP, question.clone(), deadline);
        let answer = asked.await.map_err(|error| error.to_string());
        let mut reading = answer.and_then(|answer| reading(answer).map_err(|why| why.to_string()));
        if let Ok(reading) = &mut reading {
            // A gateway speaks for callers of its own cluster and no other.
            let state = hub.registry().state();
            reading.sent.retain(|sent| {
                let of = state.cluster_of(&sent.source.trust_domain);
                of.is_some_and(|(of, _)| *of == cluster)
            });
        }
        let batch = Batch {
            cluster: cluster.clone(),
            gateway: gateway.clone(),
            reading,
        };
        if batches.send(batch).await.is_err() {
            return;
        }
        tokio::time::sleep(FAR).await;
    }
}

pub(super) fn reading(answer: Bytes) -> Result<Reading, WireError> {
    let answer = wire::TapAnswer::decode(answer);
    let answer = answer.map_err(|error| WireError::new("answer", error))?;
    let sent = answer.events.iter().map(|sent| {
        let seen = sent.event.as_ref();
        let seen = seen.ok_or_else(|| WireError::new("event", "is missing"))?;
        Ok(Sent {
            source: parse("event.source", &sent.source)?,
            event: event(seen)?,
        })
    });
    Ok(Reading {
        sent: sent.collect::<Result<_, WireError>>()?,
        dropped: answer.dropped,
    })
}

/// Answers another gateway: of its own cluster all, of another requests to services that it may see.
pub(super) fn tap_for(hub: &Hub, question: &Question) -> Result<Bytes, String> {
    let wanted = wire::TapQuestion::decode(question.body.clone());
    let wanted = wanted.map_err(|error| error.to_string())?;
    let id = tap_id(&wanted.id).map_err(|error| error.to_string())?;
    let filter = filter(&wanted.filter.unwrap_or_default()).map_err(|error| error.to_string())?;
    let state = hub.registry().state();
    let (asker, _) = state
        .cluster_of(&question.peer.trust_domain)
        .ok_or_else(|| format!("{} is of no member", question.peer))?;
    let is_told = |service: Option<&ServiceKey>| {
        let derived = service.and_then(|service| state.service(service));
        asker == hub.cluster() || derived.is_some_and(|service| service.is_visible_to(asker))
    };
    let reading = hub.observatory().taps().read(id, &filter);
    let told = reading.sent.iter();
    let told = told.filter(|sent| is_told(sent.event.service.as_ref()));
    let answer = wire::TapAnswer {
        events: told
            .map(|sent| wire::SentEvent {
                source: sent.source.to_string(),
                event: Some(to_event(&sent.event)),
            })
            .collect(),
        dropped: reading.dropped,
    };
    Ok(Bytes::from(answer.encode_to_vec()))
}
