//! Far gateways that go away without a word.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::bytes::exchange;
use super::{Federation, Limits, Server, relay};
use crate::testing::{Path, World};
use crate::tunnel::PeerTarget;

/// With as many links to each as are asked at most, and one more.
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_gateway_that_goes_silent_another_is_asked() {
    let world = World::new();
    let [mut near, mut far, mut other] =
        [(1, "a"), (2, "b"), (3, "b")].map(|(node, cluster)| world.gateway(node, cluster, LINKS));
    let path = Path::to(far.address()).await;
    let by_path = PeerTarget {
        address: Some(path.address.into()),
        ..far.target.clone()
    };
    near.tunnels.set_peers(vec![by_path, other.target.clone()]);
    for gateway in [&far, &other] {
        gateway.tunnels.set_peers(vec![near.undialled()]);
        near.until_up(gateway, LINKS).await;
    }
    let (near_relay, left) = relay(&mut near, Limits::default());
    let (far_relay, _) = relay(&mut far, Limits::default());
    let (other_relay, _) = relay(&mut other, Limits::default());
    let federation = Federation {
        world,
        near,
        far,
        near_relay,
        far_relay,
        left,
        counter: AtomicU64::new(0),
    };
    let port = Server::new().await.echo();
    let open = || [&*federation.far_relay, &*other_relay].map(|relay| relay.metrics().open());
    let mut held = Vec::new();
    // They take turns, once both have been seen to be near.
    while open().iter().any(|open| *open < 2) {
        held.push(federation.connect(port).await.unwrap());
    }
    let [_, before] = open();

    // The tunnel will take seconds to notice.
    path.cut.store(true, Ordering::Relaxed);
    for number in 0..8 {
        let connected = timeout(SOON, federation.connect(port)).await;
        let mut tcp = connected.expect("the other one is asked soon").unwrap();
        exchange(&mut tcp, number, 0).await;
        held.push(tcp);
    }
    assert_eq!(other_relay.metrics().open(), before + 8);
}

const LINKS: usize = 4;
/// Before the tunnel gives the path up, and long before an answer is overdue.
const SOON: Duration = Duration::from_secs(3);
