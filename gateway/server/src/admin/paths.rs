//! Answers about the network: peers as this gateway sees them, and pings.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tonic::Status;
use weft_decide::Reason;
use weft_model::{Code, ServiceKey, code};

use super::status::freshness;
use super::view::{
    ClockView, ConnectionView, HeardView, LocalView, NetcheckView, ObservedView, PeerView,
    PingStepView, PingView, SilentView, TunnelView,
};
use crate::api::refusal;
use crate::hub::Hub;
use crate::observe::{Hop, Ping, Skew, Step, peers, ping, surveys};
use crate::tunnel::{ConnectionSurvey, PathState, PeerSurvey};

/// What is asked of the network.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AskedPeers {
    /// Only gateways of this cluster or region.
    #[serde(default)]
    peer: Option<String>,
}

/// This gateway's socket and its peers.
pub(super) async fn netcheck(hub: &Hub, arguments: &Value) -> Result<NetcheckView, Status> {
    let asked: AskedPeers = read(arguments)?;
    let local = hub.tunnels().survey_local();
    let local = local.map_err(|error| Status::internal(error.to_string()))?;
    let peers = peers(hub).await.into_iter();
    let peers = peers.map(|(survey, skew)| peer(hub, &survey, skew));
    let is_meant = |peer: &PeerView| {
        let wanted = asked.peer.as_deref();
        wanted.is_none_or(|wanted| peer.cluster == wanted || peer.region == wanted)
    };
    let peers: Vec<PeerView> = peers.filter(is_meant).collect();
    if let (Some(wanted), true) = (&asked.peer, peers.is_empty()) {
        let what = format!("there is no other gateway in a cluster or region {wanted:?}");
        return Err(refusal(code::NO_SUCH_PLACE, what));
    }
    Ok(NetcheckView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        cluster: hub.cluster().to_string(),
        gateway: hub.gateway().to_string(),
        local: LocalView {
            listen: local.listen.to_string(),
            receive_buffer: local.socket.receive_buffer as u64,
            send_buffer: local.socket.send_buffer as u64,
            gso: local.socket.gso,
            gro: local.socket.gro,
        },
        peers,
    })
}

/// Every gateway's peers, as each of them sees them.
pub(super) async fn tunnels(hub: &Hub) -> ObservedView<TunnelView> {
    let own: Vec<PeerView> = own_peers(hub);
    let (answered, silent) = surveys(hub).await;
    let mine = (hub.cluster().clone(), hub.gateway().clone(), own);
    let all: Vec<_> = std::iter::once(mine).chain(answered).collect();
    let heard = all.iter().map(|(cluster, gateway, _)| HeardView {
        cluster: cluster.to_string(),
        gateway: gateway.to_string(),
        covered_ms: 0,
        age_ms: Some(0),
    });
    let silent = silent.into_iter().map(|silent| SilentView {
        cluster: silent.cluster.to_string(),
        gateway: silent.gateway.to_string(),
        why: silent.why,
    });
    let items = all.iter().flat_map(|(cluster, gateway, peers)| {
        peers.iter().map(move |to| TunnelView {
            from_cluster: cluster.to_string(),
            from_gateway: gateway.to_string(),
            to: to.clone(),
        })
    });
    ObservedView {
        api_version: "weft.dev/v1".into(),
        freshness: freshness(hub),
        heard: heard.collect(),
        silent: silent.collect(),
        left_out: 0,
        items: items.collect(),
    }
}

/// This gateway's peers without their clocks: also as it answers other gateways.
pub(crate) fn own_peers(hub: &Hub) -> Vec<PeerView> {
    let survey = hub.tunnels().survey();
    survey.iter().map(|of| peer(hub, of, None)).collect()
}

fn peer(hub: &Hub, survey: &PeerSurvey, skew: Option<Skew>) -> PeerView {
    let state = hub.registry().state();
    let member = state.cluster(&survey.cluster);
    PeerView {
        cluster: survey.cluster.to_string(),
        region: member.map_or_else(String::new, |member| member.spec.region.to_string()),
        gateway: survey.gateway.to_string(),
        path: match (survey.state, &survey.through) {
            (PathState::Up, Some(third)) => format!("through {third}"),
            (PathState::Up, None) => "up".into(),
            (PathState::Silent, _) => "silent".into(),
            (PathState::Draining, _) => "draining".into(),
            (PathState::Down, _) => "down".into(),
        },
        lasting_ms: u64::try_from(survey.lasting.as_millis()).unwrap_or(u64::MAX),
        sent: survey.sent,
        loss: (survey.sent > 0).then(|| survey.lost as f64 / survey.sent as f64),
        data_connections: survey.data_connections as u64,
        connection: survey.control.as_ref().map(connection),
        clock: skew.map(|skew| ClockView {
            ahead_ms: skew.ahead_ms,
            margin_ms: skew.margin_ms,
        }),
    }
}

fn connection(of: &ConnectionSurvey) -> ConnectionView {
    ConnectionView {
        address: of.address.to_string(),
        family: match of.address.is_ipv4() {
            true => "IPv4",
            false => "IPv6",
        }
        .into(),
        dialled: match of.dialled_here {
            true => "here",
            false => "there",
        }
        .into(),
        rtt_us: micros(of.rtt),
        mtu: of.mtu,
        congestion_window: of.congestion_window,
        black_holes: of.black_holes,
        handshake_us: micros(of.handshake),
    }
}

/// What is to be pinged.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AskedPing {
    service: String,
    /// Its first port if left out.
    #[serde(default)]
    port: Option<NonZeroU16>,
}

/// One connection to a service.
pub(super) async fn pinged(hub: &Arc<Hub>, arguments: &Value) -> Result<PingView, Status> {
    let asked: AskedPing = read(arguments)?;
    let service: ServiceKey = asked.service.parse().map_err(|error| {
        let what = format!("{:?} is not namespace/name: {error}", asked.service);
        refusal(code::USAGE, what)
    })?;
    let done = ping(hub, &service, asked.port).await;
    let done = done.map_err(|reason| refused(&service, reason))?;
    let endpoint = &done.endpoint.endpoint;
    Ok(PingView {
        api_version: "weft.dev/v1".into(),
        service: service.to_string(),
        port: done.port.get(),
        from: format!("{}/{}", hub.cluster(), hub.gateway()),
        endpoint: endpoint.id.to_string(),
        cluster: endpoint.cluster.to_string(),
        version: endpoint.version.as_ref().map(ToString::to_string),
        identity: endpoint.identity.to_string(),
        steps: done
            .steps
            .iter()
            .map(|step| step_view(hub, &done, step))
            .collect(),
    })
}

fn refused(service: &ServiceKey, reason: Reason) -> Status {
    let code: Code = reason.code();
    refusal(code, format!("{service}: {}", reason.what()))
}

fn step_view(hub: &Hub, ping: &Ping, step: &Step) -> PingStepView {
    let own = format!("{}/{}", hub.cluster(), hub.gateway());
    let endpoint = &ping.endpoint.endpoint;
    let (hop, what) = match &step.hop {
        Hop::Tunnel(node) => {
            let state = hub.registry().state();
            let far = state.node(*node).map_or_else(
                || node.to_string(),
                |node| format!("{}/{}", node.cluster, node.gateway.name),
            );
            let paths = hub.tunnels().paths();
            let third = paths.peers.get(node).and_then(|path| path.through.clone());
            let way = third.map_or_else(String::new, |third| format!(", through {third}"));
            ("tunnel", format!("{own} to {far} and back{way}"))
        }
        Hop::Relay => (
            "relay",
            format!("through it to the sidecar in {}", endpoint.cluster),
        ),
        Hop::Sidecar => ("sidecar", format!("{own} to the sidecar, TCP")),
        Hop::Handshake => (
            "handshake",
            format!("mutual TLS with {}", endpoint.identity),
        ),
        Hop::App => ("app", format!("port {} accepted a connection", ping.port)),
    };
    PingStepView {
        hop: hop.into(),
        what,
        us: step.took.ok().map(micros),
        code: step.took.err().map(|reason| reason.code().to_string()),
    }
}

fn read<'a, T: Deserialize<'a>>(arguments: &'a Value) -> Result<T, Status> {
    T::deserialize(arguments).map_err(|error| refusal(code::USAGE, error.to_string()))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
