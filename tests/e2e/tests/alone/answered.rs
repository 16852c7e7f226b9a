//! A gateway that is killed in the moment in which it first answers by another set of endpoints,
//! and starts again with nobody reachable: it answers by no older one.

use std::collections::BTreeSet;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use weft_test_support::{
    Background, Dev, Gateway, RecordType, SOON, ask, eventually, kill, signal, wait_until_gone,
};

use super::CELL;
use super::isolated_start::{page, start};
use super::quorumless::{start_sidecar, stop_sidecar, unexport_web};

/// Where it is killed: it is its cluster's only gateway.
const CLUSTER: &str = "ap-south-1";
/// Where the endpoints are, of which it hears by the catalog alone.
const SERVED: &str = "eu-west-1";
const HEADLESS: &str = "cell.shop.svc.clusterset.local";
/// It exists by registration alone, in the cluster of the gateway that is killed.
const LOCAL: &str = "web.shop.svc.ap-south-1.cluster.weft.internal";
const ROUNDS: usize = 3;
/// From one question to the next: a change is on the disk of itself some seconds later.
const INTERVAL: Duration = Duration::from_millis(2);
/// For so long it is asked once it answers again.
const AFTER: Duration = Duration::from_secs(1);

type Set = BTreeSet<Vec<u8>>;

pub(super) fn stays_answered(dev: &Dev) -> Result<()> {
    dev.apply(SERVED, CELL)?;
    let mut gateway = Victim::of(dev)?;
    let mut known = gateway.until(HEADLESS, |set| set.len() == 1)?;
    for number in 0..ROUNDS {
        let more = || eventually("one more", SOON, || dev.apply(SERVED, &entry(number)));
        let now = gateway.dies_at(HEADLESS, &known, more, &[])?;
        ensure!(now.is_superset(&known), "{now:?} after {known:?}");
        known = now;
    }
    for number in 0..ROUNDS {
        let name = format!("cell-more-{number}");
        let fewer = || delete(dev, SERVED, "workloadentry", &name);
        let now = gateway.dies_at(HEADLESS, &known, fewer, &[])?;
        ensure!(now.is_subset(&known), "{now:?} after {known:?}");
        known = now;
    }
    ensure!(known.len() == 1, "{known:?}");
    a_local_name(dev, &mut gateway)
}

/// Its server ends, and comes back.
fn a_local_name(dev: &Dev, gateway: &mut Victim<'_>) -> Result<()> {
    unexport_web(dev)?;
    gateway.until("web.shop.svc.clusterset.local", Set::is_empty)?;
    let known = gateway.until(LOCAL, |set| !set.is_empty())?;
    let ends = || stop_sidecar(dev, CLUSTER, "shop/web v1");
    let none = gateway.dies_at(LOCAL, &known, ends, &[])?;
    ensure!(none.is_empty(), "{none:?}");
    // It would tell the gateway again.
    let mut sidecar = start_sidecar(dev, CLUSTER, "web-v1")?;
    let again = gateway.dies_at(LOCAL, &none, || Ok(()), &[sidecar.pid()]);
    let again = again.with_context(|| sidecar.said())?;
    ensure!(again == known, "{again:?}, not {known:?}");
    sidecar.still_runs()
}

fn entry(number: usize) -> String {
    format!(
        "\
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: {{ namespace: shop, name: cell-more-{number} }}
spec: {{ service: cell, address: 127.2.9.{}, ports: {{ http: 8080 }} }}
",
        number + 2
    )
}

fn delete(dev: &Dev, cluster: &str, kind: &str, name: &str) -> Result<()> {
    let words = ["--cluster", cluster, "delete", kind, "-n", "shop", name];
    eventually("it is deleted", SOON, || dev.weft(words)?.ok().map(drop))
}

/// The gateway that is killed over and over.
struct Victim<'a> {
    dev: &'a Dev,
    gateway: Gateway,
    pid: u32,
    run: Option<Background>,
}

impl<'a> Victim<'a> {
    fn of(dev: &'a Dev) -> Result<Self> {
        let gateway = dev.gateway(CLUSTER, "gw-1")?;
        Ok(Self {
            dev,
            pid: gateway.pid.context("it runs")?,
            gateway,
            run: None,
        })
    }

    fn until(&self, name: &str, is_so: impl Fn(&Set) -> bool) -> Result<Set> {
        eventually(name, SOON, || {
            let (_, set) = asked(&self.gateway, name)?;
            ensure!(is_so(&set), "{set:?}");
            Ok(set)
        })
    }

    /// It is killed at its first answer after `change`, and started again while all other
    /// gateways and `others` stand still. Returns what it answered, then and before.
    fn dies_at(
        &mut self,
        name: &str,
        known: &Set,
        change: impl FnOnce() -> Result<()>,
        others: &[u32],
    ) -> Result<Set> {
        let (gateway, pid) = (&self.gateway, self.pid);
        let answered = scope(|scope| {
            let asks = scope.spawn(|| {
                let set = first_other(gateway, name, known)?;
                kill(pid).map(|()| set)
            });
            change()?;
            asks.join().map_err(|_| anyhow!("who asks panicked"))?
        });
        let answered = answered.with_context(|| self.said())?;
        wait_until_gone(&[pid])?;
        let mut pids = self.others()?;
        pids.extend(others);
        let stopped = Stopped::all(&pids)?;
        self.starts()?;
        self.answers_by(name, &answered)?;
        drop(stopped);
        eventually("it is not alone any more", SOON, || {
            let ready = page(&self.gateway, "readyz")?;
            ensure!(!ready.contains("isolated"), "{ready}");
            Ok(())
        })?;
        Ok(answered)
    }

    fn others(&self) -> Result<Vec<u32>> {
        let others = [
            ("us-east-1", "gw-1"),
            ("us-east-1", "gw-2"),
            ("eu-west-1", "gw-1"),
        ];
        let pid = |(cluster, name)| self.dev.gateway(cluster, name)?.pid.context("it runs");
        others.into_iter().map(pid).collect()
    }

    fn starts(&mut self) -> Result<()> {
        let folder = self.dev.folder().join(CLUSTER).join("gw-1");
        // The one before has ended.
        self.run = None;
        let run = start(self.dev, &folder)?;
        self.pid = run.pid();
        self.run = Some(run);
        Ok(())
    }

    fn said(&self) -> String {
        self.run.as_ref().map(Background::said).unwrap_or_default()
    }

    /// From its first answer on.
    fn answers_by(&self, name: &str, expect: &Set) -> Result<()> {
        let first = eventually("it answers", SOON, || asked(&self.gateway, name));
        first.with_context(|| self.said())?;
        let (begun, mut count) = (Instant::now(), 0);
        while begun.elapsed() < AFTER {
            let (code, set) = asked(&self.gateway, name)?;
            let after = begun.elapsed();
            ensure!(
                set == *expect,
                "{after:?} after its start: {set:?}, code {code}; before it died: {expect:?}"
            );
            count += 1;
            sleep(INTERVAL);
        }
        ensure!(count > 20, "only {count} answers");
        Ok(())
    }
}

fn first_other(gateway: &Gateway, name: &str, known: &Set) -> Result<Set> {
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        let (_, set) = asked(gateway, name)?;
        if set != *known {
            return Ok(set);
        }
        sleep(INTERVAL);
    }
    bail!("{name} did not change: {known:?}")
}

fn asked(gateway: &Gateway, name: &str) -> Result<(u8, Set)> {
    let answer = ask(&gateway.dns, name, RecordType::A)?;
    Ok((answer.code, answer.data.into_iter().collect()))
}

/// Processes that stand still until this is dropped.
struct Stopped(Vec<u32>);

impl Stopped {
    fn all(pids: &[u32]) -> Result<Self> {
        let mut stopped = Self(Vec::new());
        for pid in pids {
            signal(*pid, "STOP")?;
            stopped.0.push(*pid);
        }
        Ok(stopped)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            // One that has ended needs nothing.
            let _ = signal(*pid, "CONT");
        }
    }
}
