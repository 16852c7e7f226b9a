//! Releases by hand: who meets the canary, and who never does.

mod cut;
mod held;
mod shown;

use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_test_support::{
    Background, Cases, Dev, SOON, Workload, command, eventually, isolated, kill, run,
    wait_until_gone,
};

const RELEASE: &str = "\
apiVersion: weft.dev/v1
kind: Release
metadata: { namespace: shop, name: checkout-v2 }
spec:
  service: checkout
  stable: v1
  canary: v2
  audience:
    stickiness: { by: Header, name: x-user-id, missing: Stable }
  waves:
    - name: west-europe
      regions: [eu-west]
      steps: [{ setWeight: 5 }, { pause: {} }, { setWeight: 50 }]
";

/// Clients of a cohort. Who of them meets the canary is the same in every run: it is decided by
/// their keys and the release's name.
const CLIENTS: usize = 120;
/// Who meets it at 5 %: 6 are meant.
const FEW: RangeInclusive<usize> = 1..=20;
/// At 50 %: 60 are meant.
const HALF: RangeInclusive<usize> = 40..=80;

#[test]
fn a_release_reaches_its_region_and_nobody_else() -> Result<()> {
    isolated("a_release_reaches_its_region_and_nobody_else", || {
        Dev::with(&["--wan", "off"], |dev| {
            let file = write(dev, "checkout-v2.yaml", RELEASE)?;
            let mut cases = Cases::default();
            cases.run("wrong files are refused with their place", || wrong(dev));
            cases.run("a plan says who would meet it", || planned(dev, &file));
            cases.run("cohorts grow, and stay within their region", || {
                cohorts(dev, &file)
            });
            cases.run("status counts what each version answered, where", || {
                shown::counted(dev)
            });
            cases.run("explain, who and status say what is so", || {
                shown::asked(dev)
            });
            cases.run("what is killed comes back with the same cohort", || {
                held::restarted(dev)
            });
            cases.run("back by a stage, by the numbers of its history", || {
                held::stepped_back(dev)
            });
            cases.run("one service has one release at a time", || second(dev));
            cases.run("an abort reaches everybody", || aborted(dev, &file));
            cases.run("an abort cuts what is open to the canary", || cut::cut(dev));
            cases.run("a region is lowered without a leader", || clamped(dev));
            cases.verdict()
        })
    })
}

fn write(dev: &Dev, name: &str, text: &str) -> Result<String> {
    let path = dev.scratch().join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

fn wrong(dev: &Dev) -> Result<()> {
    let cases = [
        ("canary: v2", "canery: v2", "WEFT-1003", "wrong.yaml:7:3"),
        (
            "{ pause: {} }",
            "{ pause: { duration: 10m } }",
            "WEFT-1005",
            "wrong.yaml:13:",
        ),
        (
            "setWeight: 50",
            "setWeight: 500",
            "WEFT-1004",
            "wrong.yaml:13:",
        ),
        (
            "setWeight: 50",
            "setWeight: 1",
            "WEFT-1013",
            "wave west-europe",
        ),
    ];
    for (sound, broken, code, place) in cases {
        let file = write(dev, "wrong.yaml", &RELEASE.replace(sound, broken))?;
        for verb in ["plan", "start"] {
            dev.weft(["release", verb, "-f", &file])?
                .exits(2)?
                .says(code)?
                .says(place)?;
        }
    }
    let unknown = RELEASE.replace("canary: v2", "canary: v9");
    let file = write(dev, "v9.yaml", &unknown)?;
    dev.weft(["release", "start", "-f", &file])?
        .exits(6)?
        .says("WEFT-5020")?
        .says("no endpoint has version v9")?;
    dev.weft(["release", "status", "nothing"])?
        .exits(1)?
        .says("WEFT-5002")?;
    Ok(())
}

fn planned(dev: &Dev, file: &str) -> Result<()> {
    // Format levels are raised once everybody is there.
    let plan = eventually("the registry would take it", SOON, || {
        dev.weft(["release", "plan", "-f", file])?.exits(1)
    })?;
    plan.says("west-europe / eu-west")?
        .says("1: 5 %, 2: 50 %")?
        .says("+ Release shop/checkout-v2")?
        .says(&format!("weft release start -f {file} --if-index "))?;
    dev.weft(["release", "list", "-o", "name"])?
        .exits(0)?
        .ok()?;
    Ok(())
}

/// How many of `CLIENTS` meet the canary, and which.
fn met(workload: &Workload) -> Result<Vec<usize>> {
    let proxy = format!("http://{}", workload.outbound);
    // One curl for all: a process for each request would take the time of the test.
    let mut curl = command(["curl", "--silent", "--show-error", "--max-time", "120"]);
    for client in 0..CLIENTS {
        if client > 0 {
            curl.arg("--next").args(["--silent", "--show-error"]);
        }
        curl.args(["--proxy", &proxy, "--write-out", "\\n"])
            .args(["--header", &format!("x-user-id: {client}")])
            .arg("http://checkout.shop/");
    }
    let answers = run(&mut curl)?.ok()?;
    let answers: Vec<&str> = answers.lines().filter(|line| !line.is_empty()).collect();
    ensure!(answers.len() == CLIENTS, "{} answers", answers.len());
    let mut met = Vec::new();
    for (client, answer) in answers.into_iter().enumerate() {
        let answer: Value = serde_json::from_str(answer).with_context(|| answer.to_owned())?;
        match answer["version"].as_str() {
            Some("v2") => met.push(client),
            Some("v1") => {}
            _ => anyhow::bail!("{answer}"),
        }
    }
    Ok(met)
}

fn cohorts(dev: &Dev, file: &str) -> Result<()> {
    let eu = dev.workload("eu-west-1", "shop/web")?;
    let outside = [
        dev.workload("us-east-1", "shop/web")?,
        dev.workload("ap-south-1", "shop/web")?,
    ];
    dev.weft(["release", "start", "-f", file])?
        .exits(0)?
        .says("started, at index")?;
    let few = eventually("the first cohort meets it", SOON, || {
        let few = met(&eu)?;
        ensure!(FEW.contains(&few.len()), "{} of {CLIENTS}", few.len());
        Ok(few)
    })?;
    ensure!(met(&eu)? == few, "a client met another version than before");
    dev.weft(["release", "promote", "checkout-v2", "--wave", "west-europe"])?
        .exits(0)?
        .says("wave west-europe: 5 % → 50 %")?
        .says("promoted to stage 2, at index")?;
    let half = eventually("half of them meet it", SOON, || {
        let half = met(&eu)?;
        ensure!(HALF.contains(&half.len()), "{} of {CLIENTS}", half.len());
        Ok(half)
    })?;
    ensure!(
        few.iter().all(|client| half.contains(client)),
        "who met it at 5 % still does"
    );
    for workload in &outside {
        ensure!(met(workload)?.is_empty(), "outside the region");
    }
    for _ in 0..50 {
        let answer: Value = serde_json::from_str(&dev.curl(&eu, "http://checkout.shop/")?)?;
        ensure!(answer["version"] == "v1", "without the key: {answer}");
    }
    Ok(())
}

fn second(dev: &Dev) -> Result<()> {
    let other = RELEASE.replace("name: checkout-v2", "name: checkout-v3");
    let file = write(dev, "second.yaml", &other)?;
    dev.weft(["release", "start", "-f", &file])?
        .exits(6)?
        .says("WEFT-5003")?;
    dev.weft([
        "wait",
        "release/checkout-v2",
        "--for=Completed",
        "--timeout",
        "1s",
    ])?
    .exits(5)?;
    Ok(())
}

/// Deletes the release, which has ended, and starts it with another spec.
fn anew(dev: &Dev, spec: &str) -> Result<()> {
    dev.weft(["-n", "shop", "delete", "release", "checkout-v2"])?
        .ok()?;
    let file = write(dev, "anew.yaml", spec)?;
    dev.weft(["release", "start", "-f", &file])?.exits(0)?;
    Ok(())
}

fn aborted(dev: &Dev, file: &str) -> Result<()> {
    let eu = dev.workload("eu-west-1", "shop/web")?;
    let log = dev.scratch().join("watch.log");
    let mut watch = dev.command(["release", "status", "checkout-v2", "-w", "-o", "json"]);
    let mut watch = Background::start(&mut watch, &log)?;
    let lines = dev.scratch().join("lines.log");
    let mut told = dev.command(["release", "status", "checkout-v2", "-w"]);
    let mut told = Background::start(&mut told, &lines)?;
    eventually("a pipe is told figures", SOON, || {
        let said = told.said();
        let is_told = said.contains("west-europe / eu-west  v2 / v1 in ");
        ensure!(is_told, "{said}");
        Ok(())
    })?;
    dev.weft(["--cluster", "eu-west-1", "release", "abort", "checkout-v2"])?
        .exits(0)?
        .says("callers in eu-west (eu-west-1): 50 % → 0 %")?
        .says("aborted")?;
    eventually("nobody meets it any more", SOON, || nobody(&eu))?;
    dev.weft(["release", "promote", "checkout-v2"])?
        .exits(6)?
        .says("WEFT-5005")?;
    dev.weft(["release", "start", "-f", file])?
        .exits(6)?
        .says("WEFT-5029")?;
    dev.weft(["wait", "release/checkout-v2", "--for=Aborted"])?
        .exits(0)?;
    dev.weft(["wait", "release/checkout-v2", "--for=Completed"])?
        .exits(1)?;
    dev.weft(["release", "history", "checkout-v2"])?
        .exits(0)?
        .says("promoted from stage 1 to 2")?;
    eventually("the watch ends with the release", SOON, || {
        ensure!(watch.still_runs().is_err(), "it runs");
        Ok(())
    })?;
    let said = watch.said();
    let last = said.lines().rfind(|line| line.starts_with('{'));
    let last: Value = serde_json::from_str(last.context("a line")?)?;
    ensure!(last["phase"] == "Aborted", "{last}");
    ensure!(last["traffic"]["windowMs"].as_u64() > Some(0), "{last}");
    ensure!(told.wait()? == Some(1), "{}", told.said());
    Ok(())
}

fn nobody(workload: &Workload) -> Result<()> {
    let met = met(workload)?;
    ensure!(met.is_empty(), "{} of {CLIENTS} meet it", met.len());
    Ok(())
}

fn everybody(workload: &Workload) -> Result<()> {
    let met = met(workload)?;
    ensure!(met.len() == CLIENTS, "{} of {CLIENTS} meet it", met.len());
    Ok(())
}

fn clamped(dev: &Dev) -> Result<()> {
    let whole = RELEASE.replace("setWeight: 5 }", "setWeight: 100 }");
    anew(dev, &whole.replace(", { setWeight: 50 }", ""))?;
    let eu = dev.workload("eu-west-1", "shop/web")?;
    eventually("everybody in eu-west meets it", SOON, || everybody(&eu))?;
    // Two of three clusters go: nobody leads, and nothing can be written.
    for cluster in ["us-east-1", "ap-south-1"] {
        dev.weft(["dev", "break", "cluster", cluster])?.exits(0)?;
    }
    dev.weft(["--cluster", "eu-west-1", "release", "abort", "checkout-v2"])?
        .exits(7)?
        .says("--local")?;
    // By whichever contact answers: the context's home does not.
    dev.weft([
        "release",
        "abort",
        "checkout-v2",
        "--region",
        "eu-west",
        "--local",
    ])?
    .exits(0)?
    .says("is on the disk of eu-west-1/gw-1")?;
    eventually("nobody meets it", SOON, || nobody(&eu))?;
    let pid = dev.gateway("eu-west-1", "gw-1")?.pid.context("it runs")?;
    kill(pid)?;
    wait_until_gone(&[pid])?;
    dev.weft(["dev", "heal"])?.exits(0)?;
    nobody(&eu)?;
    eventually("the clamp is seen from elsewhere", SOON, || {
        dev.weft(["--cluster", "us-east-1", "release", "status", "checkout-v2"])?
            .exits(0)?
            .says("at most 0 % in eu-west, by ")
    })?;
    nobody(&eu)?;
    eventually("a leader takes the resume", SOON, || {
        dev.weft(["release", "resume", "checkout-v2"])?
            .exits(0)?
            .says("1 clamp(s) lifted")
    })?;
    eventually("everybody meets it again", SOON, || everybody(&eu))?;
    eventually("the clamp is gone", SOON, || {
        let status = dev.weft(["release", "status", "checkout-v2"])?.ok()?;
        ensure!(!status.contains("at most"), "{status}");
        Ok(())
    })
}
