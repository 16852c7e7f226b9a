//! Two gateways in each cluster: one goes silent, restarts or drains, and those who use it
//! go on by the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use weft_e2e::{GREETER, greeter, python_beside};
use weft_test_support::{
    Cases, Dev, Load, SOON, Target, command, eventually, isolated, kill, run, signal,
    wait_until_gone,
};

/// Requests before, during and after each event.
const CALM: usize = 150;
/// Where the gateways are that something happens to, and the second one's name there.
const CLUSTER: &str = "us-east-1";
const SECOND: &str = "gw-2";
/// Certificates live for a minute and are renewed before half of it is over.
const ROTATION_WAIT: Duration = Duration::from_secs(180);

#[test]
fn what_one_gateway_carried_the_other_carries_on() -> Result<()> {
    isolated("what_one_gateway_carried_the_other_carries_on", || {
        Dev::with(&["--gateways", "2", "--leaf-lifetime", "60s"], |dev| {
            let mut cases = Cases::default();
            cases.run("a gateway goes silent and no request fails", || {
                goes_silent(dev)
            });
            cases.run(
                "endpoints come and go while a gateway restarts, and both agree",
                || restarts(dev),
            );
            cases.run(
                "a stream of 10,000 messages outlives a rotation and a drain",
                || drains(dev),
            );
            cases.verdict()
        })
    })
}

/// Requests that cross regions by sidecars, in both directions.
fn load(dev: &Dev) -> Result<Load> {
    let mut targets = Vec::new();
    for (from, host) in [
        (CLUSTER, "payments.shop.svc.eu-west-1.cluster.weft.internal"),
        (
            CLUSTER,
            "checkout.shop.svc.ap-south-1.cluster.weft.internal",
        ),
        (
            "eu-west-1",
            "payments.shop.svc.us-east-1.cluster.weft.internal",
        ),
        (
            "ap-south-1",
            "payments.shop.svc.us-east-1.cluster.weft.internal",
        ),
    ] {
        let web = dev.workload(from, "shop/web")?;
        targets.push(Target::through_sidecar(&web.outbound, host)?);
    }
    for target in &targets {
        eventually(&target.name, SOON, || target.get())?;
    }
    let load = Load::start(targets);
    load.goes_on(CALM)?;
    Ok(load)
}

fn none_failed(load: Load) -> Result<()> {
    let seen = load.end()?;
    ensure!(
        seen.failed.is_empty() && seen.retried.is_empty(),
        "{seen:#?}"
    );
    Ok(())
}

/// The process is there, its sockets are open, and nothing comes from it: nobody is told.
fn goes_silent(dev: &Dev) -> Result<()> {
    let load = load(dev)?;
    let pid = dev.gateway(CLUSTER, SECOND)?.pid.context("it runs")?;
    signal(pid, "STOP")?;
    let silence = load.goes_on(CALM);
    signal(pid, "CONT")?;
    silence?;
    load.goes_on(CALM)?;
    none_failed(load)
}

fn restarts(dev: &Dev) -> Result<()> {
    let load = load(dev)?;
    dev.apply(CLUSTER, &entries(0..4))?;
    eventually("both gateways know them", SOON, || agree(dev, 4))?;
    let pid = dev.gateway(CLUSTER, SECOND)?.pid.context("it runs")?;
    signal(pid, "TERM")?;
    wait_until_gone(&[pid])?;
    dev.apply(CLUSTER, &entries(4..7))?;
    for number in 0..2 {
        let entry = format!("extra-{number}");
        let delete = [
            "--cluster",
            CLUSTER,
            "delete",
            "workloadentry",
            "-n",
            "shop",
            &entry,
        ];
        dev.weft(delete)?.ok()?;
    }
    load.goes_on(CALM)?;
    dev.weft(["dev", "heal"])?.ok()?;
    eventually("both gateways see the same", SOON, || agree(dev, 5))?;
    load.goes_on(CALM)?;
    none_failed(load)
}

/// Servers without a sidecar that nobody checks: each is an endpoint as soon as it is entered.
fn entries(numbers: std::ops::Range<usize>) -> String {
    let export = "\
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: extra }
spec:
  ports: [{ name: tcp, port: 7000, appProtocol: tcp }]
  exportTo: ['*']
";
    let entry = |number| {
        format!(
            "---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: {{ namespace: shop, name: extra-{number} }}
spec: {{ service: extra, address: 127.1.9.{}, ports: {{ tcp: 7000 }} }}
",
            number + 1
        )
    };
    let mut all = export.to_owned();
    all.extend(numbers.map(entry));
    all
}

/// Both gateways of the cluster see so many of the extra endpoints, and have the same hash.
fn agree(dev: &Dev, extra: usize) -> Result<()> {
    let mut hashes = Vec::new();
    for name in ["gw-1", SECOND] {
        let metrics = metrics(dev, name)?;
        let counted: f64 = metrics
            .lines()
            .filter(|line| line.starts_with("weft_endpoints{") && line.contains("shop/extra"))
            .filter(|line| line.contains("ready") && !line.contains("not-ready"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        ensure!(counted == extra as f64, "{name} sees {counted} of {extra}");
        let hash = metrics
            .lines()
            .find(|line| line.starts_with("weft_catalog_view_hash "));
        hashes.push(hash.context("no hash")?.to_owned());
    }
    ensure!(hashes[0] == hashes[1], "{hashes:?}");
    Ok(())
}

fn metrics(dev: &Dev, gateway: &str) -> Result<String> {
    let console = dev.gateway(CLUSTER, gateway)?.console;
    let url = format!("http://{console}/metrics");
    run(&mut command([
        "curl",
        "--silent",
        "--fail",
        "--max-time",
        "20",
        &url,
    ]))?
    .ok()
}

/// The stream begins while the second gateway is the only one, so it is that one's; then
/// certificates rotate at every hop, and then the gateway is told to stop.
fn drains(dev: &Dev) -> Result<()> {
    be_patient(dev)?;
    let _server = greeter(dev.scratch())?;
    dev.apply("eu-west-1", GREETER)?;
    eventually("the server is there", SOON, || {
        let asked = ["--cluster", CLUSTER, "service", "endpoints", "shop/greeter"];
        dev.weft(asked)?.says("ready")?.ok()
    })?;
    let first = dev.gateway(CLUSTER, "gw-1")?.pid.context("it runs")?;
    kill(first)?;
    wait_until_gone(&[first])?;
    let web = dev.workload(CLUSTER, "shop/web")?;
    let folder = dev.scratch().display().to_string();
    let client = python_beside(
        "http/grpc_long_stream.py",
        &[&web.outbound, &folder],
        dev.scratch(),
    )?;
    let says = |what: &str| {
        eventually(&format!("the client says {what}"), SOON, || {
            let said = client.said();
            ensure!(said.lines().any(|line| line == what), "{said}");
            Ok(())
        })
    };
    says("4000")?;
    dev.weft(["dev", "heal"])?.ok()?;
    let before = renewals(dev)?;
    eventually("every identity rotates", ROTATION_WAIT, || {
        let now = renewals(dev)?;
        let behind = before.iter().zip(&now).any(|(before, now)| now <= before);
        ensure!(!behind, "{before:?}, then {now:?}");
        Ok(())
    })?;
    fs::write(dev.scratch().join("rotated"), "")?;
    says("9000")?;
    let second = dev.gateway(CLUSTER, SECOND)?.pid.context("it runs")?;
    signal(second, "TERM")?;
    eventually("it drains", SOON, || {
        let log = log(dev, &format!("{CLUSTER}.{SECOND}"))?;
        ensure!(
            log.contains("\"draining\"") || log.contains(" draining"),
            "not yet"
        );
        Ok(())
    })?;
    ensure!(
        dev.gateway(CLUSTER, SECOND)?.pid == Some(second),
        "it waits for the stream"
    );
    fs::write(dev.scratch().join("drains"), "")?;
    says("10000")?;
    says("ok")?;
    wait_until_gone(&[second])?;
    dev.weft(["dev", "heal"])?.ok()?;
    Ok(())
}

/// Gives the second gateway more time to drain than the test needs.
fn be_patient(dev: &Dev) -> Result<()> {
    let file = gateway_file(&dev.folder())?;
    let text = fs::read_to_string(&file)?;
    let patient = text.replace("drain: 5s", "drain: 10m");
    ensure!(patient != text, "{text}");
    fs::write(&file, patient)?;
    let pid = dev.gateway(CLUSTER, SECOND)?.pid.context("it runs")?;
    kill(pid)?;
    wait_until_gone(&[pid])?;
    dev.weft(["dev", "heal"])?.ok()?;
    Ok(())
}

fn gateway_file(folder: &Path) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path)
                && text.contains("kind: GatewayConfig")
                && text.contains(&format!("name: {SECOND}\n"))
                && text.contains(&format!("cluster: {CLUSTER}\n"))
            {
                return Ok(path);
            }
        }
    }
    bail!("no configuration of {CLUSTER}/{SECOND}")
}

/// How often identities on the stream's way were renewed.
fn renewals(dev: &Dev) -> Result<Vec<usize>> {
    let ways = [
        ("us-east-1.gw-2", "identity renewed"),
        ("eu-west-1.gw-1", "identity renewed"),
        ("us-east-1.web-v1.sidecar", "the certificate is renewed"),
    ];
    let count = |(name, said): (&str, &str)| Ok(log(dev, name)?.matches(said).count());
    ways.into_iter().map(count).collect()
}

fn log(dev: &Dev, name: &str) -> Result<String> {
    let path = dev.folder().join(format!("logs/{name}.log"));
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}
