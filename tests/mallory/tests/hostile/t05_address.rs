//! T5: endpoints and gateways at addresses that are not hers to give.

use std::net::UdpSocket;

use anyhow::{Context, Result, ensure};
use rand::random;
use serde_json::json;
use weft_mallory::{CLUSTER, GATEWAYS};
use weft_model::Command;
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;
use weft_test_support::{SOON, command, eventually, run};

use crate::t01_owner::{endpoint, export, hello};
use crate::{Stage, metric};

/// Of this machine, of the nearest one, of nobody, and of a victim's gateway.
const ADDRESSES: [&str; 7] = [
    "127.0.0.1:22",
    "169.254.169.254:80",
    "0.0.0.0:80",
    "224.0.0.1:80",
    "[::1]:80",
    "[fe80::1]:80",
    "127.1.0.1:7444",
];

/// Of another cluster's endpoints nobody takes an address at all.
pub(crate) fn endpoints(stage: &Stage<'_>) -> Result<()> {
    let mallory = &stage.mallory;
    let loot = &mallory.loot;
    let mut headless = export()?;
    headless.service_type = weft_model::ServiceType::Headless;
    let key: weft_model::ServiceKey = "shop/lure".parse()?;
    let put = Command::PutExport(CLUSTER.parse()?, key.clone(), Box::new(headless));
    mallory.await_index(mallory.propose(loot.sign(loot.author(), 1 << 43, put))?)?;
    let identity = "spiffe://mallory-1.dev.weft.internal/ns/shop/sa/lure";
    for (cluster, gateway) in GATEWAYS {
        let at = format!("{cluster}/{gateway}");
        let mut stream = mallory.open_catalog(mallory.node_of(cluster, gateway)?)?;
        mallory.tell(&mut stream, Frame::Hello(hello(CLUSTER)))?;
        mallory.tell(&mut stream, Frame::Snapshot(wire::SnapshotBegin::default()))?;
        for (count, address) in ADDRESSES.into_iter().enumerate() {
            let host = address.rsplit_once(':').map_or("", |(host, _)| host);
            let lure = wire::Endpoint {
                address: address.into(),
                workload: host.trim_matches(['[', ']']).into(),
                hostname: format!("lure-{count}"),
                ..endpoint(random::<[u8; 16]>().to_vec(), CLUSTER, "lure", identity)
            };
            mallory.tell(&mut stream, Frame::Endpoint(lure))?;
        }
        let listed = eventually("the endpoints are listed", SOON, || {
            let asked = json!({ "service": "shop/lure" });
            let listed = stage.victims.question(&at, "endpoints", &asked)?;
            let items = listed["items"].as_array().cloned().unwrap_or_default();
            ensure!(items.len() >= ADDRESSES.len(), "{listed}");
            Ok(items)
        })?;
        for item in listed {
            ensure!(item["address"].is_null(), "{at} believes {item}");
        }
        // And names answer with addresses of the asker's own range, or not at all.
        let dns = stage.dev.gateway(cluster, gateway)?.dns;
        let (host, port) = dns.rsplit_once(':').context("an address")?;
        let name = "lure.shop.svc.clusterset.local";
        let server = format!("@{host}");
        let dig = ["dig", "+short", &server, "-p", port, name, "A"];
        let answer = run(&mut command(dig))?.ok()?;
        for line in answer.lines() {
            let own = ["127.64.", "127.65.", "127.66."];
            ensure!(
                own.iter().any(|range| line.starts_with(range)),
                "{at}: {line}"
            );
        }
    }
    let gone = Command::DeleteExport(CLUSTER.parse()?, key);
    mallory.await_index(mallory.propose(loot.sign(loot.author(), (1 << 43) + 1, gone))?)
}

/// Where a gateway may be dialled: never at the nearest machine. `weft dev` is on loopback as a
/// whole, and so its gateways do dial there; `gateway/server/src/address.rs` has the table.
pub(crate) fn gateways(stage: &Stage<'_>) -> Result<()> {
    let (mallory, loot) = (&stage.mallory, &stage.mallory.loot);
    let place = "ip address add 169.254.6.6/32 dev lo";
    run(&mut command(["sh", "-c", place]))?.ok()?;
    let near = UdpSocket::bind("169.254.6.6:9999")?;
    near.set_nonblocking(true)?;
    let state = mallory.state();
    let honest = state
        .node(mallory.id())
        .context("her node")?
        .gateway
        .clone();
    let mut lured = honest.clone();
    lured.tunnel = Some("169.254.6.6:9999".parse()?);
    let put = loot.sign(loot.author(), 1 << 44, Command::PutGateway(lured));
    mallory.await_index(mallory.propose(put)?)?;
    let failed = || metric(stage, "us-east-1", "weft_tunnel_dial_failures_total");
    let before = failed()?;
    // Who has a connection dials no other: she hangs up, and all of them try.
    mallory.tunnels.set_peers(Vec::new());
    eventually("it tries to dial her, and does not", SOON, || {
        ensure!(failed()? > before + 1, "not yet");
        Ok(())
    })?;
    let reached = near.recv(&mut [0; 2048]);
    mallory.follow();
    ensure!(reached.is_err(), "a packet came to the nearest machine");
    let back = loot.sign(loot.author(), (1 << 44) + 1, Command::PutGateway(honest));
    let back = eventually("she is heard again", SOON, || {
        Ok(mallory.propose(back.clone())?)
    })?;
    mallory.await_index(back)
}
