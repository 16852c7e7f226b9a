//! What makes an administrator's day: events, completions, help, bug reports.

#[path = "comfort/history.rs"]
mod history;
#[path = "comfort/past.rs"]
mod past;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_test_support::{Background, Cases, Dev, SOON, Shell, eventually, isolated, run};

#[test]
fn an_administrator_is_at_home() -> Result<()> {
    isolated("an_administrator_is_at_home", || {
        Dev::with(&[], |dev| {
            let mut cases = Cases::default();
            cases.run("events say who did what", || events_say_who(dev));
            cases.run("events that are not kept are said to be so", || {
                events_begin_somewhere(dev)
            });
            cases.run(
                "a record's history is told, read as of then, and undone",
                || history::tells_and_undoes(dev),
            );
            cases.run("what was printed then is printed again", || {
                past::is_read(dev)
            });
            cases.run("the audit trail is proved", || history::is_proved(dev));
            cases.run("bash completes what there is", || bash_completes(dev));
            cases.run("programs read every answer and every failure", || {
                programs_read(dev)
            });
            cases.run("help has topics, and pages for man", || help_helps(dev));
            cases.run("what takes long says so, unless it is to be quiet", || {
                progress_is_told(dev)
            });
            cases.run("a bug report holds what helps and no secret", || {
                a_report_keeps_secrets(dev)
            });
            cases.run("a watch goes on over a gateway's restart", || {
                a_watch_goes_on(dev)
            });
            cases.verdict()
        })
    })
}

fn export(name: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1\nkind: ServiceExport\n\
         metadata: {{ namespace: shop, name: {name} }}\n\
         spec: {{ exportTo: ['*'], ports: [{{ port: 80, appProtocol: http }}] }}\n"
    )
}

fn items(document: &Value) -> Result<&Vec<Value>> {
    document["items"].as_array().context("no items")
}

fn events_say_who(dev: &Dev) -> Result<()> {
    dev.apply("eu-west-1", &export("ledger"))?;
    let asked = ["events", "--for", "serviceexport/shop/ledger", "-o", "json"];
    let document = eventually("the export is in the log here", SOON, || {
        let document = dev.weft(asked)?.json()?;
        ensure!(items(&document)?.len() == 1, "{document}");
        Ok(document)
    })?;
    ensure!(document["apiVersion"] == "weft.dev/v1", "{document}");
    let event = &items(&document)?[0];
    ensure!(event["byOrderOf"] == "you", "{event}");
    ensure!(event["author"] == "gateway eu-west-1/gw-1", "{event}");
    ensure!(event["command"] == "put export", "{event}");
    ensure!(event["record"]["cluster"] == "eu-west-1", "{event}");
    ensure!(
        event["time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{event}"
    );
    let by_service = dev.weft(["events", "--for", "service/shop/ledger"])?.ok()?;
    ensure!(
        by_service.contains("you via eu-west-1/gw-1") && by_service.contains("put export"),
        "{by_service}"
    );
    // The last administrator may not be deleted: an entry all the same, and a refused one.
    let binding = dev.weft(["get", "rolebindings", "-o", "name"])?.ok()?;
    let (_, binding) = binding.split_once('/').context("no role binding")?;
    dev.weft(["delete", "rolebinding", binding])?.exits(6)?;
    let index = event["index"].as_u64().context("no index")?;
    let since = index.to_string();
    let later = dev.weft(["events", "--since", &since])?.ok()?;
    ensure!(
        later.contains("delete role binding") && later.contains("refused: this would leave"),
        "{later}"
    );
    ensure!(!later.contains("put export"), "{later}");
    dev.weft(["events", "--for", "nonsense"])?.exits(2)?;
    Ok(())
}

fn events_begin_somewhere(dev: &Dev) -> Result<()> {
    // The founder has all of it; a joiner's history begins with the snapshot that it was sent.
    let all = dev.weft(["events", "--since", "0"])?.ok()?;
    ensure!(all.contains("found"), "{all}");
    let joiner = ["--cluster", "eu-west-1", "events"];
    dev.weft(joiner.iter().chain(&["--since", "0"]))?
        .exits(1)?
        .says("WEFT-6006")?
        .says("kept here from after index")?;
    dev.weft(joiner)?.exits(0)?.says("is not shown")?;
    dev.weft(["-q", "events"])?.exits(0).and_then(|ran| {
        ensure!(ran.stderr.is_empty(), "{}", ran.stderr);
        Ok(())
    })
}

fn watch(dev: &Dev, args: &[&str], log: &str) -> Result<Background> {
    let args = ["--cluster", "ap-south-1", "events", "-w"]
        .iter()
        .chain(args);
    Background::start(&mut dev.command(args), &dev.scratch().join(log))
}

fn sees(watch: &Background, what: &str) -> Result<()> {
    eventually(&format!("the watch says {what}"), SOON, || {
        let said = watch.said();
        ensure!(said.contains(what), "{said}");
        Ok(())
    })
}

fn a_watch_goes_on(dev: &Dev) -> Result<()> {
    let mut people = watch(dev, &[], "events.txt")?;
    let mut programs = watch(dev, &["-o", "json", "--since", "1s"], "events.json")?;
    sees(&people, "INDEX")?;
    dev.apply("ap-south-1", &export("before"))?;
    sees(&people, "serviceexport/shop/before")?;
    sees(&programs, "shop/before")?;
    dev.weft(["dev", "break", "cluster", "ap-south-1"])?.ok()?;
    sees(&people, "trying again")?;
    dev.weft(["dev", "heal"])?.ok()?;
    dev.apply("ap-south-1", &export("after"))?;
    sees(&people, "serviceexport/shop/after")?;
    sees(&programs, "shop/after")?;
    people.stop("INT")?;
    programs.stop("INT")?;
    let said = programs.said();
    let lines = said.lines().filter(|line| line.starts_with('{'));
    let mut last = 0;
    for line in lines {
        let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(event["apiVersion"] == "weft.dev/v1", "{line}");
        let index = event["index"].as_u64().context("no index")?;
        ensure!(index > last, "{index} came after {last}");
        last = index;
    }
    ensure!(last > 0, "{said}");
    Ok(())
}

/// What bash would offer for a line whose last word is being typed.
const TYPE: &str = r#"
type_line() {
    local words=("$@") function
    function=$(complete -p weft | sed 's/.*-F \([^ ]*\).*/\1/')
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9 COMPREPLY=()
    "$function" weft "${words[-1]}" "${words[-2]}"
    printf '%s\n' "${COMPREPLY[@]}"
}
"#;

fn bash_completes(dev: &Dev) -> Result<()> {
    let mut bash = Command::new("bash");
    dev.user().surround(&mut bash)?;
    let mut shell = Shell::start(&mut bash)?;
    let ready = shell.run("source <(weft completion bash)", SOON)?;
    ensure!(ready.code == 0 && ready.text.is_empty(), "{ready:?}");
    shell.run(TYPE, SOON)?;
    let mut offers = |line: &str, expect: &[&str]| {
        eventually(line, SOON, || {
            let said = shell.run(&format!("type_line {line}"), SOON)?;
            let offered: Vec<&str> = said.text.lines().collect();
            ensure!(offered == expect, "{line}: {offered:?}, not {expect:?}");
            Ok(())
        })
    };
    offers("weft sta", &["status"])?;
    offers("weft service endpoints shop/pay", &["shop/payments"])?;
    offers("weft --cluster eu", &["eu-west-1"])?;
    offers("weft --context d", &["dev"])?;
    offers(
        "weft raft transfer us-",
        &["us-east-1/gw-1", "us-east-1/gw-2"],
    )?;
    offers("weft get serviceexports led", &["ledger"])?;
    offers("weft wait rolebind", &["rolebinding/"])?;
    offers(
        "weft events --for serviceexport/shop/led",
        &["serviceexport/shop/ledger"],
    )?;
    offers("weft explain WEFT-6006", &["WEFT-6006"])?;
    offers(
        "weft dns query payments",
        &["payments.shop.svc.clusterset.local"],
    )?;
    // Nobody to ask: nothing is offered, and nothing said.
    let alone = "WEFT_CONFIG_DIR=/nonexistent type_line weft service endpoints shop/";
    let said = shell.run(alone, SOON)?;
    ensure!(said.text.is_empty(), "{said:?}");
    Ok(())
}

fn programs_read(dev: &Dev) -> Result<()> {
    for asked in [
        &["version"][..],
        &["explain"],
        &["explain", "WEFT-1003"],
        &["raft", "leader"],
        &["raft", "members"],
        &["events"],
    ] {
        let document = dev.weft(asked.iter().chain(&["-o", "json"]))?.json()?;
        ensure!(
            document["apiVersion"] == "weft.dev/v1",
            "{asked:?}: {document}"
        );
        let yaml = dev.weft(asked.iter().chain(&["-o", "yaml"]))?.ok()?;
        ensure!(
            yaml.contains("apiVersion: weft.dev/v1"),
            "{asked:?}: {yaml}"
        );
    }
    let failures: [(&[&str], i32, &str); 3] = [
        (
            &["describe", "route", "absent", "-o", "json"],
            1,
            "WEFT-6010",
        ),
        (&["stats", "-o", "json"], 2, "WEFT-1016"),
        (
            &["--context", "absent", "status", "-o", "json"],
            2,
            "WEFT-1011",
        ),
    ];
    for (asked, exit, code) in failures {
        let ran = dev.weft(asked)?.exits(exit)?;
        let document: Value =
            serde_json::from_str(&ran.stderr).with_context(|| ran.stderr.clone())?;
        ensure!(document["apiVersion"] == "weft.dev/v1", "{document}");
        ensure!(document["error"]["code"] == code, "{document}");
        for part in ["what", "why", "next"] {
            ensure!(document["error"][part].is_string(), "{part}: {document}");
        }
    }
    let yaml = dev.weft(["explain", "nothing", "-o", "yaml"])?.exits(2)?;
    ensure!(yaml.stderr.contains("code: WEFT-1016"), "{}", yaml.stderr);
    Ok(())
}

fn help_helps(dev: &Dev) -> Result<()> {
    let alone = dev.weft::<&str>([])?.ok()?;
    ensure!(
        alone.contains("weft top") && !alone.contains("Usage"),
        "{alone}"
    );
    dev.weft(["help"])?.exits(0)?.says("Usage: weft")?;
    dev.weft(["help", "exit-codes"])?
        .exits(0)?
        .says("safe to try again")?;
    dev.weft(["help", "environment"])?
        .exits(0)?
        .says("WEFT_CONFIG_DIR")?;
    dev.weft(["help", "output"])?
        .exits(0)?
        .says("standard error")?;
    dev.weft(["help", "resources"])?
        .exits(0)?
        .says("trafficpolicies")?;
    dev.weft(["help", "raft", "transfer"])?
        .exits(0)?
        .says("Hand leadership")?;
    dev.weft(["help", "tranfser"])?
        .exits(2)?
        .says("weft help")?;
    let pages = dev.scratch().join("man1");
    let folder = pages.display().to_string();
    dev.weft(["man", &folder])?.exits(0)?;
    let page = pages.join("weft-events.1").display().to_string();
    let mut man = Command::new("man");
    let shown = run(man.args(["-l", "-P", "cat", &page]))?.ok()?;
    ensure!(
        shown.contains("SYNOPSIS") && shown.contains("--since"),
        "{shown}"
    );
    Ok(())
}

fn progress_is_told(dev: &Dev) -> Result<()> {
    let never = ["wait", "serviceexport/shop/never", "--timeout", "2s"];
    dev.weft(never)?
        .exits(5)?
        .says("... waiting for serviceexport/shop/never to exist")?;
    let quiet = dev.weft(["-q"].iter().chain(&never))?.exits(5)?;
    ensure!(!quiet.stderr.contains("..."), "{}", quiet.stderr);
    // One check fails by design: the planted fault.
    dev.weft(["--cluster", "ap-south-1", "check", "--wait", "2s"])?
        .exits(3)?
        .says("checks fail")?;
    Ok(())
}

/// A secret that no report may hold, as a header's value.
const CANARY: &str = "canary-7Qx9-header";

fn a_report_keeps_secrets(dev: &Dev) -> Result<()> {
    dev.apply(
        "us-east-1",
        &format!(
            "apiVersion: weft.dev/v1\nkind: Route\nmetadata: {{ namespace: shop, name: canary }}\n\
             spec:\n  parentRefs: [{{ kind: Service, name: ledger }}]\n  rules:\n  - backendRefs: [{{ name: ledger, port: 80 }}]\n    filters:\n    \
             - type: RequestHeaderModifier\n      requestHeaderModifier: {{ set: [{{ name: x-canary, value: {CANARY} }}] }}\n"
        ),
    )?;
    let token = dev
        .weft([
            "cluster",
            "token",
            "create",
            "--cluster",
            "sa-east-1",
            "--region",
            "sa-east",
        ])?
        .ok()?;
    // As a careless program would have logged it.
    let log = dev.folder().join("logs/canary.log");
    fs::write(&log, format!("joining with --token {token}\n"))?;
    let report = dev.scratch().join("report");
    let folder = report.display().to_string();
    let asked = dev.weft(["bug-report", &folder])?.exits(6)?;
    ensure!(
        asked.stderr.contains("status.json") && asked.stderr.contains("taken out:"),
        "{}",
        asked.stderr
    );
    ensure!(!report.exists(), "written without consent");
    dev.weft(["bug-report", &folder, "--yes"])?.exits(0)?;
    dev.weft(["bug-report", &folder, "--yes"])?
        .exits(2)?
        .says("exists already")?;
    let file = dev.scratch().join("report.tar.gz").display().to_string();
    dev.weft(["bug-report", "-f", &file, "--yes"])?.exits(0)?;
    let listed = run(Command::new("tar").args(["tzf", &file]))?.ok()?;
    for part in [
        "version.json",
        "events.json",
        "resources/routes.json",
        "clusters/eu-west-1/status.json",
        "clusters/ap-south-1/check.json",
        "clusters/us-east-1/raft.json",
        "metrics/127.1.0.1_7480.txt",
        "dev/logs/canary.log",
        "dev/us-east-1/gw-1/gateway.yaml",
    ] {
        ensure!(listed.contains(part), "no {part} among\n{listed}");
        let path = report.join(part);
        ensure!(fs::metadata(&path)?.len() > 0, "{part} is empty");
    }
    let whole = everything(&report)?;
    ensure!(whole.contains("x-canary"), "the route is not there");
    for secret in secrets(dev, &token)? {
        ensure!(!whole.contains(&secret), "{secret:?} got into the report");
    }
    Ok(())
}

/// The text of every file below a folder.
fn everything(folder: &Path) -> Result<String> {
    let mut whole = String::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => whole.push_str(&everything(&path)?),
            false => whole.push_str(&fs::read_to_string(&path)?),
        }
    }
    Ok(whole)
}

/// The canaries, and what of the context only its owner may see.
fn secrets(dev: &Dev, token: &str) -> Result<Vec<String>> {
    let (_, secret) = token.split_once('.').context("a token")?;
    let mut secrets = vec![CANARY.to_owned(), secret.to_owned()];
    let contexts = fs::read_to_string(dev.scratch().join("config/config.yaml"))?;
    let seed = contexts.split_once("signingSeed:").context("a seed")?.1;
    let seed = seed.lines().next().context("a seed")?;
    secrets.push(seed.trim_matches([' ', '"', '\'']).to_owned());
    let (_, key) = contexts.split_once("PRIVATE KEY-----").context("a key")?;
    let (key, _) = key.split_once("-----END").context("its end")?;
    // A line of the block may end with an escape, as the file's writer chose.
    let lines = key
        .split(['\n', '\\'])
        .map(|line| line.trim().trim_start_matches('n'));
    secrets.extend(lines.filter(|line| line.len() > 20).map(str::to_owned));
    ensure!(secrets.len() > 3, "no key in the context");
    Ok(secrets)
}
