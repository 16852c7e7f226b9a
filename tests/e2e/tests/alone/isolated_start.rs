//! A gateway that starts with nobody reachable.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use weft_test_support::{
    Background, Dev, Gateway, Load, SOON, Target, command, eventually, kill, run, wait_until_gone,
};

use super::{CELL, HOME, NAMES, dig, serial};

/// From its start until it serves.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A restarted gateway believes no absence before this; so long at least requests go on.
const RECOVERY: Duration = Duration::from_secs(15);

pub(super) fn starts_alone(dev: &Dev) -> Result<()> {
    let home = dev.gateway(HOME, "gw-1")?;
    dev.apply("eu-west-1", CELL)?;
    let before = eventually("names answer", SOON, || answers(&home))?;
    let folder = dev.folder().join(HOME).join("gw-1");
    kept(&folder.join("state/catalog.pb"))?;
    let numbered = serial(&home)?;
    let index = applied(dev)?;
    kill_all(dev)?;

    let mut gateway = start(dev, &folder)?;
    eventually("it is ready", SOON, || {
        gateway.still_runs()?;
        page(&home, "readyz").map(drop)
    })?;
    ensure!(
        answers(&home)? == before,
        "{:?}\n{before:?}",
        answers(&home)?
    );
    ensure!(
        serial(&home)? > numbered,
        "{} after {numbered}",
        serial(&home)?
    );
    let took = took(&gateway.said())?;
    ensure!(took < AT_ONCE, "it served after {took:?}");
    says_so(dev, &home, index)?;

    let load = Load::start(targets(dev, &home)?);
    let since = SystemTime::now();
    eventually("it recovers no longer", SOON, || {
        ensure!(answers(&home)? == before);
        match since.elapsed()? > RECOVERY + Duration::from_secs(2) {
            true => Ok(()),
            false => bail!("not yet"),
        }
    })?;
    ensure!(answers(&home)? == before);
    let seen = load.end()?;
    ensure!(
        seen.failed.is_empty() && seen.retried.is_empty(),
        "{seen:#?}"
    );
    ensure!(seen.requests > 100, "{seen:?}");
    Ok(())
}

/// Every name's answer.
fn answers(gateway: &Gateway) -> Result<Vec<Vec<String>>> {
    NAMES.iter().map(|name| dig(gateway, name, "A")).collect()
}

/// Waits until all that is known now is on the disk.
fn kept(file: &Path) -> Result<()> {
    let now = SystemTime::now();
    eventually("the view is on disk", SOON, || {
        ensure!(fs::metadata(file)?.modified()? > now);
        Ok(())
    })
}

fn kill_all(dev: &Dev) -> Result<()> {
    let mut pids = Vec::new();
    for (cluster, gateway) in [
        (HOME, "gw-1"),
        (HOME, "gw-2"),
        ("eu-west-1", "gw-1"),
        ("ap-south-1", "gw-1"),
    ] {
        pids.extend(dev.gateway(cluster, gateway)?.pid);
    }
    ensure!(pids.len() == 4, "{pids:?}");
    pids.iter().try_for_each(|pid| kill(*pid))?;
    wait_until_gone(&pids)
}

pub(super) fn start(dev: &Dev, folder: &Path) -> Result<Background> {
    let config = folder.join("gateway.yaml").display().to_string();
    let mut gateway = dev.command(["gateway", "run", "--config", &config]);
    Background::start(&mut gateway, &dev.scratch().join("alone.log"))
}

/// How long it took to serve, as it says itself.
fn took(said: &str) -> Result<Duration> {
    let serves = said
        .lines()
        .find(|line| line.contains("the gateway serves"));
    let serves: Value = serde_json::from_str(serves.with_context(|| said.to_owned())?)?;
    let millis = serves["after_ms"].as_str().context("after_ms")?;
    Ok(Duration::from_millis(millis.parse()?))
}

pub(super) fn page(gateway: &Gateway, page: &str) -> Result<String> {
    let url = format!("http://{}/{page}", gateway.console);
    run(&mut command([
        "curl",
        "--silent",
        "--fail-with-body",
        "--max-time",
        "5",
        &url,
    ]))?
    .ok()
}

fn applied(dev: &Dev) -> Result<u64> {
    let status = dev.weft(["--cluster", HOME, "status", "-o", "json"])?;
    let status: Value = serde_json::from_str(&status.stdout)?;
    status["freshness"]["appliedIndex"]
        .as_u64()
        .context("an index")
}

/// Isolated, the index, the age of what it knows, and that it takes no writes.
fn says_so(dev: &Dev, home: &Gateway, index: u64) -> Result<()> {
    let ready = page(home, "readyz")?;
    ensure!(
        ready.contains("isolated: us-east-1/gw-1 has reached no other"),
        "{ready}"
    );
    ensure!(
        ready.contains("endpoints of eu-west-1: as they were"),
        "{ready}"
    );
    let status = dev
        .weft(["--cluster", HOME, "status", "-o", "json"])?
        .exits(1)?;
    let view: Value = serde_json::from_str(&status.stdout)?;
    ensure!(view["isolated"]["forMs"].is_u64(), "{view}");
    let fresh = &view["freshness"];
    ensure!(
        fresh["appliedIndex"].as_u64() >= Some(index),
        "{index}: {view}"
    );
    let eu = view["clusters"].as_array().context("clusters")?;
    let eu = eu.iter().find(|cluster| cluster["name"] == "eu-west-1");
    let eu = eu.context("eu-west-1")?;
    ensure!(
        eu["endpointsAgeMs"].is_u64() && eu["lease"] == "unknown",
        "{eu}"
    );
    let shown = dev.weft(["--cluster", HOME, "status"])?.exits(1)?;
    shown.says("WEFT-3006")?.says("isolated")?;
    let file = dev.scratch().join("unwritten.yaml");
    fs::write(&file, CELL.replace("cell", "late"))?;
    let file = file.display().to_string();
    dev.weft(["--cluster", HOME, "apply", "-f", &file])?
        .exits(7)?
        .says("WEFT-6001")?;
    Ok(())
}

/// In the own cluster, through a sidecar and by the gateway at the service's address.
fn targets(dev: &Dev, home: &Gateway) -> Result<Vec<Target>> {
    let host = "payments.shop.svc.clusterset.local";
    let sidecar = dev.workload(HOME, "shop/web")?.outbound;
    let address = dig(home, host, "A")?.remove(0);
    let targets = vec![
        Target::through_sidecar(&sidecar, host)?,
        Target::at(&address, host)?,
    ];
    for target in &targets {
        eventually(&target.name, SOON, || target.get())?;
    }
    Ok(targets)
}
