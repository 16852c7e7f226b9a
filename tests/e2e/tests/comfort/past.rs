//! `--as-of`: each read says of then what it said then, or says why it cannot.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use weft_test_support::{Dev, SOON, eventually, run};

fn export(name: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1\nkind: ServiceExport\n\
         metadata: {{ namespace: shop, name: {name} }}\n\
         spec: {{ exportTo: ['*'], ports: [{{ port: 80, appProtocol: http }}] }}\n"
    )
}

/// Redirects every request for the service.
fn route(name: &str, status: u16) -> String {
    format!(
        "apiVersion: weft.dev/v1\nkind: Route\n\
         metadata: {{ namespace: shop, name: {name} }}\n\
         spec: {{ parentRefs: [{{ name: {name} }}], rules: [{{ filters: \
         [{{ type: RequestRedirect, requestRedirect: {{ path: {{ type: ReplaceFullPath, replaceFullPath: /at }}, statusCode: {status} }} }}] }}] }}\n"
    )
}

/// Of a service that nobody serves, so that nobody's requests change.
const RELEASE: &str = "\
apiVersion: weft.dev/v1
kind: Release
metadata: { namespace: shop, name: bygone-v2 }
spec:
  service: bygone
  stable: v1
  canary: v2
  audience:
    stickiness: { by: Header, name: x-user-id, missing: Stable }
  waves: [{ name: eu, regions: [eu-west], steps: [{ setWeight: 10 }, { setWeight: 50 }] }]
";

/// What is printed of then as it was printed then, to the byte.
const SAME: [&[&str]; 10] = [
    &["history", "route/shop/bygone"],
    &["events"],
    &["events", "--since", "1h"],
    &["events", "--for", "route/shop/bygone", "-o", "name"],
    &["cluster", "token", "list"],
    &["release", "history", "bygone-v2"],
    &["release", "list"],
    &["get", "routes", "-o", "json"],
    &["get", "rolebindings"],
    &["describe", "release", "bygone-v2"],
];

pub(crate) fn is_read(dev: &Dev) -> Result<()> {
    let token = begin(dev)?;
    let then = eventually("what is printed now, all of one index", SOON, || {
        Then::look(dev)
    })?;
    go_on(dev, &token)?;
    then.is_read_again(dev)?;
    what_is_live_has_none(dev, &then.index)?;
    for (kind, name) in [
        ("release", "bygone-v2"),
        ("route", "bygone"),
        ("serviceexport", "bygone"),
    ] {
        dev.weft(["delete", kind, name, "-n", "shop"])?.ok()?;
    }
    Ok(())
}

/// What is there then: an open token, a route, a release at its first stage.
fn begin(dev: &Dev) -> Result<String> {
    dev.apply("us-east-1", &export("bygone"))?;
    dev.apply("us-east-1", &route("bygone", 301))?;
    let release = file(dev, "bygone-v2.yaml", RELEASE)?;
    // Format levels are raised once everybody is there.
    eventually("the release starts", SOON, || {
        dev.weft(["release", "start", "--force", "-f", &release])?
            .ok()
    })?;
    let create = ["cluster", "token", "create"];
    let whom = ["--cluster", "bygone-1", "--region", "sa-east"];
    dev.weft(create.iter().chain(&whom))?.ok()?;
    let tokens = dev
        .weft(["cluster", "token", "list", "-o", "json"])?
        .json()?;
    let mut items = tokens["items"].as_array().context("no items")?.iter();
    let token = items.find(|item| item["cluster"] == "bygone-1");
    let id = token.and_then(|token| token["id"].as_str());
    Ok(id
        .with_context(|| format!("no token: {tokens}"))?
        .to_owned())
}

/// What is otherwise afterwards.
fn go_on(dev: &Dev, token: &str) -> Result<()> {
    dev.apply("us-east-1", &route("bygone", 302))?;
    dev.apply("us-east-1", &export("newcome"))?;
    dev.weft(["delete", "serviceexport", "newcome", "-n", "shop"])?
        .ok()?;
    dev.weft(["release", "promote", "bygone-v2"])?.ok()?;
    dev.weft(["release", "abort", "bygone-v2"])?.ok()?;
    dev.weft(["cluster", "token", "revoke", token])?.ok()?;
    Ok(())
}

fn file(dev: &Dev, name: &str, text: &str) -> Result<String> {
    let path = dev.scratch().join(name);
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// What was printed at one index.
struct Then {
    index: String,
    /// By [`SAME`].
    texts: Vec<String>,
    status: Value,
    services: Value,
    release: Value,
    explained: Value,
    met: Value,
    routed: Value,
}

const EXPLAIN: [&str; 3] = ["release", "explain", "bygone-v2"];
const WHO: [&str; 5] = ["release", "who", "bygone-v2", "--client", "ana"];
const ROUTE: [&str; 4] = ["route", "explain", "GET", "http://bygone.shop/"];

impl Then {
    fn look(dev: &Dev) -> Result<Self> {
        let json = |asked: &[&str]| dev.weft(asked.iter().chain(&["-o", "json"]))?.json();
        // A planted fault makes it exit 1.
        let status = || -> Result<Value> {
            let ran = dev.weft(["status", "-o", "json"])?;
            serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))
        };
        let applied = |status: &Value| status["freshness"]["appliedIndex"].as_u64();
        let before = status()?;
        let texts = SAME.map(|asked| dev.weft(asked)?.ok());
        let then = Self {
            index: applied(&before).context("no index")?.to_string(),
            texts: texts.into_iter().collect::<Result<_>>()?,
            services: json(&["service", "list"])?,
            release: json(&["release", "status", "bygone-v2"])?,
            explained: json(&EXPLAIN)?,
            met: json(&WHO)?,
            routed: json(&ROUTE)?,
            status: before,
        };
        let after = status()?;
        ensure!(applied(&after) == applied(&then.status), "it went on");
        ensure!(then.texts[4].contains("open"), "{}", then.texts[4]);
        Ok(then)
    }

    fn is_read_again(&self, dev: &Dev) -> Result<()> {
        let of_then = ["--as-of", &*self.index];
        for (asked, text) in SAME.iter().zip(&self.texts) {
            let now = dev.weft(*asked)?.ok()?;
            let then = dev.weft(asked.iter().chain(&of_then))?.ok()?;
            ensure!(then == *text, "{asked:?}:\n{then}\nnot\n{text}");
            let stays = *asked == SAME[8];
            ensure!(stays || now != then, "{asked:?} is the same by now");
        }
        let json = |asked: &[&str]| {
            let words = asked.iter().chain(&of_then).chain(&["-o", "json"]);
            dev.weft(words)?.json()
        };
        self.status_is(dev, &json(&["status"])?)?;
        let past = json(&["service", "list"])?;
        let parts = ["name", "type", "ports", "virtualIps", "exporters"];
        let exported = exported(&self.services["items"])?;
        same(&json!(exported), &past["items"], &parts)?;
        ensure!(!past.to_string().contains("\"ready\""), "{past}");
        let release = json(&["release", "status", "bygone-v2"])?;
        for part in ["phase", "stage", "stages", "next", "history", "audience"] {
            let (then, past) = (&self.release[part], &release[part]);
            ensure!(then == past, "{part}: {past}, not {then}");
        }
        let parts = ["wave", "region", "state", "step", "percent", "why"];
        same(&self.release["places"], &release["places"], &parts)?;
        let screen = ["release", "status", "bygone-v2"];
        let screen = dev.weft(screen.iter().chain(&of_then))?.ok()?;
        ensure!(screen.contains("not recorded: requests"), "{screen}");
        for live in ["Next: weft", "SUCCESS"] {
            ensure!(!screen.contains(live), "{screen}");
        }
        for (asked, then) in [
            (&EXPLAIN[..], &self.explained),
            (&WHO, &self.met),
            (&ROUTE, &self.routed),
        ] {
            let past = json(asked)?;
            ensure!(past["result"] == then["result"], "{past}, not {then}");
            ensure!(past.to_string().contains("not recorded"), "{past}");
        }
        self.files_are_compared(dev)?;
        self.at_its_time(dev)
    }

    /// What is recorded of the whole, and no word of the rest.
    fn status_is(&self, dev: &Dev, past: &Value) -> Result<()> {
        let index = past["asOf"]["index"].to_string();
        ensure!(index == self.index, "{past}");
        let parts = ["name", "region", "role", "gateways", "drain", "api"];
        same(&self.status["clusters"], &past["clusters"], &parts)?;
        let members = &self.status["raft"]["members"];
        same(members, &past["gateways"], &["node", "cluster", "gateway"])?;
        let exported = exported(&self.status["services"])?;
        let parts = ["name", "type", "ports", "virtualIps", "exporters"];
        same(&json!(exported), &past["services"], &parts)?;
        ensure!(past["releases"][0]["name"] == "shop/bygone-v2", "{past}");
        ensure!(past["format"].as_u64() > Some(1), "{past}");
        for live in ["raft", "problems", "disk", "certificateExpiresMs"] {
            ensure!(past.get(live).is_none(), "{live}: {past}");
        }
        ensure!(past["notRecorded"].to_string().contains("who led"));
        let screen = dev.weft(["status", "--as-of", &self.index])?.ok()?;
        let head = format!("as of index {}", self.index);
        for part in [&*head, "not recorded: ", "shop/bygone-v2", "us-east-1/gw-2"] {
            ensure!(screen.contains(part), "{part}: {screen}");
        }
        Ok(())
    }

    fn files_are_compared(&self, dev: &Dev) -> Result<()> {
        let diff = |status: u16| {
            let file = file(dev, "bygone.yaml", &route("bygone", status))?;
            let now = dev.weft(["diff", "-f", &file])?;
            let then = dev.weft(["diff", "-f", &file, "--as-of", &self.index])?;
            Ok::<_, anyhow::Error>((now, then))
        };
        let (now, then) = diff(301)?;
        now.exits(1)?.says("--if-index")?;
        then.exits(0)?;
        let (now, then) = diff(302)?;
        now.exits(0)?;
        let then = then.exits(1)?.says("what was recorded then")?;
        let shown = ["~ Route shop/bygone", "301", "→", "302"];
        let all = shown.iter().all(|part| then.stdout.contains(part));
        ensure!(all, "{then:?}");
        ensure!(!then.stderr.contains("--if-index"), "{then:?}");
        Ok(())
    }

    /// By the time of its last entry it is the same moment.
    fn at_its_time(&self, dev: &Dev) -> Result<()> {
        let status = ["status", "-o", "json", "--as-of", &self.index];
        let status = dev.weft(status)?.json()?;
        let ms = status["asOf"]["timeMs"].as_u64().context("no time")?;
        let at = format!("@{}.{:03}", ms / 1000, ms % 1000);
        let mut date = Command::new("date");
        let time = run(date.args(["-u", "-d", &at, "+%FT%T.%3NZ"]))?.ok()?;
        let of_then = ["--as-of", &*time];
        for (asked, text) in SAME.iter().zip(&self.texts) {
            let then = dev.weft(asked.iter().chain(&of_then))?.ok()?;
            ensure!(then == *text, "{asked:?} at {time}:\n{then}\nnot\n{text}");
        }
        Ok(())
    }
}

/// The services that are there by more than registration.
fn exported(services: &Value) -> Result<Vec<Value>> {
    let services = services.as_array().context("no services")?.iter();
    let exported = services.filter(|service| service["type"] != "Local");
    Ok(exported.cloned().collect())
}

/// Two lists, as far as these fields go.
fn same(then: &Value, past: &Value, fields: &[&str]) -> Result<()> {
    let parts = |list: &Value| -> Result<Vec<Vec<Value>>> {
        let items = list
            .as_array()
            .with_context(|| format!("no list: {list}"))?;
        let part = |item: &Value| fields.iter().map(|field| item[*field].clone()).collect();
        Ok(items.iter().map(part).collect())
    };
    let (then, past) = (parts(then)?, parts(past)?);
    ensure!(!then.is_empty() && then == past, "{past:?}, not {then:?}");
    Ok(())
}

fn what_is_live_has_none(dev: &Dev, index: &str) -> Result<()> {
    for (asked, why) in [
        (&["top"][..], "traffic is not recorded"),
        (&["edges"], "who called whom"),
        (&["netcheck"], "paths between gateways"),
        (&["raft", "leader"], "weft status --as-of"),
        (
            &["service", "endpoints", "shop/checkout"],
            "weft service list --as-of",
        ),
        (
            &["dns", "explain", "checkout.shop.svc.clusterset.local"],
            "virtual IPs",
        ),
        (&["history", "--verify"], "--verify judges all"),
        (&["events", "-w"], "goes on with what comes"),
    ] {
        dev.weft(asked.iter().chain(&["--as-of", index]))?
            .exits(2)?
            .says("WEFT-6031")?
            .says(why)?;
    }
    Ok(())
}
