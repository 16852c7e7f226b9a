//! Far gateways that go away without a word.

use std::sync::atomic::{AtomicU64, Ordering};

use super::bytes::exchange;
use super::{Federation, Limits, Server, relay};
use crate::testing::{Path, World};
use crate::tunnel::PeerTarget;

#[tokio::test]
async fn beside_a_gateway_that_goes_silent_another_is_asked() {
    let world = World::new();
    let [mut near, mut far, mut other] =
        [(1, "a"), (2, "b"), (3, "b")].map(|(node, cluster)| world.gateway(node, cluster, 1));
    let path = Path::to(far.address()).await;
    let by_path = PeerTarget {
        address: Some(path.address.into()),
        ..far.target.clone()
    };
    near.tunnels.set_peers(vec![by_path, other.target.clone()]);
    for gateway in [&far, &other] {
        gateway.tunnels.set_peers(vec![near.undialled()]);
        near.until_up(gateway, 1).await;
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
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(federation.connect(port).await.unwrap());
    }
    assert_eq!(federation.far_relay.metrics().open(), 2, "they take turns");

    // The tunnel will take seconds to notice.
    path.cut.store(true, Ordering::Relaxed);
    for number in 0..8 {
        let mut tcp = federation.connect(port).await.unwrap();
        exchange(&mut tcp, number, 0).await;
        held.push(tcp);
    }
    assert_eq!(other_relay.metrics().open(), 2 + 8);
}
