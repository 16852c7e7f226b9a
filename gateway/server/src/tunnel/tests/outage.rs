//! Peers that restart and paths that are cut.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::links;
use crate::testing::{Path, World, eventually, pair, within};
use crate::tunnel::{PathState, PeerTarget};

#[tokio::test]
async fn a_restarted_peer_is_met_again() {
    let world = World::new();
    let (a, b) = pair(&world, 1).await;
    let address = b.address();
    b.tunnels.drain(Instant::now()).await;
    eventually("a sees b down", || a.state(&b) == Some(PathState::Down)).await;
    drop(b);
    // Its sockets are closed by its worker, in its own time.
    eventually("the port is free", || {
        std::net::UdpSocket::bind(address).is_ok()
    })
    .await;
    let b = world.gateway_at(2, "b", 1, address);
    b.tunnels.set_peers(vec![a.target.clone()]);
    a.until_up(&b, 2).await;
    b.until_up(&a, 2).await;
}

#[tokio::test]
async fn a_crashed_peer_that_returns_ends_its_dead_connections() {
    let world = World::new();
    let (a, b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 1));
    let path = Path::to(b.address()).await;
    a.tunnels.set_peers(vec![PeerTarget {
        address: Some(path.address.into()),
        ..b.target.clone()
    }]);
    b.tunnels.set_peers(vec![a.undialled()]);
    a.until_up(&b, 1).await;
    let dead = links(&a, b.node());
    // As seen from a, b is silent from now on, and another process of the same node dials.
    path.cut.store(true, Ordering::Relaxed);
    let reborn = world.gateway(2, "b", 1);
    reborn.tunnels.set_peers(vec![a.target.clone()]);
    eventually("only connections of the new process", || {
        let now = links(&a, b.node());
        !now.is_empty() && now.is_disjoint(&dead)
    })
    .await;
    reborn.until_up(&a, 1).await;
}

#[tokio::test]
async fn a_healed_path_is_used_again_without_waiting_for_timeouts() {
    let world = World::new();
    let (a, b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 1));
    let path = Path::to(b.address()).await;
    a.tunnels.set_peers(vec![PeerTarget {
        address: Some(path.address.into()),
        ..b.target.clone()
    }]);
    b.tunnels.set_peers(vec![a.undialled()]);
    a.until_up(&b, 1).await;

    path.cut.store(true, Ordering::Relaxed);
    eventually("a finds b silent", || {
        a.state(&b) == Some(PathState::Silent)
    })
    .await;
    // Long enough that the probes of the old connection would have backed off.
    let dials = || a.tunnels.metrics().dials_failed.get();
    let before = dials();
    eventually("dials time out", || dials() >= before + 2).await;
    path.cut.store(false, Ordering::Relaxed);
    let healed = Instant::now();
    a.until_up(&b, 1).await;
    b.until_up(&a, 1).await;
    let took = healed.elapsed();
    assert!(
        took < Duration::from_secs(8),
        "recovered only after {took:?}"
    );
}

#[tokio::test]
async fn tunnels_survive_a_new_address_of_the_dialler() {
    let world = World::new();
    let (a, mut b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 2));
    let path = Path::to(b.address()).await;
    a.tunnels.set_peers(vec![PeerTarget {
        address: Some(path.address.into()),
        ..b.target.clone()
    }]);
    b.tunnels.set_peers(vec![a.undialled()]);
    a.until_up(&b, 1).await;
    let before = links(&a, b.node());
    let header = weft_proto::peer::RelayStream::default();
    let stream = a.tunnels.open_relay(0, &b.target.cluster, header);
    let mut stream = within("a relay stream", stream).await.unwrap();
    stream.send.write_all(b"before").await.unwrap();
    path.rebind.store(true, Ordering::Relaxed);
    stream.send.write_all(b", after").await.unwrap();
    stream.send.finish().unwrap();
    let (first, second) = b.relays.split_at_mut(1);
    let arrived = async {
        tokio::select! {
            relay = first[0].recv() => relay,
            relay = second[0].recv() => relay,
        }
    };
    let mut relay = within("the stream", arrived).await.unwrap();
    let heard = within("the rest", relay.recv.read_to_end(64))
        .await
        .unwrap();
    assert_eq!(heard, b"before, after");
    assert_eq!(links(&a, b.node()), before);
}
