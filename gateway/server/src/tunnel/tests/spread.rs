//! Connections land on the worker that their ids name, and stay there.

use std::collections::BTreeMap;

use weft_proto::peer::stream_header::Kind;
use weft_proto::peer::{RelayStream, StreamHeader};

use super::{dial, hello, tls};
use crate::testing::{World, within};
use crate::tunnel::frame;
use crate::tunnel::hello::Purpose;

#[tokio::test]
async fn two_workers_share_the_connections_of_one_port() {
    let world = World::new();
    let (a, mut b) = (world.gateway(1, "a", 1), world.gateway(2, "b", 2));
    b.tunnels.set_peers(vec![a.undialled()]);
    let tls = tls(&a);
    let mut connections = Vec::new();
    // All from one socket: a hash over addresses would put them on one worker.
    for slot in 0..32 {
        let hello = hello(&a, Purpose::Data, slot);
        let dialled = within("a connection", dial(&a, &tls, &b, &hello)).await;
        connections.push(dialled.unwrap().0);
    }
    for (number, connection) in (0_u32..).zip(&connections) {
        let (mut send, _) = within("a stream", connection.open_bi()).await.unwrap();
        let kind = Some(Kind::Relay(RelayStream {
            port: number,
            ..RelayStream::default()
        }));
        frame::write_header(&mut send, &StreamHeader { kind })
            .await
            .unwrap();
    }
    let mut worker_of = BTreeMap::new();
    let (first, second) = b.relays.split_at_mut(1);
    while worker_of.len() < connections.len() {
        let (worker, relay) = within("a relay stream", async {
            tokio::select! {
                relay = first[0].recv() => (0, relay),
                relay = second[0].recv() => (1, relay),
            }
        })
        .await;
        worker_of.insert(relay.unwrap().header.port, worker);
    }
    let on_second = worker_of.values().filter(|worker| **worker == 1).count();
    // 32 fair coins: outside of 3..=29 once in some millions of runs.
    assert!((3..=29).contains(&on_second), "{on_second} of 32");
}
