//! An abort closes what is open to the canary and is no request: redis-cli's connections,
//! WebSockets, CONNECT tunnels. What is open to stable stays.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use weft_e2e::python;
use weft_test_support::{
    Background, Cases, Dev, SOON, command, eventually, isolated, run, use_resolver,
};

/// Two versions of two services in eu-west-1, without sidecars.
const SERVERS: &str = "
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: chat }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: chat-v1 }
spec: { service: chat, address: 127.2.9.1, version: v1, ports: { http: 8765 } }
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: chat-v2 }
spec: { service: chat, address: 127.2.9.2, version: v2, ports: { http: 8765 } }
---
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: news }
spec:
  ports: [{ name: redis, port: 6379, appProtocol: tcp }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: news-v1 }
spec: { service: news, address: 127.2.9.1, version: v1, ports: { redis: 6379 } }
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: news-v2 }
spec: { service: news, address: 127.2.9.2, version: v2, ports: { redis: 6379 } }
";

const CHAT: &str = "chat.shop.svc.clusterset.local";
const NEWS: &str = "news.shop.svc.clusterset.local";
const V1: &str = "127.2.9.1";
const V2: &str = "127.2.9.2";

/// From the entry to the last connection's end.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
/// How often it may take longer: a machine that is busy with something else is no fault of ours.
const ROUNDS: usize = 4;
/// Clients of each version, at least.
const EACH: u64 = 2;
/// Clients that may be needed for that: all of one version by chance is one in 2^60.
const CLIENTS_MAX: usize = 60;

#[test]
fn an_abort_closes_what_is_open_to_the_canary() -> Result<()> {
    isolated("an_abort_closes_what_is_open_to_the_canary", || {
        Dev::with(&["--wan", "off", "--dns-port", "53"], |dev| {
            // Names as eu-west-1 sees them; all callers are there.
            use_resolver("127.2.0.1")?;
            let _servers = [
                chat(V1, "v1", dev.scratch())?,
                chat(V2, "v2", dev.scratch())?,
                redis(V1, dev.scratch())?,
                redis(V2, dev.scratch())?,
            ];
            dev.apply("eu-west-1", SERVERS)?;
            let mut cases = Cases::default();
            cases.run("redis-cli's connections at a virtual IP", || {
                within_a_second("redis-cli", || redis_cli(dev))
            });
            cases.run("websockets' connections", || {
                within_a_second("websockets", || held(dev, "chat", &["websocket", CHAT]))
            });
            cases.run("http.client's tunnels through a sidecar", || {
                let web = dev.workload("eu-west-1", "shop/web")?;
                let arguments = ["tunnel", &web.outbound, "checkout.shop"];
                within_a_second("http.client", || held(dev, "checkout", &arguments))
            });
            cases.verdict()
        })
    })
}

fn chat(address: &str, version: &str, scratch: &Path) -> Result<Background> {
    let log = scratch.join(format!("chat-{version}.log"));
    let mut server = python("aborts/chat_server.py");
    server.arg(format!("{address}:8765")).arg(version);
    Background::start(&mut server, &log)
}

fn redis(address: &str, scratch: &Path) -> Result<Background> {
    let folder = scratch.join(format!("redis-{address}"));
    std::fs::create_dir(&folder)?;
    weft_test_support::redis(address, &folder)
}

/// Half of the connections from eu-west go to v2.
fn start(dev: &Dev, service: &str) -> Result<()> {
    // Of an earlier round, if there was one.
    let _none = dev.weft(["-n", "shop", "delete", "release", &format!("{service}-v2")])?;
    let release = format!(
        "\
apiVersion: weft.dev/v1
kind: Release
metadata: {{ namespace: shop, name: {service}-v2 }}
spec:
  service: {service}
  stable: v1
  canary: v2
  waves: [{{ name: eu, regions: [eu-west], steps: [{{ setWeight: 50 }}] }}]
"
    );
    let file = dev.scratch().join(format!("{service}-v2.yaml"));
    std::fs::write(&file, release)?;
    let file = file.display().to_string();
    // The services have to be known, and format levels raised.
    eventually("the release starts", SOON, || {
        dev.weft(["release", "start", "-f", &file])?.ok()
    })?;
    Ok(())
}

/// Aborts it; when its entry was made, by the leader's clock, which is this machine's.
fn abort(dev: &Dev, service: &str) -> Result<Duration> {
    let release = format!("{service}-v2");
    dev.weft(["release", "abort", &release])?.exits(0)?;
    let history = dev.weft(["release", "history", &release, "-o", "json"])?;
    let history: Value = serde_json::from_str(&history.ok()?)?;
    let last = history.as_array().and_then(|changes| changes.last());
    let last = last.context("a change")?;
    ensure!(last["what"] == "aborted", "{last}");
    let millis = last["timeMs"].as_u64().context("a time")?;
    Ok(Duration::from_millis(millis))
}

/// What each round measures, until one is as fast as it should be; all else holds in each.
#[expect(clippy::print_stdout, reason = "the measure is what the test is for")]
fn within_a_second(what: &str, mut round: impl FnMut() -> Result<Duration>) -> Result<()> {
    let mut measured = Vec::new();
    for _ in 0..ROUNDS {
        let took = round()?;
        println!("{what}: the last one closed {took:?} after the entry");
        if took < CLOSED_WITHIN {
            return Ok(());
        }
        measured.push(took);
    }
    bail!("the last one closed after {measured:?}")
}

/// Subscribers at one server.
fn subscribers(address: &str) -> Result<u64> {
    let mut asked = command(["redis-cli", "-h", address, "pubsub", "numsub", "news"]);
    let said = run(&mut asked)?.ok()?;
    let count = said.lines().last().unwrap_or_default();
    count.parse().with_context(|| said.clone())
}

/// A client that waits for news, until its connection ends; then it says when.
fn subscriber(dev: &Dev, number: usize) -> Result<Background> {
    // A TERM for the shell is one for redis-cli too.
    let waits =
        format!("redis-cli -h {NEWS} subscribe news & trap \"kill $!\" TERM; wait $!; date +%s%3N");
    let log = dev.scratch().join(format!("subscriber-{number}.log"));
    Background::start(&mut command(["sh", "-c", &waits]), &log)
}

/// Starts clients until both versions have some.
fn subscribe(dev: &Dev) -> Result<Vec<Background>> {
    let mut clients = Vec::new();
    while clients.len() < CLIENTS_MAX {
        let before = clients.len() as u64;
        clients.push(subscriber(dev, clients.len())?);
        let (v1, v2) = eventually("the client waits for news", SOON, || {
            let (v1, v2) = (subscribers(V1)?, subscribers(V2)?);
            ensure!(v1 + v2 > before, "{v1} and {v2} of {before}");
            Ok((v1, v2))
        })?;
        if v1.min(v2) >= EACH {
            return Ok(clients);
        }
    }
    bail!("{CLIENTS_MAX} clients met one version alone")
}

fn redis_cli(dev: &Dev) -> Result<Duration> {
    start(dev, "news")?;
    eventually("the name leads to both", SOON, || {
        let mut ping = command(["redis-cli", "-h", NEWS, "ping"]);
        run(&mut ping)?.says("PONG").map(|_| ())
    })?;
    let mut clients = subscribe(dev)?;
    let (stable, canary) = (subscribers(V1)?, subscribers(V2)?);
    let entry = abort(dev, "news")?;
    let ended = eventually("the canary's clients are told", SOON, || {
        let said = clients.iter().map(Background::said);
        let ended: Vec<String> = said.filter(|said| said.contains("Error: ")).collect();
        let all = ended.len() as u64 == canary && ended.iter().all(|said| ended_at(said).is_ok());
        ensure!(all, "{} of {canary}: {ended:?}", ended.len());
        Ok(ended)
    })?;
    let last = ended.iter().map(|said| ended_at(said));
    let last = last.collect::<Result<Vec<_>>>()?.into_iter().max();
    let took = last.context("one ended")?.saturating_sub(entry);
    ensure!(subscribers(V2)? == 0, "the canary's server still has some");
    ensure!(subscribers(V1)? == stable, "stable's are as they were");
    let mut publish = command(["redis-cli", "-h", V1, "publish", "news", "still here"]);
    run(&mut publish)?.ok()?;
    eventually("stable's clients hear", SOON, || {
        let hear = clients.iter().filter(|it| it.said().contains("still here"));
        let hear = hear.count() as u64;
        ensure!(hear == stable, "{hear} of {stable}");
        Ok(())
    })?;
    clients
        .iter_mut()
        .try_for_each(|client| client.stop("TERM").map(|_| ()))?;
    eventually("they are gone", SOON, || {
        ensure!(subscribers(V1)? == 0);
        Ok(took)
    })
}

fn ended_at(said: &str) -> Result<Duration> {
    let last = said.lines().last().unwrap_or_default();
    let millis = last.parse().with_context(|| said.to_owned())?;
    Ok(Duration::from_millis(millis))
}

/// What `hold.py` has said: what is open, when each was closed, and what still works.
#[derive(Debug, Default)]
struct Held {
    open: BTreeMap<String, u64>,
    closed: BTreeMap<String, Vec<Duration>>,
    works: BTreeMap<String, u64>,
}

impl Held {
    fn read(said: &str) -> Result<Self> {
        let mut held = Self::default();
        for line in said.lines() {
            let line: Value = serde_json::from_str(line).with_context(|| said.to_owned())?;
            let version = |field: &str| line[field].as_str().map(ToOwned::to_owned);
            for version in line["open"].as_array().into_iter().flatten() {
                let version = version.as_str().context("a version")?;
                *held.open.entry(version.to_owned()).or_default() += 1;
            }
            if let Some(version) = version("closed") {
                let at = Duration::from_secs_f64(line["at"].as_f64().context("a time")?);
                held.closed.entry(version).or_default().push(at);
            }
            if let Some(version) = version("works") {
                *held.works.entry(version).or_default() += 1;
            }
        }
        Ok(held)
    }
}

fn held(dev: &Dev, service: &str, arguments: &[&str]) -> Result<Duration> {
    start(dev, service)?;
    let log = dev.scratch().join(format!("{service}-held.log"));
    let mut client = eventually("connections are open to both", SOON, || {
        let mut client = Background::start(python("aborts/hold.py").args(arguments), &log)?;
        eventually("it holds them", SOON, || match client.still_runs() {
            // Ended: to look on would change nothing.
            Err(ended) => Ok(Err(ended)),
            Ok(()) if client.said().contains("open") => Ok(Ok(())),
            Ok(()) => bail!("{}", client.said()),
        })??;
        let open = Held::read(&client.said())?.open;
        let of = |version: &str| open.get(version).copied().unwrap_or_default();
        ensure!(of("v1").min(of("v2")) >= EACH, "{open:?}");
        Ok(client)
    })?;
    let open = Held::read(&client.said())?.open;
    let entry = abort(dev, service)?;
    let closed = eventually("the canary's are closed", SOON, || {
        let closed = Held::read(&client.said())?.closed.remove("v2");
        let closed = closed.unwrap_or_default();
        ensure!(closed.len() as u64 == open["v2"], "{closed:?} of {open:?}");
        Ok(closed)
    })?;
    let last = closed.into_iter().max().context("one was closed")?;
    client.stop("TERM")?;
    let after = Held::read(&client.said())?;
    ensure!(!after.closed.contains_key("v1"), "{after:?}");
    ensure!(after.works.get("v1") == open.get("v1"), "{after:?}");
    ensure!(!after.works.contains_key("v2"), "{after:?}");
    Ok(last.saturating_sub(entry))
}
