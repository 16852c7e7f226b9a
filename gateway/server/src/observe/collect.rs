//! The windows of all gateways, asked for at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use prost::Message;
use weft_model::{ClusterName, GatewayName, ServiceKey, SpiffeId};
use weft_plan::traffic::{Heard, Regions, VersionSum, versions};
use weft_proto::catalog as wire;

use super::observatory::{heard, to_window};
use super::{METHOD_SURVEY, METHOD_WINDOW};
use crate::admin::view::PeerView;
use crate::hub::Hub;
use crate::tunnel::Question;

/// How long another gateway may take: less than the CLI waits, so that the answer says who is silent.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What is known of the whole federation's traffic, and by whom.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collected {
    /// The windows that arrived, this gateway's first.
    pub(crate) heard: Vec<Heard>,
    /// Who did not answer.
    pub(crate) silent: Vec<Silent>,
    /// The region of each cluster.
    pub(crate) regions: Regions,
}

impl Collected {
    /// What each version of `service` did, by the callers' region and the serving cluster.
    pub(crate) fn versions(&self, service: &ServiceKey) -> Vec<VersionSum> {
        versions(&self.heard, &self.regions, service)
    }
}

/// A gateway that did not answer: its sources are missing in every sum.
#[derive(Debug, Clone)]
pub(crate) struct Silent {
    /// Its cluster.
    pub(crate) cluster: ClusterName,
    /// Its name.
    pub(crate) gateway: GatewayName,
    /// Why.
    pub(crate) why: String,
}

/// Asks every gateway for the last `span`.
pub(crate) async fn collect(hub: &Hub, span: Duration) -> Collected {
    let question = wire::WindowQuestion {
        span_ms: u64::try_from(span.as_millis()).unwrap_or(u64::MAX),
    };
    let question = Bytes::from(question.encode_to_vec());
    let state = hub.registry().state();
    let read = |(cluster, gateway), answer: Bytes| {
        let window = wire::Window::decode(answer).map_err(|error| error.to_string())?;
        let mut heard = heard(cluster, gateway, &window).map_err(|error| error.to_string())?;
        // A gateway speaks for callers of its own cluster and no other.
        let of = |source: &SpiffeId| state.cluster_of(&source.trust_domain);
        let (rows, from) = (&mut heard.window.rows, &heard.cluster);
        rows.retain(|row| of(&row.source).is_some_and(|(cluster, _)| cluster == from));
        Ok(heard)
    };
    let (answered, silent) = ask_all(hub, METHOD_WINDOW, &question, read).await;
    let own = Heard {
        cluster: hub.cluster().clone(),
        gateway: hub.gateway().clone(),
        window: hub.observatory().window(hub.catalog_handle().now(), span),
    };
    let members = state.clusters();
    Collected {
        heard: std::iter::once(own).chain(answered).collect(),
        silent,
        regions: members
            .map(|(name, member)| (name.clone(), member.spec.region.clone()))
            .collect(),
    }
}

/// A gateway of the federation.
type Who = (ClusterName, GatewayName);

/// Asks every other gateway the same; an answer that does not read is none.
async fn ask_all<T>(
    hub: &Hub,
    method: &str,
    question: &Bytes,
    read: impl Fn(Who, Bytes) -> Result<T, String>,
) -> (Vec<T>, Vec<Silent>) {
    let state = hub.registry().state();
    let others = state.nodes().filter(|(id, _)| *id != hub.node());
    let read = &read;
    let asked = others.map(|(id, node)| async move {
        let who = (node.cluster.clone(), node.gateway.name.clone());
        let deadline = Instant::now() + ANSWER_MAX;
        let answer = hub.tunnels().call(id, method, question.clone(), deadline);
        let answer = answer.await.map_err(|error| error.to_string());
        let read = answer.and_then(|answer| read(who.clone(), answer));
        read.map_err(|why| Silent {
            cluster: who.0,
            gateway: who.1,
            why,
        })
    });
    let (mut answered, mut silent) = (Vec::new(), Vec::new());
    for answer in join_all(asked).await {
        match answer {
            Ok(answer) => answered.push(answer),
            Err(why) => silent.push(why),
        }
    }
    (answered, silent)
}

/// Every other gateway's peers, as it sees them.
pub(crate) async fn surveys(
    hub: &Hub,
) -> (Vec<(ClusterName, GatewayName, Vec<PeerView>)>, Vec<Silent>) {
    ask_all(
        hub,
        METHOD_SURVEY,
        &Bytes::new(),
        |(cluster, gateway), answer| {
            let peers = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
            Ok((cluster, gateway, peers))
        },
    )
    .await
}

/// Answers another gateway: of its own cluster all, of another the services that it may see.
pub(crate) fn window_for(hub: &Hub, question: &Question) -> Result<Bytes, String> {
    let wanted = wire::WindowQuestion::decode(question.body.clone());
    let wanted = wanted.map_err(|error| error.to_string())?;
    let state = hub.registry().state();
    let (asker, _) = state
        .cluster_of(&question.peer.trust_domain)
        .ok_or_else(|| format!("{} is of no member", question.peer))?;
    let is_told = |service: &ServiceKey| {
        let derived = state.service(service);
        asker == hub.cluster() || derived.is_some_and(|service| service.is_visible_to(asker))
    };
    let span = Duration::from_millis(wanted.span_ms);
    let window = hub.observatory().window(hub.catalog_handle().now(), span);
    let told = to_window((hub.cluster(), hub.gateway()), &window, is_told);
    Ok(Bytes::from(told.encode_to_vec()))
}
