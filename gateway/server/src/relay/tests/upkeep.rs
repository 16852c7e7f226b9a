//! Rotation, eviction and drain under relayed connections.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_identity::fixture;

use super::bytes::exchange;
use super::{Federation, Limits, Server, relay};
use crate::relay::Reason;
use crate::testing::{Gateway, World, eventually, gateway_id, now, within};
use crate::tunnel::PathState;

#[tokio::test]
async fn rotating_leaves_cuts_none_of_two_hundred_connections() {
    let federation = Federation::with(2, Limits::default()).await;
    let before = federation
        .near
        .tunnels
        .data_links(&federation.far.target.cluster);
    assert_eq!(before.len(), 4, "one per worker of each side");
    let port = Server::new().await.echo();
    let (rounds, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let connections = (0..200_u32).map(|number| {
        let (federation, rounds, done) = (&federation, &rounds, &done);
        async move {
            let mut tcp = federation.connect(port).await.unwrap();
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                exchange(&mut tcp, number, round).await;
                round += 1;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            tcp.shutdown().await.unwrap();
            tcp.read_to_end(&mut Vec::new()).await.unwrap();
        }
    });
    let rotations = async {
        let more = async |what: &str| {
            let until = rounds.load(Ordering::Relaxed) + 1000;
            eventually(what, || rounds.load(Ordering::Relaxed) >= until).await;
        };
        more("traffic before").await;
        for _ in 0..3 {
            for (gateway, cluster) in [(&federation.near, "a"), (&federation.far, "b")] {
                rotate(&federation.world, gateway, cluster);
            }
            more("traffic after a rotation").await;
        }
        // A newcomer's handshakes meet the new leaves.
        let newcomer = federation.world.gateway(3, "c", 1);
        let near = federation.near.target.clone();
        federation
            .near
            .tunnels
            .set_peers(vec![federation.far.target.clone(), newcomer.undialled()]);
        newcomer.tunnels.set_peers(vec![near]);
        newcomer.until_up(&federation.near, 1).await;
        done.store(true, Ordering::Relaxed);
    };
    within("all", async {
        tokio::join!(join_all(connections), rotations)
    })
    .await;
    let after = federation
        .near
        .tunnels
        .data_links(&federation.far.target.cluster);
    assert!(after.is_superset(&before), "data connections were cut");
}

fn rotate(world: &World, gateway: &Gateway, cluster: &str) {
    let id = gateway_id(cluster, gateway.node().0);
    let before = gateway.svid.current();
    gateway
        .svid
        .replace(fixture::svid(world.authority(cluster), &id, now()));
    assert_ne!(before.chain(), gateway.svid.current().chain());
}

#[tokio::test]
async fn evicting_a_peer_resets_what_it_carried() {
    let federation = Federation::new().await;
    let (mut client, mut server) = federation.connection().await;
    let evicted = Instant::now();
    federation.far.tunnels.set_peers(Vec::new());
    for tcp in [&mut client, &mut server] {
        let read = within("the reset", tcp.read(&mut [0; 16])).await;
        assert!(read.is_err(), "cut, not ended");
    }
    // Well before the idle timeout.
    assert!(evicted.elapsed() < Duration::from_secs(5));
    let port = Server::new().await.echo();
    let refused = federation.connect(port).await;
    assert_eq!(refused.map(drop), Err(Reason::NoPath));
}

#[tokio::test]
async fn while_one_gateway_drains_another_of_its_cluster_serves() {
    let mut federation = Federation::new().await;
    let port = Server::new().await.echo();
    // Through the only gateway of its cluster, so far.
    let mut held = vec![federation.connect(port).await.unwrap()];
    let mut other = federation.world.gateway(3, "b", 1);
    let near = &federation.near;
    near.tunnels
        .set_peers(vec![federation.far.target.clone(), other.target.clone()]);
    other.tunnels.set_peers(vec![near.target.clone()]);
    near.until_up(&other, 2).await;
    let (other_relay, _) = relay(&mut other, Limits::default());

    let draining = federation.far.tunnels.clone();
    let deadline = Instant::now() + Duration::from_secs(60);
    let drained = tokio::spawn(async move { draining.drain(deadline).await });
    eventually("the near gateway knows", || {
        near.state(&federation.far) == Some(PathState::Draining)
    })
    .await;
    let left = within("the sidecar's notice", federation.left.recv()).await;
    assert_eq!(
        left,
        Some(0),
        "what runs through the draining gateway is to be left"
    );
    let at_far = federation.far_relay.metrics().open();
    assert_eq!(at_far, 1);
    for _ in 0..10 {
        held.push(federation.connect(port).await.unwrap());
    }
    assert_eq!(federation.far_relay.metrics().open(), at_far);
    assert_eq!(other_relay.metrics().open(), 10);
    assert!(federation.left.is_empty(), "only what goes through it");
    for (number, tcp) in (0..).zip(&mut held) {
        exchange(tcp, number, 0).await;
    }
    drop(held);
    within("the drain's end", drained).await.unwrap();
}

#[tokio::test]
async fn a_drain_cuts_what_is_left_at_its_deadline_and_not_before() {
    let federation = Federation::new().await;
    let port = Server::new().await.echo();
    let mut tcp = federation.connect(port).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    let far = federation.far.tunnels.clone();
    let drained = tokio::spawn(async move { far.drain(deadline).await });
    let mut rounds = 0;
    let cut = within("the cut", async {
        loop {
            tcp.write_all(b"word").await?;
            tcp.read_exact(&mut [0; 4]).await?;
            rounds += 1;
        }
        #[expect(unreachable_code, reason = "says what the block returns")]
        std::io::Result::Ok(())
    })
    .await;
    assert!(cut.is_err(), "cut, not ended");
    assert!(Instant::now() >= deadline, "after {rounds} rounds");
    within("the drain's end", drained).await.unwrap();
}
