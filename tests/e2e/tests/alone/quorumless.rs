//! Without a majority: no request fails, local endpoints come and go, and writes are refused. What
//! was under way when the majority died may be asked once more.
//!
//! Seconds here; `cargo xtask quorumless` goes on for ten minutes (`WEFT_QUORUMLESS_MINUTES`).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weft_test_support::{
    Background, Dev, Load, RecordType, SOON, Target, ask, eventually, kill, signal, wait_until_gone,
};

use super::HOME;

const CLUSTERS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-south-1"];
/// Requests before the majority dies, and without it, at least.
const CALM: usize = 120;
/// Where a server of payments comes and goes, and where callers go meanwhile.
const SERVED: &str = "eu-west-1";

pub(super) fn goes_on(dev: &Dev) -> Result<()> {
    let length = length()?;
    unexport_web(dev)?;
    let load = Load::start(targets(dev)?);
    load.goes_on(CALM)?;
    kill_the_majority(dev)?;
    // What was under way on what was killed may be asked for once more.
    load.all_go_on()?;
    let lost = load.figures();
    let mut payments = None;
    let begun = Instant::now();
    loop {
        writes_are_refused(dev)?;
        payments_come_and_go(dev, &mut payments)?;
        load.goes_on(CALM)?;
        if begun.elapsed() > length {
            break;
        }
    }
    let seen = load.end()?;
    ensure!(
        seen.failed.is_empty() && seen.retried.len() == lost.retried.len(),
        "{seen:#?}"
    );
    print(&format!(
        "{:.0?} without a majority: {} requests, {} asked twice when it died, none later\n{:#?}",
        begun.elapsed(),
        seen.requests,
        lost.retried.len(),
        seen.retried
    ));
    a_local_name_comes_and_goes(dev)?;
    writes_are_refused(dev)
}

#[expect(clippy::print_stdout, reason = "shown by the long form")]
fn print(text: &str) {
    println!("{text}");
}

fn length() -> Result<Duration> {
    match std::env::var("WEFT_QUORUMLESS_MINUTES") {
        Ok(minutes) => Ok(Duration::from_secs(60 * minutes.parse::<u64>()?)),
        Err(_) => Ok(Duration::ZERO),
    }
}

/// From every cluster: to any that serves, and to each other one.
fn targets(dev: &Dev) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for from in CLUSTERS {
        let sidecar = dev.workload(from, "shop/web")?.outbound;
        let mut hosts = vec!["payments.shop.svc.clusterset.local".to_owned()];
        // The one in SERVED comes and goes, so nobody asks for it by its cluster.
        for (to, service) in [(HOME, "payments"), ("ap-south-1", "checkout")] {
            if to != from {
                hosts.push(format!("{service}.shop.svc.{to}.cluster.weft.internal"));
            }
        }
        for host in hosts {
            targets.push(Target::through_sidecar(&sidecar, &host)?);
        }
    }
    for target in &targets {
        eventually(&target.name, SOON, || target.get())?;
    }
    Ok(targets)
}

/// The first gateway of each cluster: three of the five voters. Each cluster keeps one gateway.
fn kill_the_majority(dev: &Dev) -> Result<()> {
    let members = dev
        .weft(["--cluster", HOME, "raft", "members", "-o", "json"])?
        .json()?;
    let members = members["members"].as_array().context("members")?.clone();
    let votes = |first: bool| {
        let of = members
            .iter()
            .filter(|member| (member["gateway"] == "gw-1") == first);
        of.filter(|member| member["role"] != "learner").count()
    };
    ensure!(votes(true) > votes(false), "they would go on: {members:?}");
    let mut pids = Vec::new();
    for cluster in CLUSTERS {
        pids.extend(dev.gateway(cluster, "gw-1")?.pid);
    }
    ensure!(pids.len() == 3, "{pids:?}");
    pids.iter().try_for_each(|pid| kill(*pid))?;
    wait_until_gone(&pids)
}

fn writes_are_refused(dev: &Dev) -> Result<()> {
    let export = "\
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: unwritten }
spec: { ports: [{ name: http, port: 80, appProtocol: http }] }
";
    let file = dev.scratch().join("unwritten.yaml");
    std::fs::write(&file, export)?;
    let file = file.display().to_string();
    eventually("a write is refused for want of a leader", SOON, || {
        let refused = dev.weft(["--cluster", HOME, "apply", "-f", &file])?;
        refused
            .exits(7)?
            .says("WEFT-6001")?
            .says("Nothing was written")?;
        Ok(())
    })
}

/// Callers in the cluster go to the other region while their own server is gone, and come back.
fn payments_come_and_go(dev: &Dev, running: &mut Option<Background>) -> Result<()> {
    match running.take() {
        Some(mut sidecar) => drop(sidecar.stop("TERM")?),
        None => stop_sidecar(dev, SERVED, "shop/payments v1")?,
    }
    answered_by(dev, "us-east")?;
    *running = Some(start_sidecar(dev, SERVED, "payments-v1")?);
    answered_by(dev, "eu-west")
}

fn answered_by(dev: &Dev, region: &str) -> Result<()> {
    let web = dev.workload(SERVED, "shop/web")?;
    eventually(&format!("{region} answers"), SOON, || {
        let body = dev.curl(&web, "http://payments.shop/")?;
        ensure!(body.contains(&format!(r#""region":"{region}""#)), "{body}");
        Ok(())
    })
}

/// From then on it exists by registration alone.
pub(super) fn unexport_web(dev: &Dev) -> Result<()> {
    for cluster in CLUSTERS {
        let delete = ["delete", "serviceexport", "-n", "shop", "web"];
        dev.weft(["--cluster", cluster].into_iter().chain(delete))?
            .ok()?;
    }
    Ok(())
}

/// A service that exists by registration alone: its name is there while its server is.
fn a_local_name_comes_and_goes(dev: &Dev) -> Result<()> {
    let name = "web.shop.svc.ap-south-1.cluster.weft.internal";
    let server = dev.gateway("ap-south-1", "gw-2")?.dns;
    let is_there = |expected: bool| {
        eventually(&format!("{name}: {expected}"), SOON, || {
            let answer = ask(&server, name, RecordType::A)?;
            ensure!(answer.data.is_empty() != expected, "{answer:?}");
            Ok(())
        })
    };
    is_there(true)?;
    stop_sidecar(dev, "ap-south-1", "shop/web v1")?;
    is_there(false)?;
    let _sidecar = start_sidecar(dev, "ap-south-1", "web-v1")?;
    is_there(true)
}

/// It tells its gateways that its endpoints end.
pub(super) fn stop_sidecar(dev: &Dev, cluster: &str, workload: &str) -> Result<()> {
    let processes = dev.processes()?;
    let pid = processes.get(&format!("{cluster}/{workload}"));
    let pid = *pid.with_context(|| format!("{workload}: {processes:?}"))?;
    signal(pid, "TERM")?;
    wait_until_gone(&[pid])
}

/// With the identity and the state of the one before.
pub(super) fn start_sidecar(dev: &Dev, cluster: &str, workload: &str) -> Result<Background> {
    let config = dev
        .folder()
        .join(cluster)
        .join(workload)
        .join("sidecar.yaml");
    let config = config.display().to_string();
    let mut sidecar = dev.command(["sidecar", "run", "--config", &config]);
    Background::start(&mut sidecar, &dev.scratch().join(format!("{workload}.log")))
}
