//! What the registry was, who changed it, and taking a change back.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_test_support::{Dev, SOON, eventually};

/// For a service that nobody has, so that nobody's requests change.
fn route(status: u16) -> String {
    format!(
        "apiVersion: weft.dev/v1\nkind: Route\n\
         metadata: {{ namespace: shop, name: history }}\n\
         spec: {{ parentRefs: [{{ name: nobody }}], rules: [{{ filters: \
         [{{ type: RequestRedirect, requestRedirect: {{ path: {{ type: ReplaceFullPath, replaceFullPath: /at }}, statusCode: {status} }} }}] }}] }}\n"
    )
}

fn items(document: &Value) -> Result<&Vec<Value>> {
    document["items"].as_array().context("no items")
}

fn code_at(resource: &Value) -> Option<u64> {
    resource
        .pointer("/spec/rules/0/filters/0/requestRedirect/statusCode")
        .and_then(Value::as_u64)
}

/// The revisions of the route, once the asked gateway has `count` of them.
fn revisions(dev: &Dev, count: usize) -> Result<Vec<Value>> {
    eventually("its revisions are kept here", SOON, || {
        let document = dev
            .weft(["history", "route/shop/history", "-o", "json"])?
            .json()?;
        let items = items(&document)?.clone();
        ensure!(items.len() == count, "{document}");
        Ok(items)
    })
}

pub(crate) fn tells_and_undoes(dev: &Dev) -> Result<()> {
    dev.apply("us-east-1", &route(301))?;
    dev.apply("us-east-1", &route(302))?;
    let kept = revisions(dev, 2)?;
    let index = |at: usize| kept[at]["index"].as_u64().context("no index");
    let (first, second) = (index(0)?.to_string(), index(1)?.to_string());
    ensure!(kept[0]["author"] == "operator you", "{}", kept[0]);
    ensure!(code_at(&kept[1]["resource"]) == Some(302), "{}", kept[1]);
    let people = dev.weft(["history", "route/shop/history"])?.ok()?;
    ensure!(people.contains("you") && people.contains("→"), "{people}");

    let range = format!("{first}..{second}");
    let diff = ["history", "route/shop/history", "--diff"];
    dev.weft(diff.iter().chain([&&*range]))?
        .exits(1)?
        .says("302")?;
    let same = format!("{second}..{second}");
    dev.weft(diff.iter().chain([&&*same]))?.exits(0)?;

    past_reads(dev, &first)?;

    // Not behind a later change, not without a yes, and then by an entry of its own.
    dev.weft(["revert", &first, "--yes"])?
        .exits(6)?
        .says("WEFT-6034")?;
    dev.weft(["revert", &second])?
        .exits(6)?
        .says("not confirmed")?;
    dev.weft(["revert", &second, "--dry-run"])?
        .exits(1)?
        .says("301")?;
    dev.weft(["revert", &second, "--yes"])?
        .exits(0)?
        .says("undone")?;
    let kept = revisions(dev, 3)?;
    ensure!(code_at(&kept[2]["resource"]) == Some(301), "{}", kept[2]);
    let third = kept[2]["index"].as_u64().context("no index")?.to_string();
    dev.weft(["revert", &third, "--yes"])?.exits(0)?;
    dev.weft(["delete", "route", "history", "-n", "shop"])?
        .ok()?;
    let kept = revisions(dev, 5)?;
    ensure!(kept[4]["deleted"] == true, "{}", kept[4]);
    let gone = kept[4]["index"].as_u64().context("no index")?.to_string();
    dev.weft(["revert", &gone, "--yes"])?.exits(0)?;
    dev.weft(["get", "route", "history", "-n", "shop"])?.ok()?;
    dev.weft(["delete", "route", "history", "-n", "shop"])?
        .ok()?;
    meaningless_reverts(dev)
}

fn past_reads(dev: &Dev, first: &str) -> Result<()> {
    let then = dev
        .weft([
            "get", "route", "history", "-n", "shop", "--as-of", first, "-o", "json",
        ])?
        .json()?;
    ensure!(code_at(&then) == Some(301), "{then}");
    let now = dev
        .weft(["get", "route", "history", "-n", "shop", "-o", "json"])?
        .json()?;
    ensure!(code_at(&now) == Some(302), "{now}");
    let before = (first.parse::<u64>()? - 1).to_string();
    dev.weft([
        "describe", "route", "history", "-n", "shop", "--as-of", &before,
    ])?
    .exits(1)?
    .says("WEFT-6010")?;
    for read in [
        &["service", "list"][..],
        &["cluster", "list"],
        &["release", "list"],
        &["get", "serviceexports"],
    ] {
        dev.weft(read.iter().chain(&["--as-of", first]))?.ok()?;
    }
    for later in ["999999", "2999-01-01T00:00:00Z"] {
        dev.weft(["get", "clusters", "--as-of", later])?
            .exits(1)?
            .says("WEFT-6030")?;
    }
    Ok(())
}

fn meaningless_reverts(dev: &Dev) -> Result<()> {
    let log = dev.weft(["events", "-o", "json"])?.json()?;
    for (command, says) in [
        ("redeem token", "cluster remove"),
        ("found", "founded once"),
    ] {
        let entry = items(&log)?.iter().find(|item| item["command"] == command);
        let entry = entry.with_context(|| format!("no {command}"))?;
        let index = entry["index"].as_u64().context("no index")?.to_string();
        dev.weft(["revert", &index, "--yes"])?
            .exits(6)?
            .says("WEFT-6034")?
            .says(says)?;
    }
    Ok(())
}

/// On every gateway; the founder's begins with the founding.
pub(crate) fn is_proved(dev: &Dev) -> Result<()> {
    for cluster in ["us-east-1", "eu-west-1", "ap-south-1"] {
        let asked = ["--cluster", cluster, "history", "--verify", "-o", "json"];
        let trail = dev.weft(asked)?.json()?;
        ensure!(trail["fault"].is_null(), "{trail}");
        ensure!(trail["unproven"] == 0, "{trail}");
        ensure!(trail["effected"].as_u64() > Some(0), "{trail}");
    }
    let people = dev.weft(["history", "--verify"])?.ok()?;
    ensure!(people.contains("operator you"), "{people}");
    Ok(())
}
