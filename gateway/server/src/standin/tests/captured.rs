//! One listener for a whole range: real redirection, in a network namespace.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroU16;

use anyhow::Result;
use weft_model::fixture::export;
use weft_model::{AppProtocol, ServiceType};
use weft_proxy::capture::{Rules, Table};
use weft_test_support::{command, isolated, run};

use super::super::Clients;
use super::super::fixture::{Plan, World, converse, set_range, try_converse};
use super::servers::tcp_server;
use crate::testing::within;

const RANGE: &str = "240.1.0.0/16";
const PORT: NonZeroU16 = NonZeroU16::new(15003).unwrap();
const SERVICES: usize = 5_000;
/// What the first connections themselves and the fronts of two servers may hold.
const DESCRIPTORS: usize = 40;

#[test]
fn five_thousand_virtual_ips_cost_no_descriptors() -> Result<()> {
    let name = "standin::tests::captured::five_thousand_virtual_ips_cost_no_descriptors";
    isolated(name, || {
        redirect()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let server = tcp_server().await;
            let mut plan = Plan::new();
            set_range(&mut plan.log, RANGE);
            plan.clients = Clients::Captured(PORT);
            let mut world = World::start(plan);
            let before = descriptors()?;
            let spec = export(ServiceType::ClusterSetIP, "main", AppProtocol::Tcp, 7000);
            for at in 0..SERVICES {
                world.log.export(1, &key(at), &spec);
            }
            world.publish();
            let ends = [key(0), key(SERVICES - 1)];
            for (at, service) in ends.iter().enumerate() {
                world.entry(&format!("entry-{at}"), service, server.at, Vec::new());
                world.until_ready(service, 1).await;
            }
            world.until_followed().await;
            for service in &ends {
                let answer = converse(world.virtual_address(service), b"hello").await;
                assert_eq!(answer, b"hello, 5 bytes", "{service}");
            }
            let after = descriptors()?;
            assert!(after < before + DESCRIPTORS, "{before}, then {after}");
            refusals(&world).await;
            Ok(())
        })
    })
}

fn key(at: usize) -> String {
    format!("shop/many-{at}")
}

/// No service's address, a service's other port, the listener itself.
async fn refusals(world: &World) {
    let mut other = world.virtual_address(&key(0));
    other.set_port(7001);
    let own = SocketAddr::from(([127, 0, 0, 1], PORT.get()));
    for at in [SocketAddr::from(([240, 1, 200, 1], 7000)), other, own] {
        let refused = within("a refusal", try_converse(at, b"hello")).await;
        assert!(refused.is_err(), "{at}: {refused:?}");
    }
}

/// As `weft capture on --gateway` does, and as a router's route would lead here.
fn redirect() -> Result<()> {
    let rules = Rules {
        table: Table::Gateway,
        exempt: Default::default(),
        ranges: vec![RANGE.parse()?],
        port: PORT,
        dns: None,
    };
    let script = tempfile::NamedTempFile::new()?;
    fs::write(script.path(), rules.script())?;
    run(command(["nft", "-f"]).arg(script.path()))?.ok()?;
    let listed = run(&mut command(
        "nft -y list table inet weft_gateway".split(' '),
    ))?
    .ok()?;
    assert!(rules.equal(&listed), "{listed}");
    let route = format!("ip route add local {RANGE} dev lo");
    run(&mut command(route.split(' ')))?.ok()?;
    Ok(())
}

fn descriptors() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}
