//! One connection to a service, step by step: which one takes the time.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use weft_decide::{
    Balancer, Demand, EndpointView, Lane, Locality, OutlierConfig, Reason, Rng, Scope, Tick,
};
use weft_model::{NodeId, ServiceKey};
use weft_proto::peer::{RelayStream, relay_stream};
use weft_proxy::{BoxStream, Probed, probe};

use super::METHOD_CLOCK;
use crate::hub::Hub;
use crate::relay;
use crate::standin::TunnelStream;

/// How long reaching the endpoint's sidecar may take: as for any connection.
const REACH_MAX: Duration = Duration::from_secs(5);

/// What a ping found.
#[derive(Debug, Clone)]
pub(crate) struct Ping {
    /// Whom it was for.
    pub(crate) endpoint: Arc<EndpointView>,
    /// Its port.
    pub(crate) port: NonZeroU16,
    /// The steps in order; after one that failed there is none.
    pub(crate) steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Which.
    pub(crate) hop: Hop,
    /// What it took, or why it failed.
    pub(crate) took: Result<Duration, Reason>,
}

/// What is between a gateway and the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hop {
    /// To that gateway and back, through the tunnel.
    Tunnel(NodeId),
    /// A relay stream, until the far gateway has connected to the endpoint's sidecar.
    Relay,
    /// TCP to the sidecar of an endpoint in this cluster.
    Sidecar,
    /// Mutual TLS with the endpoint's identity.
    Handshake,
    /// Until the app has accepted a connection.
    App,
}

/// Picks an endpoint as a request from here would, and connects to it.
///
/// # Errors
/// No endpoint takes work, or there is no such service or port.
pub(crate) async fn ping(
    hub: &Arc<Hub>,
    service: &ServiceKey,
    port: Option<NonZeroU16>,
) -> Result<Ping, Reason> {
    let (endpoint, port) = pick(hub, service, port)?;
    let (tell, told) = oneshot::channel();
    let (of, view) = (Arc::clone(hub), Arc::clone(&endpoint));
    // Inner connections belong to a worker's thread.
    hub.tunnels().workers().spawn_local(0, move || async move {
        let steps = measure(&of, &view, port).await;
        // Who asked may be gone.
        let _unread = tell.send(steps);
    });
    Ok(Ping {
        endpoint,
        port,
        steps: told.await.unwrap_or_default(),
    })
}

fn pick(
    hub: &Hub,
    service: &ServiceKey,
    port: Option<NonZeroU16>,
) -> Result<(Arc<EndpointView>, NonZeroU16), Reason> {
    let table = hub.service_table();
    let routes = table.service(service).ok_or(Reason::NoRoute)?;
    let first = routes.ports().first().map(|routes| routes.port.port);
    let port = port.or(first).ok_or(Reason::NoSuchPort)?;
    let mut balancer = Balancer::new(OutlierConfig::default());
    let mut rng = Rng::seeded(rand::random());
    let now = Tick::at(Duration::ZERO);
    let demand = Demand {
        port,
        scope: &Scope::Any,
        // While a release is in effect, as for those who never meet its canary.
        lane: Lane::Any,
        tried: &[],
    };
    let picked = balancer.pick(routes, &demand, now, &mut rng)?;
    Ok((Arc::clone(picked), port))
}

async fn measure(hub: &Hub, view: &EndpointView, port: NonZeroU16) -> Vec<Step> {
    let mut steps = Vec::new();
    let stream = match view.locality {
        Locality::Local => sidecar(view, &mut steps).await,
        Locality::Remote { .. } => relayed(hub, view, port, &mut steps).await,
    };
    let Some(stream) = stream else {
        return steps;
    };
    let proof = (hub.svid().clone(), hub.bundles().clone());
    let Probed {
        handshake,
        accepted,
    } = probe(stream, proof, &view.endpoint, port).await;
    steps.push(Step {
        hop: Hop::Handshake,
        took: handshake,
    });
    steps.extend(accepted.map(|took| Step {
        hop: Hop::App,
        took,
    }));
    steps
}

async fn sidecar(view: &EndpointView, steps: &mut Vec<Step>) -> Option<BoxStream> {
    let began = Instant::now();
    let connected = match view.endpoint.address {
        None => Err(Reason::NoSuchEndpoint),
        Some(address) => match timeout(REACH_MAX, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(|_| Reason::ConnectFailed),
            Err(_) => Err(Reason::Timeout),
        },
    };
    finish(Hop::Sidecar, began, connected, steps).map(|tcp| Box::new(tcp) as BoxStream)
}

/// Opens a relayed connection as any client's, then measures the bare path that it took.
async fn relayed(
    hub: &Hub,
    view: &EndpointView,
    port: NonZeroU16,
    steps: &mut Vec<Step>,
) -> Option<BoxStream> {
    let endpoint = view.endpoint.id.0.to_vec().into();
    let header = RelayStream {
        target: Some(relay_stream::Target::Endpoint(endpoint)),
        port: u32::from(port.get()),
        priority: 0,
        hops: 0,
    };
    let began = Instant::now();
    let cluster = &view.endpoint.cluster;
    let opened = relay::open(hub.tunnels(), 0, cluster, &header).await;
    let (stream, hold) = TunnelStream::new(finish(Hop::Relay, began, opened, steps)?);
    let (far, began) = (hold.node(), Instant::now());
    let deadline = began + REACH_MAX;
    let asked = hub
        .tunnels()
        .call(far, METHOD_CLOCK, Bytes::new(), deadline);
    let there_and_back = asked.await.map_err(|_| Reason::NoPath);
    let is_there = finish(Hop::Tunnel(far), began, there_and_back, steps).is_some();
    // Told in the order of the way.
    steps.reverse();
    is_there.then(|| Box::new(stream) as BoxStream)
}

/// Notes what a step came to; its result if it succeeded.
fn finish<T>(
    hop: Hop,
    began: Instant,
    result: Result<T, Reason>,
    steps: &mut Vec<Step>,
) -> Option<T> {
    let took = began.elapsed();
    let (took, done) = match result {
        Ok(done) => (Ok(took), Some(done)),
        Err(reason) => (Err(reason), None),
    };
    steps.push(Step { hop, took });
    done
}
