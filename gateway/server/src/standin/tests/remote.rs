//! A client without a sidecar in one cluster, a server without one in another:
//! stand-ins on both sides, two gateways' tunnels and the far one's relay between.

use std::sync::Arc;
use std::time::Duration;

use weft_identity::fixture::bundles;
use weft_model::fixture::{Log, name};
use weft_model::{AppProtocol, Endpoint, EndpointId};
use weft_plan::Moment;
use weft_plan::catalog::{Epoch, Interest};
use weft_proto::peer::relay_stream;

use super::super::fixture::{Plan, World, authority, converse, loopback_range, set_range};
use super::super::{Clients, through};
use super::servers::tcp_server;
use crate::relay::{Destination, Limits, Local, Reason, Relay, RelayConfig, Sessions};
use crate::scene::Reach;
use crate::testing::{self, Gateway};
use crate::tunnel::PeerTarget;

const US: &str = "us-east-1";
const EU: &str = "eu-west-1";
const SERVICE: &str = "shop/echo";

#[tokio::test]
async fn a_client_reaches_a_server_of_another_cluster() {
    let server = tcp_server().await;
    let tunnels = testing::World::new();
    let (near, mut far) = (tunnels.gateway(1, "a", 2), tunnels.gateway(2, "b", 2));
    near.tunnels.set_peers(vec![as_cluster(&far, EU)]);
    far.tunnels.set_peers(vec![as_cluster(&near, US)]);
    near.until_up(&far, 4).await;

    let mut log = Log::founded();
    log.join(2, EU);
    set_range(&mut log, &loopback_range());
    let (us, eu) = (authority(US), authority(EU));
    let trusted = bundles(&[&us, &eu]);
    let mut serving = World::start(Plan {
        log,
        node: 2,
        clients: Clients::Ignore,
        workers: far.tunnels.workers().clone(),
        authority: eu,
        bundles: trusted.clone(),
        ..Plan::new()
    });
    serving.export(SERVICE, AppProtocol::Tcp, 7000);
    serving.entry("echo-1", SERVICE, server.at, Vec::new());
    serving.until_ready(SERVICE, 1).await;
    let _relay = relay(&mut far, &serving);

    let mut reach = Reach::default();
    reach.add(name(EU), Duration::from_millis(80));
    let asking = World::start(Plan {
        log: serving.log.clone(),
        connectors: through(near.tunnels.clone()),
        workers: near.tunnels.workers().clone(),
        authority: us,
        bundles: trusted,
        reach,
        ..Plan::new()
    });
    hear_of(&asking, served(&serving));
    asking.publish();
    let at = asking.virtual_address(SERVICE);
    assert_eq!(converse(at, b"hello").await, b"hello, 5 bytes");
    let bulk = vec![b'x'; 3 << 20];
    let answer = converse(at, &bulk).await;
    assert!(answer.starts_with(&bulk) && answer.ends_with(b", 3145728 bytes"));
}

/// The gateway as the other takes it for, in the federation of the log.
fn as_cluster(gateway: &Gateway, cluster: &str) -> PeerTarget {
    PeerTarget {
        cluster: name(cluster),
        ..gateway.target.clone()
    }
}

/// The far gateway's relay, which finds endpoints in the far catalog.
fn relay(far: &mut Gateway, serving: &World) -> Arc<Relay> {
    let view = serving.view.clone();
    let service = name(SERVICE);
    Relay::start(RelayConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tunnels: far.tunnels.clone(),
        incoming: std::mem::take(&mut far.relays),
        sessions: Arc::new(Sessions::default()),
        authorise: Arc::new(|_, _| Err(Reason::NotExported)),
        deliver: Arc::new(move |_, header| {
            let Some(relay_stream::Target::Endpoint(id)) = &header.target else {
                return Err(Reason::NoSuchEndpoint);
            };
            let id = EndpointId::from_slice(id).ok_or(Reason::NoSuchEndpoint)?;
            let view = view.borrow();
            let endpoint = view.own_endpoint(&service, id);
            let address = endpoint.and_then(|endpoint| endpoint.address);
            Ok(Destination {
                address: address.ok_or(Reason::NoSuchEndpoint)?,
                local: Local::Allow,
            })
        }),
        limits: Limits::default(),
        idle: Duration::from_secs(3600),
    })
    .unwrap()
}

fn served(world: &World) -> Endpoint {
    let view = world.view.borrow();
    Endpoint::clone(&view.service(&name(SERVICE)).unwrap().endpoints[0])
}

/// The near catalog hears of the far endpoint, as from a gateway there.
fn hear_of(asking: &World, endpoint: Endpoint) {
    let (cluster, epoch) = (name(EU), Epoch([2; 16]));
    let mut catalog = asking.catalog.lock().unwrap();
    catalog.open_peer(&cluster, &name("gw"), epoch, false, Moment::default());
    catalog.peer_snapshot(&cluster, epoch, Interest::Everything);
    assert!(catalog.peer_attests(&cluster, epoch, endpoint));
}
