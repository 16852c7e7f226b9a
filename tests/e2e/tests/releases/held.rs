//! A release that is held while something happens, and one that goes a step back.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_test_support::{Dev, SOON, eventually, kill, wait_until_gone};

use crate::{CLIENTS, FEW, met};

/// While the release is held, a gateway and then a sidecar are killed: who met the canary still
/// does, and nobody else.
pub(super) fn restarted(dev: &Dev) -> Result<()> {
    let eu = dev.workload("eu-west-1", "shop/web")?;
    let cohort = met(&eu)?;
    let gateway = dev.gateway("eu-west-1", "gw-1")?.pid.context("it runs")?;
    kill(gateway)?;
    wait_until_gone(&[gateway])?;
    ensure!(met(&eu)? == cohort, "without its gateway");
    let processes = dev.processes()?;
    let mut sidecars = processes.iter();
    let sidecar = sidecars.find(|(name, _)| name.starts_with("eu-west-1/shop/web"));
    let sidecar = *sidecar.context("a sidecar")?.1;
    kill(sidecar)?;
    wait_until_gone(&[sidecar])?;
    dev.weft(["dev", "heal"])?.exits(0)?;
    // The first answers that there are; a canary that is not known yet is no excuse for more of it.
    let first = eventually("it answers again", SOON, || met(&eu))?;
    let more = first.iter().find(|client| !cohort.contains(client));
    ensure!(more.is_none(), "client {more:?} met stable before");
    eventually("the cohort is what it was", SOON, || {
        let now = met(&eu)?;
        ensure!(now == cohort, "{} and {}", now.len(), cohort.len());
        Ok(())
    })
}

/// From 50 % to the 5 % that it was at when it started, and on again.
pub(super) fn stepped_back(dev: &Dev) -> Result<()> {
    let eu = dev.workload("eu-west-1", "shop/web")?;
    let half = met(&eu)?;
    let history = dev.weft(["release", "history", "checkout-v2", "-o", "json"])?;
    let history: Value = serde_json::from_str(&history.ok()?)?;
    let index = |at: usize| Some(history.get(at)?["index"].as_u64()?.to_string());
    let (started, promoted) = (index(0), index(1));
    let started = started.context("it was started")?;
    let promoted = promoted.context("it was promoted")?;
    let back = |to: &str| dev.weft(["release", "rollback", "checkout-v2", "--to", to]);
    back(&promoted)?.exits(6)?.says("WEFT-5030")?;
    back("1")?.exits(6)?.says("WEFT-5030")?;
    // Format levels are raised once everybody is there.
    eventually("it goes back", SOON, || {
        back(&started)?
            .exits(0)?
            .says("callers in eu-west (eu-west-1): 50 % → 5 %")?
            .says("rolled back to stage 1, and paused, at index")
            .map(|_| ())
    })?;
    let few = eventually("few meet it", SOON, || {
        let few = met(&eu)?;
        ensure!(FEW.contains(&few.len()), "{} of {CLIENTS}", few.len());
        Ok(few)
    })?;
    ensure!(few.iter().all(|client| half.contains(client)), "new ones");
    dev.weft(["release", "promote", "checkout-v2"])?
        .exits(6)?
        .says("WEFT-5005")?;
    dev.weft(["release", "resume", "checkout-v2"])?.exits(0)?;
    dev.weft(["release", "promote", "checkout-v2"])?
        .exits(0)?
        .says("promoted to stage 2")?;
    eventually("who met it at 50 % does again", SOON, || {
        ensure!(met(&eu)? == half);
        Ok(())
    })
}
