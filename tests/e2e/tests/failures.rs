//! Gateways and clusters die; requests and acknowledged writes do not.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use weft_test_support::{Cases, Dev, SOON, eventually, isolated, kill, wait_until_gone};

/// Writes that are acknowledged before every gateway is killed.
const WRITES: usize = 20;
/// A refusal takes less than the 10 s that a command waits for an answer, and some.
const PROMPTLY: Duration = Duration::from_secs(20);

#[test]
fn what_dies_comes_back_and_loses_nothing() -> Result<()> {
    isolated("what_dies_comes_back_and_loses_nothing", || {
        Dev::with(&[], |dev| {
            let mut cases = Cases::default();
            cases.run("a cluster goes on with its second gateway", || {
                one_gateway_dies(dev)
            });
            cases.run("other regions take over from a cluster", || {
                a_cluster_dies(dev)
            });
            cases.run("a cut link heals", || a_link_is_cut(dev));
            cases.run("without a quorum reads and traffic go on", || {
                quorum_is_lost(dev)
            });
            cases.run(
                "acknowledged writes survive the death of all gateways",
                || all_die(dev),
            );
            cases.verdict()
        })
    })
}

/// The first gateway founded the federation, and leads it as a rule.
fn one_gateway_dies(dev: &Dev) -> Result<()> {
    let web = dev.workload("us-east-1", "shop/web")?;
    let victim = dev.gateway("us-east-1", "gw-1")?.pid.expect("it runs");
    kill(victim)?;
    wait_until_gone(&[victim])?;
    eventually("services in the own cluster answer", SOON, || {
        dev.curl(&web, "http://checkout.shop/")
    })?;
    eventually("the registry has a leader", SOON, || {
        dev.weft(["--cluster", "eu-west-1", "get", "clusters", "--consistent"])?
            .ok()
    })?;
    heal(dev)
}

fn a_cluster_dies(dev: &Dev) -> Result<()> {
    let web = dev.workload("ap-south-1", "shop/web")?;
    dev.weft(["dev", "break", "cluster", "us-east-1"])?
        .exits(0)?
        .says("us-east-1 is off")?;
    for _ in 0..20 {
        let body = eventually("payments answer", SOON, || {
            dev.curl(&web, "http://payments.shop/")
        })?;
        ensure!(body.contains(r#""region":"eu-west""#), "{body}");
    }
    ensure!(dev.gateway("us-east-1", "gw-1")?.pid.is_none());
    heal(dev)
}

fn a_link_is_cut(dev: &Dev) -> Result<()> {
    let web = dev.workload("ap-south-1", "shop/web")?;
    dev.weft(["dev", "break", "link", "ap-south-1", "us-east-1"])?
        .exits(0)?;
    eventually("payments answer from the other region", SOON, || {
        let body = dev.curl(&web, "http://payments.shop/")?;
        ensure!(body.contains(r#""region":"eu-west""#), "{body}");
        Ok(())
    })?;
    heal(dev)
}

/// One of three voters is left: it refuses writes soon, and loses nothing else.
fn quorum_is_lost(dev: &Dev) -> Result<()> {
    for cluster in ["us-east-1", "ap-south-1"] {
        dev.weft(["dev", "break", "cluster", cluster])?.exits(0)?;
    }
    let path = dev.scratch().join("unwritten.yaml");
    std::fs::write(&path, export(WRITES))?;
    let path = path.display().to_string();
    eventually("a write is refused for want of a leader", SOON, || {
        let begun = Instant::now();
        let args = ["--cluster", "eu-west-1", "apply", "-f", &path];
        let refused = dev.weft(args)?.exits(7)?;
        refused.says("WEFT-6001")?.says("Nothing was written")?;
        ensure!(begun.elapsed() < PROMPTLY, "after {:?}", begun.elapsed());
        Ok(())
    })?;
    let args = [
        "--cluster",
        "eu-west-1",
        "get",
        "serviceexports",
        "-o",
        "json",
    ];
    let list = dev.weft(args)?.json()?;
    ensure!(names(&list).any(|name| name == "payments"), "{list}");
    let args = ["--cluster", "eu-west-1", "get", "clusters", "--consistent"];
    dev.weft(args)?.exits(7)?.says("WEFT-6001")?;
    let web = dev.workload("eu-west-1", "shop/web")?;
    dev.curl(&web, "http://payments.shop/")?;
    heal(dev)?;
    eventually("the registry has a leader again", SOON, || {
        let args = [
            "--cluster",
            "eu-west-1",
            "get",
            "serviceexports",
            "--consistent",
            "-o",
            "json",
        ];
        let list = dev.weft(args)?.json()?;
        let refused = format!("written-{WRITES}");
        ensure!(names(&list).all(|name| name != refused), "{list}");
        Ok(())
    })
}

fn all_die(dev: &Dev) -> Result<()> {
    for number in 0..WRITES {
        dev.apply("eu-west-1", &export(number))?;
    }
    let mut pids = Vec::new();
    for (cluster, gateway) in [
        ("us-east-1", "gw-1"),
        ("us-east-1", "gw-2"),
        ("eu-west-1", "gw-1"),
        ("ap-south-1", "gw-1"),
    ] {
        pids.extend(dev.gateway(cluster, gateway)?.pid);
    }
    ensure!(pids.len() == 4, "{pids:?}");
    pids.iter().try_for_each(|pid| kill(*pid))?;
    wait_until_gone(&pids)?;
    heal(dev)?;
    let list = eventually("a linearizable read", SOON, || {
        dev.weft([
            "--cluster",
            "eu-west-1",
            "get",
            "serviceexports",
            "--consistent",
            "-o",
            "json",
        ])?
        .json()
    })?;
    let names: Vec<&str> = names(&list).collect();
    for number in 0..WRITES {
        let name = format!("written-{number}");
        ensure!(
            names.contains(&name.as_str()),
            "{name} is lost; there are {names:?}"
        );
    }
    Ok(())
}

fn heal(dev: &Dev) -> Result<()> {
    dev.weft(["dev", "heal"])?.ok()?;
    eventually("the shop answers in every region", SOON, || {
        ["us-east-1", "eu-west-1", "ap-south-1"]
            .into_iter()
            .try_for_each(|cluster| {
                let web = dev.workload(cluster, "shop/web")?;
                dev.curl(&web, "http://payments.shop/").map(drop)
            })
    })
}

fn export(number: usize) -> String {
    format!(
        "\
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: {{ namespace: shop, name: written-{number} }}
spec:
  ports: [{{ name: http, port: 80, appProtocol: http }}]
"
    )
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    items
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
}
