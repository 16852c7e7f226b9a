//! Two clusters that cannot reach each other, and a third that reaches both.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_test_support::{Dev, Load, SOON, Target, eventually};

const HERE: &str = "ap-south-1";
const THERE: &str = "us-east-1";
const THIRD: &str = "eu-west-1";
/// Requests by the detour, and once it is left.
const CALM: usize = 60;

pub(super) fn carries(dev: &Dev) -> Result<()> {
    let target = target(dev)?;
    eventually(&target.name, SOON, || target.get())?;
    dev.weft(["dev", "break", "link", HERE, THERE])?.exits(0)?;

    // Without consent there is no way.
    eventually("no path is left", SOON, || {
        ensure!(path(dev)? == "down", "{}", path(dev)?);
        Ok(())
    })?;
    ensure!(target.get().is_err(), "nobody consents");

    consent(dev, "allow")?;
    eventually("requests go through the third", SOON, || target.get())?;
    let through = format!("through {THIRD}");
    eventually("all that looks says so", SOON, || {
        ensure!(path(dev)? == through, "{}", path(dev)?);
        let tunnels = dev.weft(["--cluster", HERE, "top", "tunnels"])?;
        tunnels.exits(0)?.says(&through)?;
        let ping = dev.weft(["--cluster", HERE, "ping", "shop/payments"])?;
        ping.exits(0)?;
        Ok(())
    })?;
    let load = Load::start(vec![target.clone()]);
    load.goes_on(CALM)?;

    dev.weft(["dev", "heal"])?.ok()?;
    eventually("the direct path is taken again", SOON, || {
        ensure!(path(dev)? == "up", "{}", path(dev)?);
        Ok(())
    })?;
    load.goes_on(CALM)?;
    let seen = load.end()?;
    ensure!(seen.failed.is_empty(), "{seen:#?}");

    // Who takes back its consent cuts what it carries.
    dev.weft(["dev", "break", "link", HERE, THERE])?.exits(0)?;
    eventually("through the third again", SOON, || target.get())?;
    consent(dev, "deny")?;
    eventually("no longer", SOON, || {
        ensure!(path(dev)? == "down", "{}", path(dev)?);
        Ok(())
    })
}

/// A service of the cluster that cannot be reached, and of no other.
fn target(dev: &Dev) -> Result<Target> {
    let sidecar = dev.workload(HERE, "shop/web")?.outbound;
    let host = format!("payments.shop.svc.{THERE}.cluster.weft.internal");
    Target::through_sidecar(&sidecar, &host)
}

/// How the other cluster is reached, as status has it.
fn path(dev: &Dev) -> Result<String> {
    let status = dev.weft(["--cluster", HERE, "status", "-o", "json"])?;
    let status: Value = serde_json::from_str(&status.stdout)?;
    let clusters = status["clusters"].as_array().context("clusters")?;
    let there = clusters.iter().find(|cluster| cluster["name"] == THERE);
    let path = there.context(THERE)?["path"].as_str();
    path.map(str::to_owned).context("a path")
}

/// Says whether the third cluster relays.
fn consent(dev: &Dev, relay: &str) -> Result<()> {
    dev.change_cluster(THIRD, |spec| spec["relay"] = relay.into())
}
