//! Gateways that are left alone: one that starts with nobody reachable, those that go on
//! without a majority, and what names answer meanwhile.

mod answered;
mod isolated_start;
mod names;
mod quorumless;
mod through;

use anyhow::{Context, Result, bail, ensure};
use weft_test_support::{Dev, Gateway, Ran, command, isolated, run};

#[test]
fn a_gateway_that_starts_alone_serves_what_it_last_knew() -> Result<()> {
    isolated(
        "a_gateway_that_starts_alone_serves_what_it_last_knew",
        || Dev::with(&[], |dev| isolated_start::starts_alone(dev)),
    )
}

#[test]
fn names_are_never_empty_and_never_go_back() -> Result<()> {
    isolated("names_are_never_empty_and_never_go_back", || {
        Dev::with(&["--gateways", "2"], |dev| {
            names::are_asked_all_the_time(dev)
        })
    })
}

#[test]
fn what_a_gateway_has_answered_it_does_not_take_back() -> Result<()> {
    isolated("what_a_gateway_has_answered_it_does_not_take_back", || {
        Dev::with(&[], |dev| answered::stays_answered(dev))
    })
}

#[test]
fn without_a_majority_nobody_notices_but_who_writes() -> Result<()> {
    isolated("without_a_majority_nobody_notices_but_who_writes", || {
        Dev::with(&["--gateways", "2"], |dev| quorumless::goes_on(dev))
    })
}

#[test]
fn two_clusters_that_cannot_reach_each_other_go_through_a_third() -> Result<()> {
    isolated(
        "two_clusters_that_cannot_reach_each_other_go_through_a_third",
        || Dev::with(&[], |dev| through::carries(dev)),
    )
}

/// Where all of it is.
const HOME: &str = "us-east-1";

/// A headless service with a server in another cluster: what is known of it there is known by the
/// catalog alone.
const CELL: &str = "
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: cell }
spec:
  type: Headless
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: cell-1 }
spec:
  service: cell
  address: 127.2.9.1
  ports: { http: 8080 }
";

/// The names that are asked for: a service of the own cluster and others, one of another cluster by
/// its address here, and one that is its endpoints.
const NAMES: [&str; 4] = [
    "checkout.shop.svc.clusterset.local",
    "payments.shop.svc.clusterset.local",
    "payments.shop.svc.eu-west-1.cluster.weft.internal",
    "cell.shop.svc.clusterset.local",
];

/// What a gateway's DNS answers to one question: its addresses or data, in order.
///
/// # Errors
/// It does not answer, or says that there is none.
fn dig(gateway: &Gateway, name: &str, kind: &str) -> Result<Vec<String>> {
    let (server, port) = gateway.dns.rsplit_once(':').context("host:port")?;
    let server = format!("@{server}");
    let Ran { stdout, .. } = run(&mut command([
        "dig",
        &server,
        "-p",
        port,
        "+time=2",
        "+tries=1",
        "+noall",
        "+comments",
        "+answer",
        name,
        kind,
    ]))?
    .exits(0)?;
    ensure!(stdout.contains("status: NOERROR"), "{name}: {stdout}");
    let answers = stdout
        .lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty());
    let mut data: Vec<String> = answers
        .filter_map(|line| line.split_whitespace().nth(4).map(str::to_owned))
        .collect();
    data.sort();
    if data.is_empty() {
        bail!("{name} is empty: {stdout}");
    }
    Ok(data)
}

/// The serial of a gateway's zones.
///
/// # Errors
/// As [`dig`].
fn serial(gateway: &Gateway) -> Result<u32> {
    let (server, port) = gateway.dns.rsplit_once(':').context("host:port")?;
    let server = format!("@{server}");
    let zone = "clusterset.local";
    let said = run(&mut command([
        "dig", &server, "-p", port, "+time=2", "+tries=1", "+short", zone, "SOA",
    ]))?
    .ok()?;
    let serial = said.split_whitespace().nth(2);
    serial.with_context(|| said.clone())?.parse().context(said)
}
