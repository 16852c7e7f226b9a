//! What is said of a release: figures, explanations, metrics.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_test_support::{Dev, SOON, command, eventually, run, same_shape};

use crate::{CLIENTS, met, nobody};

/// The figures of `weft release status`, for callers in a region.
fn figures(dev: &Dev, region: &str) -> Result<Value> {
    let status = ["release", "status", "checkout-v2", "--window", "5m"];
    let status = dev.weft(status.into_iter().chain(["-o", "json"]))?.ok()?;
    let status: Value = serde_json::from_str(&status)?;
    let traffic = &status["traffic"];
    ensure!(traffic["silent"] == serde_json::json!([]), "{traffic}");
    let places = traffic["items"].as_array().context("places")?;
    let place = places.iter().find(|place| place["region"] == region);
    Ok(place.with_context(|| traffic.to_string())?.clone())
}

/// Sidecars report what they sent: who asked knows what they have to say.
pub(super) fn counted(dev: &Dev) -> Result<()> {
    let eu = dev.workload("eu-west-1", "shop/web")?;
    // Once the requests of before it are told, all figures are of the release.
    eventually("its figures begin", SOON, || {
        let begun = figures(dev, "eu-west")?;
        ensure!(begun["stable"]["requests"].as_u64() > Some(0), "{begun}");
        Ok(())
    })?;
    let canary = met(&eu)?.len() as u64;
    let stable = CLIENTS as u64 - canary;
    for cluster in ["us-east-1", "ap-south-1"] {
        nobody(&dev.workload(cluster, "shop/web")?)?;
    }
    eventually("what was answered is reported", SOON, || {
        let here = figures(dev, "eu-west")?;
        let requests = |version: &str| here[version]["requests"].as_u64();
        ensure!(requests("canary") >= Some(canary), "{here}");
        ensure!(requests("stable") >= Some(stable), "{here}");
        for version in ["canary", "stable"] {
            ensure!(here[version]["success"] == 1.0, "{here}");
            ensure!(here[version]["p99Ms"].as_f64() > Some(0.0), "{here}");
        }
        Ok(())
    })?;
    for region in ["us-east", "ap-south"] {
        eventually("what was answered there too", SOON, || {
            let there = figures(dev, region)?;
            ensure!(there["canary"]["requests"] == 0, "{region}: {there}");
            ensure!(there["canary"]["success"].is_null(), "{region}: {there}");
            let stable = there["stable"]["requests"].as_u64();
            ensure!(stable >= Some(CLIENTS as u64), "{region}: {there}");
            Ok(())
        })?;
    }
    let status = dev.weft(["release", "status", "checkout-v2", "--window", "5m"])?;
    status
        .exits(0)?
        .says("REQUESTS v2 / v1  SUCCESS v2 / v1  P99 v2 / v1")?
        .says("100% / 100%")?
        .says("- / 100%")?
        .says(" s, told by 4 of 4 gateways")?;
    Ok(())
}

pub(super) fn asked(dev: &Dev) -> Result<()> {
    let eu = dev.workload("eu-west-1", "shop/web")?;
    let met = met(&eu)?;
    for client in [0, 1, 2, 3, 4, 5, 6, 7] {
        let who = dev.weft([
            "release",
            "who",
            "checkout-v2",
            "--client",
            &client.to_string(),
            "--from",
            "eu-west",
        ])?;
        let version = if met.contains(&client) { "v2" } else { "v1" };
        who.exits(0)?.says(&format!("eu-west-1: {version} "))?;
    }
    dev.weft(["release", "explain", "checkout-v2", "--from", "eu-west"])?
        .exits(0)?
        .says("wave west-europe, stage 2")?;
    dev.weft(["release", "explain", "checkout-v2", "--from", "us-east"])?
        .exits(0)?
        .says("no wave names it")?;
    let status = dev.weft(["release", "status", "checkout-v2"])?;
    status.exits(0)?.says("west-europe / eu-west  2/2   50 %")?;
    dev.weft(["status"])?.says("shop/checkout-v2")?;
    explained(dev)?;
    measured(dev)
}

/// In the region, by a client of the canary's and one of stable's; elsewhere.
fn explained(dev: &Dev) -> Result<()> {
    let lane = "refused 99d0e297 OTHER in us-east-1 its version is not in this request's lane
refused 5a6b4a82 OTHER in eu-west-1 its version is not in this request's lane";
    let stable = "candidate 771aa0c5 v1 in ap-south-1 …
candidate 880d19a5 v1 in us-east-1 …
candidate f74a6197 v1 in eu-west-1 …";
    let canary = "candidate 771aa0c5 v2 in us-east-1 …
candidate 880d19a5 v2 in eu-west-1 …";
    let ends = "the nearest level while it has capacity, peak-EWMA among two";
    let here = "gives v2 50 % here (wave west-europe, stage 2); its client is in bucket";
    let outside =
        "gives v2 0 % here (no wave names it); it lacks the header field that tells clients apart";
    let cases = [
        (
            "eu-west-1",
            Some("3"),
            format!("{here} 6620 of 10000"),
            "v1",
        ),
        (
            "eu-west-1",
            Some("CANARY"),
            format!("{here} … of 10000"),
            "v2",
        ),
        ("us-east-1", None, outside.to_owned(), "v1"),
    ];
    let met = met(&dev.workload("eu-west-1", "shop/web")?)?;
    let one = met.first().context("one meets it")?.to_string();
    for (cluster, client, reason, version) in cases {
        let (candidates, refused, count) = match version {
            "v1" => (stable.to_owned(), lane.replace("OTHER", "v2"), 3),
            _ => (
                canary.to_owned(),
                format!(
                    "{}\nrefused 771aa0c5 v1 in ap-south-1 its version is not in this request's lane",
                    lane.replace("OTHER", "v1")
                ),
                2,
            ),
        };
        let expect = format!(
            "GET http://checkout.shop/, from {cluster}
fact checkout.shop is service shop/checkout, port 80
fact a client without a sidecar connects to …:80, where this gateway stands in for one
fact release shop/checkout-v2 {reason}
{candidates}
{refused}
→ shop/checkout port 80: {count} candidate(s) of {version}; {ends}"
        );
        let mut explain = vec!["--cluster", cluster, "route", "explain", "GET"];
        explain.push("http://checkout.shop/");
        let header = client.map(|it| format!("x-user-id: {}", it.replace("CANARY", &one)));
        if let Some(header) = &header {
            explain.extend(["-H", header.as_str()]);
        }
        let said = dev.weft(explain)?.ok()?;
        // Endpoints come in the order of their ids.
        same_shape(&expect, &said, true).with_context(|| said)?;
    }
    Ok(())
}

/// What every gateway's metrics say of the weights.
fn measured(dev: &Dev) -> Result<()> {
    for cluster in ["eu-west-1", "us-east-1"] {
        let url = format!("http://{}/metrics", dev.gateway(cluster, "gw-1")?.console);
        let mut curl = command(["curl", "--silent", "--fail", "--max-time", "20", &url]);
        let metrics = run(&mut curl)?.ok()?;
        let weights = metrics.lines();
        let weights = weights.filter(|line| line.starts_with("weft_release_weight{"));
        let mut weights: Vec<&str> = weights.collect();
        weights.sort_unstable();
        let of = |cluster: &str, region: &str, weight: &str| {
            format!(
                "weft_release_weight{{release=\"shop/checkout-v2\",service=\"shop/checkout\",\
                 source_cluster=\"{cluster}\",source_region=\"{region}\"}} {weight}"
            )
        };
        let expect = [
            of("ap-south-1", "ap-south", "0"),
            of("eu-west-1", "eu-west", "0.5"),
            of("us-east-1", "us-east", "0"),
        ];
        ensure!(weights == expect, "at {cluster}: {weights:#?}");
    }
    Ok(())
}
