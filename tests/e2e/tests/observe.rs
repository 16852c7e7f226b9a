//! What an administrator sees of a running federation.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_test_support::{Cases, Dev, SOON, Workload, command, eventually, isolated, run};

/// A rule whose backend does not exist: what it matches is answered 500 by the caller's sidecar.
const BROKEN: &str = "\
apiVersion: weft.dev/v1
kind: Route
metadata: { namespace: shop, name: checkout }
spec:
  parentRefs: [{ name: checkout }]
  rules:
    - matches: [{ path: { type: Exact, value: /broken } }]
      backendRefs: [{ name: nothing, port: 80 }]
    - backendRefs: [{ name: checkout }]
";

/// A server without a sidecar, on a port where nothing listens.
const DEAD: &str = "\
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: dead }
spec:
  ports: [{ name: tcp, port: 9, appProtocol: tcp }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: dead-1 }
spec:
  service: dead
  address: 127.1.9.9
  ports: { tcp: 9 }
";

#[test]
fn an_administrator_sees_what_goes_on() -> Result<()> {
    isolated("an_administrator_sees_what_goes_on", || {
        Dev::with(&[], |dev| {
            let web = dev.workload("us-east-1", "shop/web")?;
            let mut cases = Cases::default();
            cases.run("top shows every region's traffic", || all_regions(dev));
            cases.run("top shows where the planted fault sends callers", || {
                planted_fault(dev)
            });
            cases.run("top shows failures as the callers saw them", || {
                failures(dev, &web)
            });
            cases.run("edges name who proved to be whom", || edges(dev));
            cases.run("edges say what is in the clear, and why", || {
                in_the_clear(dev)
            });
            cases.run("ping names each hop of a connection across regions", || {
                ping_across(dev)
            });
            cases.run("ping within a cluster needs no tunnel", || ping_here(dev));
            cases.run("a hop that fails is named, with its code", || {
                ping_fails(dev)
            });
            cases.run("netcheck shows every other gateway's path", || {
                netcheck(dev)
            });
            cases.run("top tunnels shows each pair from both ends", || {
                tunnels(dev)
            });
            cases.run(
                "tap shows requests from every region, and no secret",
                || tap(dev),
            );
            cases.run("what a tap wrote is read back and filtered", || {
                tap_read(dev)
            });
            cases.run("a watch for programs is a document a line", || watched(dev));
            cases.run("a place that is not there is refused", || nowhere(dev));
            cases.verdict()
        })
    })
}

fn json(dev: &Dev, args: &[&str]) -> Result<Value> {
    let said = dev.weft(args.iter().copied().chain(["-o", "json"]))?.ok()?;
    serde_json::from_str(&said).with_context(|| said)
}

/// The row that has all of these fields.
fn row<'a>(document: &'a Value, fields: &[(&str, &str)]) -> Result<&'a Value> {
    let rows = document["items"].as_array().context("items")?;
    let fits = |row: &&Value| fields.iter().all(|(field, value)| row[field] == *value);
    rows.iter()
        .find(fits)
        .with_context(|| format!("no row with {fields:?} in {document:#}"))
}

fn all_regions(dev: &Dev) -> Result<()> {
    eventually("checkout is called in all three regions", SOON, || {
        let seen = json(dev, &["top"])?;
        ensure!(seen["apiVersion"] == "weft.dev/v1", "{seen}");
        ensure!(seen["silent"] == Value::Array(Vec::new()), "{seen}");
        for region in ["us-east", "eu-west", "ap-south"] {
            let row = row(&seen, &[("service", "shop/checkout"), ("region", region)])?;
            ensure!(row["rps"].as_f64() > Some(1.0), "{row}");
            ensure!(row["p50Ms"].as_f64() > Some(0.0), "{row}");
            ensure!(row["p50Ms"].as_f64() <= row["p99Ms"].as_f64(), "{row}");
        }
        Ok(())
    })
}

/// The catalog of ap-south-1 is not ready: its callers are served, by others.
fn planted_fault(dev: &Dev) -> Result<()> {
    eventually("no call to the catalog stays in ap-south", SOON, || {
        let seen = json(dev, &["top", "--from", "ap-south-1"])?;
        let catalog = row(&seen, &[("service", "shop/catalog")])?;
        ensure!(catalog["local"] == 0.0, "{catalog}");
        let checkout = row(&seen, &[("service", "shop/checkout")])?;
        ensure!(checkout["local"] == 1.0, "{checkout}");
        let regions = json(dev, &["top", "regions", "--from", "ap-south"])?;
        row(&regions, &[("from", "ap-south"), ("to", "ap-south")])?;
        Ok(())
    })
}

fn failures(dev: &Dev, web: &Workload) -> Result<()> {
    eventually("the route is applied", SOON, || {
        dev.apply("us-east-1", BROKEN)
    })?;
    let shown = eventually("checkout's success is below 100 %", SOON, || {
        for _ in 0..10 {
            let proxy = format!("http://{}", web.outbound);
            run(
                command(["curl", "--silent", "--max-time", "20", "--proxy", &proxy])
                    .arg("http://checkout.shop/broken"),
            )?
            .ok()?;
        }
        let seen = json(dev, &["top"])?;
        let fields = [("service", "shop/checkout"), ("region", "us-east")];
        let here = row(&seen, &fields)?;
        ensure!(here["success"].as_f64() < Some(0.99), "{here}");
        ensure!(here["unanswered"] == here["failures"], "{here}");
        let elsewhere = row(
            &seen,
            &[("service", "shop/checkout"), ("region", "eu-west")],
        )?;
        ensure!(elsewhere["success"] == 1.0, "{elsewhere}");
        dev.weft(["top", "--sort", "success"])?.ok()
    })?;
    let worst = shown.lines().nth(1).context("a row")?;
    ensure!(worst.starts_with("shop/checkout  us-east"), "{shown}");
    Ok(())
}

fn edges(dev: &Dev) -> Result<()> {
    eventually("an edge crosses regions", SOON, || {
        let seen = json(dev, &["edges", "--from", "ap-south"])?;
        let edge = row(
            &seen,
            &[("source", "checkout"), ("destination", "payments")],
        )?;
        let caller = "spiffe://ap-south-1.dev.weft.internal/ns/shop/sa/checkout";
        ensure!(edge["sourceIdentity"] == caller, "{edge}");
        let served = edge["destinationIdentity"].as_str().context("identity")?;
        ensure!(served.ends_with("/ns/shop/sa/payments"), "{edge}");
        ensure!(edge["secured"] == true, "{edge}");
        let path = edge["path"].as_str().context("path")?;
        ensure!(path.starts_with("ap-south-1 → "), "{edge}");
        ensure!(edge.get("no_tls_reason").is_none(), "{edge}");
        Ok(())
    })
}

/// A client without a sidecar is one of its gateway.
fn in_the_clear(dev: &Dev) -> Result<()> {
    let shown = eventually("the gateway is the caller", SOON, || {
        let dig = [
            "dig",
            "@127.1.0.1",
            "-p",
            "8653",
            "+short",
            "checkout.shop.svc.clusterset.local",
        ];
        let address = run(&mut command(dig))?.ok()?;
        let url = format!("http://{}/", address.trim());
        run(&mut command(["curl", "--silent", "--max-time", "20", &url]))?.ok()?;
        let seen = json(dev, &["edges", "--secured", "false"])?;
        let edge = row(&seen, &[("destination", "checkout")])?;
        let why = edge["no_tls_reason"].as_str().context("a reason")?;
        ensure!(why.contains("no sidecar"), "{edge}");
        dev.weft(["edges"])?.ok()
    })?;
    ensure!(shown.contains("gateway gw-"), "{shown}");
    Ok(())
}

/// The steps of a ping, by their names; each has taken its time.
fn steps(ping: &Value) -> Result<Vec<(String, u64)>> {
    let steps = ping["steps"].as_array().context("steps")?;
    let step = |step: &Value| {
        let took = step["us"].as_u64().with_context(|| format!("{ping:#}"))?;
        Ok((step["hop"].as_str().context("hop")?.to_owned(), took))
    };
    steps.iter().map(step).collect()
}

/// Distances are emulated: 140 ms there and back at least, whichever cluster answers.
fn ping_across(dev: &Dev) -> Result<()> {
    let ping = eventually("payments answer in another region", SOON, || {
        json(dev, &["ping", "shop/payments", "--from", "ap-south"])
    })?;
    ensure!(ping["from"] == "ap-south-1/gw-1", "{ping}");
    let steps = steps(&ping)?;
    let names: Vec<&str> = steps.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(names == ["tunnel", "relay", "handshake", "app"], "{ping:#}");
    for (name, took) in steps {
        ensure!(took > 130_000, "{name} took {took} µs: {ping:#}");
    }
    Ok(())
}

fn ping_here(dev: &Dev) -> Result<()> {
    let shown = eventually("checkout answers", SOON, || {
        dev.weft([
            "ping",
            "-n",
            "shop",
            "checkout",
            "-c",
            "2",
            "--interval",
            "1ms",
        ])?
        .ok()
    })?;
    for part in ["  sidecar ", "  handshake ", "  app ", "→ connected"] {
        ensure!(shown.contains(part), "no {part:?}: {shown}");
    }
    ensure!(!shown.contains("tunnel"), "{shown}");
    Ok(())
}

/// A server without checks is taken for well, and nothing listens there.
fn ping_fails(dev: &Dev) -> Result<()> {
    dev.weft(["ping", "shop/nothing"])?
        .exits(1)?
        .says("WEFT-4001")?;
    dev.weft(["ping", "shop/checkout", "--port", "81"])?
        .exits(1)?
        .says("WEFT-4013")?;
    dev.weft(["ping", "shop/checkout", "--from", "nowhere"])?
        .exits(1)?
        .says("WEFT-4040")?;
    dev.apply("us-east-1", DEAD)?;
    let shown = eventually("the app accepts nothing", SOON, || {
        let ran = dev.weft(["ping", "shop/dead"])?.exits(1)?;
        ensure!(ran.stdout.contains("→ app failed"), "{ran:?}");
        Ok(ran.stdout)
    })?;
    ensure!(shown.contains("WEFT-4003"), "{shown}");
    Ok(())
}

fn netcheck(dev: &Dev) -> Result<()> {
    let seen = eventually("every peer is up, and tells its time", SOON, || {
        let seen = json(dev, &["netcheck"])?;
        let peers = seen["peers"].as_array().context("peers")?;
        ensure!(peers.len() == 3, "{seen:#}");
        for peer in peers {
            let connection = &peer["connection"];
            ensure!(peer["path"] == "up", "{peer:#}");
            ensure!(connection["rttUs"].as_u64() > Some(0), "{peer:#}");
            ensure!(connection["mtu"].as_u64() >= Some(1200), "{peer:#}");
            ensure!(connection["handshakeUs"].as_u64() > Some(0), "{peer:#}");
            ensure!(peer["loss"].as_f64() < Some(1.0), "{peer:#}");
            // One machine, one clock: off by no more than what is said.
            let clock = &peer["clock"];
            let (ahead, margin) = (clock["aheadMs"].as_f64(), clock["marginMs"].as_f64());
            let ahead = ahead.with_context(|| format!("{peer:#}"))?.abs();
            ensure!(Some(ahead) <= margin, "{peer:#}");
        }
        Ok(seen)
    })?;
    let buffer = seen["local"]["receiveBuffer"].as_u64();
    ensure!(buffer > Some(64 * 1024), "{seen:#}");
    let of = |peer: &Value| peer["cluster"].as_str().map(str::to_owned);
    let clusters = seen["peers"].as_array().context("peers")?.iter();
    let clusters: std::collections::BTreeSet<_> = clusters.filter_map(of).collect();
    ensure!(clusters.len() == 3, "{clusters:?}");
    dev.weft(["netcheck", "--peer", "nowhere"])?
        .exits(1)?
        .says("WEFT-4040")?;
    Ok(())
}

fn tunnels(dev: &Dev) -> Result<()> {
    eventually("four gateways see three others each", SOON, || {
        let seen = json(dev, &["top", "tunnels"])?;
        let rows = seen["items"].as_array().context("items")?;
        ensure!(rows.len() == 12, "{seen:#}");
        ensure!(rows.iter().all(|row| row["to"]["path"] == "up"), "{seen:#}");
        Ok(())
    })
}

/// Has two regions ask for a path with a marker until a tap ends; what it wrote.
fn tap_of_marked(dev: &Dev) -> Result<String> {
    let callers = ["us-east-1", "ap-south-1"].map(|cluster| dev.workload(cluster, "shop/web"));
    let args = ["tap", "--path", "/marker", "--for", "8s", "-o", "ndjson"];
    let mut tap = dev.command(args);
    let mut tap = tap.stdout(Stdio::piped()).spawn()?;
    let written = tap.stdout.take().context("stdout")?;
    let written = std::thread::spawn(move || std::io::read_to_string(written));
    while tap.try_wait()?.is_none() {
        for web in &callers {
            let web = web.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
            let proxy = format!("http://{}", web.outbound);
            let url = "http://checkout.shop/marker?token=hidden-1";
            run(
                command(["curl", "--silent", "--max-time", "20", "--proxy"]).args([
                    &proxy,
                    "--header",
                    "authorization: hidden-2",
                    url,
                ]),
            )?
            .ok()?;
        }
    }
    ensure!(tap.wait()?.success());
    Ok(written.join().expect("the reader does not panic")?)
}

fn tap(dev: &Dev) -> Result<()> {
    eventually("both callers are seen", SOON, || {
        let written = tap_of_marked(dev)?;
        ensure!(!written.contains("hidden"), "{written}");
        let lines = written.lines().map(serde_json::from_str);
        let mut lines: Vec<Value> = lines.collect::<Result<_, _>>()?;
        let end = lines.pop().context("a last line")?;
        ensure!(
            end["kind"] == "TapEnd" && end["silent"] == Value::Array(Vec::new()),
            "{end}"
        );
        ensure!(end["seen"].as_u64() == Some(lines.len() as u64), "{end}");
        for event in &lines {
            ensure!(event["kind"] == "TapEvent", "{event}");
            ensure!(event["apiVersion"] == "weft.dev/v1", "{event}");
            ensure!(event["path"] == "/marker", "{event}");
            ensure!(event["service"] == "shop/checkout", "{event}");
            ensure!(event["status"] == 200, "{event}");
            ensure!(event["destinationCluster"].is_string(), "{event}");
            let headers = event["headers"].as_array().context("headers")?;
            let value = |name: &str| headers.iter().find(|h| h["name"] == name);
            let agent = value("user-agent").context("user-agent")?["value"].as_str();
            ensure!(agent.is_some_and(|a| a.starts_with("curl/")), "{event}");
            let secret = value("authorization").context("authorization")?;
            ensure!(secret["value"].is_null(), "{event}");
        }
        for cluster in ["us-east-1", "ap-south-1"] {
            let is_from = |event: &Value| event["sourceCluster"] == cluster;
            ensure!(lines.iter().any(is_from), "none from {cluster}: {written}");
        }
        Ok(())
    })
}

fn tap_read(dev: &Dev) -> Result<()> {
    let written = eventually("a tap sees something", SOON, || {
        let written = tap_of_marked(dev)?;
        ensure!(written.lines().count() > 1, "{written}");
        Ok(written)
    })?;
    let file = dev.scratch().join("seen.ndjson");
    std::fs::write(&file, &written)?;
    let read = |more: &[&str]| {
        let mut command = dev.command(["tap", "--read"]);
        run(command.arg(&file).args(more))
    };
    let all = read(&["-o", "ndjson"])?.ok()?;
    ensure!(all == written.trim_end(), "read\n{all}\nwritten\n{written}");
    let table = read(&["shop/checkout", "--from", "us-east"])?.ok()?;
    ensure!(table.contains("GET /marker"), "{table}");
    ensure!(!table.contains("ap-south-1 web"), "{table}");
    let none = read(&["--status", "5xx"])?.ok()?;
    ensure!(none.is_empty(), "{none}");
    std::fs::write(&file, "no tap\n")?;
    read(&[])?.exits(2)?.says("WEFT-4041")?;
    Ok(())
}

fn watched(dev: &Dev) -> Result<()> {
    let mut top = dev.command(["top", "-w", "-o", "json"]);
    let mut top = top.stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(top.stdout.take().context("stdout")?).lines();
    let documents = lines.take(2).map(|line| Ok(serde_json::from_str(&line?)?));
    let documents: Result<Vec<Value>> = documents.collect();
    // Nobody reads on: it ends by itself.
    let ended = top.wait()?;
    for document in documents? {
        ensure!(document["apiVersion"] == "weft.dev/v1", "{document}");
    }
    ensure!(ended.success(), "{ended}");
    Ok(())
}

fn nowhere(dev: &Dev) -> Result<()> {
    dev.weft(["top", "--from", "nowhere"])?
        .exits(1)?
        .says("WEFT-4040")?;
    Ok(())
}
