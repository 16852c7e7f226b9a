//! The leader of the registry dies under load, or is told to stop: nobody notices more
//! than one retry, or nothing at all.

use anyhow::{Context, Result, bail, ensure};
use weft_test_support::{
    Cases, Dev, Load, SOON, Target, command, eventually, isolated, run, signal, wait_until_gone,
};

/// How often each is done.
const ROUNDS: usize = 3;
/// Requests before and after each event.
const CALM: usize = 60;

const CLUSTERS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-south-1"];

#[test]
fn leaders_fall_under_load_and_no_request_fails() -> Result<()> {
    isolated("leaders_fall_under_load_and_no_request_fails", || {
        Dev::with(&["--gateways", "2"], |dev| {
            let targets = targets(dev)?;
            let mut cases = Cases::default();
            cases.run("no request fails twice when leaders are killed", || {
                for _ in 0..ROUNDS {
                    fall(dev, &targets, "KILL", Expected::OneRetry)?;
                }
                Ok(())
            });
            cases.run("no request fails when leaders are told to stop", || {
                for _ in 0..ROUNDS {
                    fall(dev, &targets, "TERM", Expected::NoRetry)?;
                }
                Ok(())
            });
            cases.verdict()
        })
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The client may have to ask once more.
    OneRetry,
    /// It gets its answer at the first try.
    NoRetry,
}

/// Requests that cross regions, in all directions, through sidecars and to virtual IPs.
fn targets(dev: &Dev) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for from in CLUSTERS {
        let sidecar = dev.workload(from, "shop/web")?.outbound;
        for to in CLUSTERS.into_iter().filter(|to| *to != from) {
            // Payments call nobody else, and are not in ap-south-1; checkout calls payments.
            let service = if to == "ap-south-1" {
                "checkout"
            } else {
                "payments"
            };
            let host = format!("{service}.shop.svc.{to}.cluster.weft.internal");
            let address = eventually("the name has an address", SOON, || {
                resolve(dev, from, &host)
            })?;
            targets.push(Target::at(&address, &host)?);
            targets.push(Target::through_sidecar(&sidecar, &host)?);
        }
    }
    for target in &targets {
        eventually(&target.name, SOON, || target.get())?;
    }
    Ok(targets)
}

fn resolve(dev: &Dev, cluster: &str, name: &str) -> Result<String> {
    let dns = dev.gateway(cluster, "gw-1")?.dns;
    let (server, port) = dns.rsplit_once(':').context("host:port")?;
    let server = format!("@{server}");
    let found = run(&mut command(["dig", &server, "-p", port, "+short", name]))?.ok()?;
    ensure!(!found.is_empty(), "{name} has no address");
    Ok(found)
}

fn fall(dev: &Dev, targets: &[Target], how: &str, expected: Expected) -> Result<()> {
    let load = Load::start(targets.to_vec());
    load.goes_on(CALM)?;
    let before = load.figures();
    ensure!(
        before.at_once == before.requests,
        "before anything: {before:?}"
    );
    let leader = leader(dev)?;
    let (cluster, name) = leader.split_once('/').context("cluster/gateway")?;
    let pid = dev.gateway(cluster, name)?.pid.context("the leader runs")?;
    signal(pid, how)?;
    wait_until_gone(&[pid])?;
    eventually("another gateway leads", SOON, || match self::leader(dev)? {
        same if same == leader => bail!("{same} still"),
        _ => Ok(()),
    })?;
    load.goes_on(CALM)?;
    dev.weft(["dev", "heal"])?.ok()?;
    load.goes_on(CALM)?;
    let seen = load.end()?;
    ensure!(seen.failed.is_empty(), "{how} of {leader}: {seen:#?}");
    ensure!(
        expected == Expected::OneRetry || seen.retried.is_empty(),
        "{how} of {leader}: {seen:#?}"
    );
    Ok(())
}

/// As any cluster that answers has it.
fn leader(dev: &Dev) -> Result<String> {
    let asked = |cluster| dev.weft(["--cluster", cluster, "raft", "leader"])?.ok();
    let mut answers = CLUSTERS.into_iter().map(asked);
    answers
        .find(Result::is_ok)
        .context("nobody knows a leader")?
}
