//! Bad input ends in what, why and next step, with its code and exit status, and
//! changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use weft_test_support::{Cases, Dev, command, isolated, kill, wait_until_gone};

#[test]
fn bad_input_is_refused_and_changes_nothing() -> Result<()> {
    isolated("bad_input_is_refused_and_changes_nothing", || {
        Dev::with(&["--wan", "off"], |dev| {
            let mut cases = Cases::default();
            cases.run("a misspelt field", || misspelt(dev));
            cases.run("a kind that is not enforced", || not_enforced(dev));
            cases.run("a token used twice", || token_twice(dev));
            cases.run("a token for two at once", || token_race(dev));
            cases.run("a damaged token", || damaged_token(dev));
            cases.run("a state folder of another cluster", || foreign_state(dev));
            cases.run("a damaged state folder", || damaged_states(dev));
            cases.run("an unknown cluster", || unknown_cluster(dev));
            cases.run("a stale index", || stale_index(dev));
            cases.run("a gateway that is no member", || no_member(dev));
            cases.run("a port in use", || port_in_use(dev));
            cases.run("all or nothing of several", || all_or_nothing(dev));
            cases.run("what is no token, no text, no time", || nonsense(dev));
            cases.run("programs read errors too", || machine_readable(dev));
            cases.verdict()
        })
    })
}

const EXPORT: &str = "\
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: refused }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
";

fn file(dev: &Dev, name: &str, text: &str) -> Result<String> {
    let path = dev.scratch().join(name);
    fs::write(&path, text)?;
    Ok(path.to_str().context("a path in UTF-8")?.to_owned())
}

fn misspelt(dev: &Dev) -> Result<()> {
    // The first document is sound: not even that may be applied.
    let text = format!("{EXPORT}---\n{}", EXPORT.replace("exportTo", "exportTwo"));
    let path = file(dev, "misspelt.yaml", &text)?;
    let refused = dev.weft(["apply", "-f", &path])?.exits(2)?;
    refused
        .says("misspelt.yaml:13:3")?
        .says("WEFT-1003")?
        .says("`exportTo`")?;
    let exports = dev.weft(["get", "serviceexports", "-o", "name"])?.ok()?;
    ensure!(!exports.contains("refused"), "{exports}");
    Ok(())
}

fn not_enforced(dev: &Dev) -> Result<()> {
    let limit =
        "apiVersion: weft.dev/v1\nkind: ConcurrencyLimit\nmetadata: { name: x }\nspec: {}\n";
    let judged = "\
apiVersion: weft.dev/v1
kind: Release
metadata: { namespace: shop, name: v2 }
spec:
  service: checkout
  stable: v1
  canary: v2
  waves: [{ name: all, regions: ['*'], steps: [{ setWeight: 5 }] }]
  analysis: { minRequests: 500 }
";
    for (called, text) in [("limit.yaml", limit), ("release.yaml", judged)] {
        let path = file(dev, called, text)?;
        dev.weft(["apply", "-f", &path])?
            .exits(2)?
            .says("WEFT-1005")?;
    }
    Ok(())
}

/// The configuration of a cluster's gateway, at 127.4.0.`host`.
fn newcomer(dev: &Dev, cluster: &str, name: &str, host: u8) -> Result<PathBuf> {
    let net = 66 + u16::from(host);
    let folder = dev.scratch().join(name);
    fs::create_dir_all(&folder)?;
    let text = format!(
        "\
apiVersion: weft.dev/v1
kind: GatewayConfig
metadata: {{ name: {name} }}
spec:
  cluster: {cluster}
  region: sa-east
  stateDir: state
  tunnel: {{ bind: 127.4.0.{host}:7443 }}
  api: {{ bind: 127.4.0.{host}:7444 }}
  relay: {{ bind: 127.4.0.{host}:7445 }}
  dns: {{ bind: 127.4.0.{host}:8653 }}
  console: {{ bind: 127.4.0.{host}:7480 }}
  virtualIPs: {{ ipv4: 127.{net}.0.0/16 }}
  standIn: {{ inbound: {{ bind: 127.4.0.{host}:7446 }} }}
"
    )
    .replace(
        "stateDir: state",
        &format!("stateDir: {}", folder.join("state").display()),
    );
    let path = folder.join("gateway.yaml");
    fs::write(&path, text)?;
    Ok(path)
}

fn token(dev: &Dev, cluster: &str) -> Result<String> {
    let args = [
        "cluster",
        "token",
        "create",
        "--cluster",
        cluster,
        "--region",
        "sa-east",
    ];
    dev.weft(args)?.ok()
}

fn join(dev: &Dev, token: &str, config: &PathBuf) -> std::process::Command {
    let mut join = dev.command(["cluster", "join", "127.1.0.1:7444", "--config"]);
    join.arg(config).env("WEFT_JOIN_TOKEN", token);
    join
}

fn token_twice(dev: &Dev) -> Result<()> {
    let token = token(dev, "sa-east-1")?;
    weft_test_support::run(&mut join(
        dev,
        &token,
        &newcomer(dev, "sa-east-1", "gw-1", 1)?,
    ))?
    .ok()?;
    let second = weft_test_support::run(&mut join(
        dev,
        &token,
        &newcomer(dev, "sa-east-1", "gw-2", 2)?,
    ))?;
    second.exits(6)?.says("WEFT-2003")?;
    Ok(())
}

fn token_race(dev: &Dev) -> Result<()> {
    let token = token(dev, "sa-east-2")?;
    let (left, right) = (
        newcomer(dev, "sa-east-2", "gw-3", 3)?,
        newcomer(dev, "sa-east-2", "gw-4", 4)?,
    );
    let outcomes: Vec<Option<i32>> = std::thread::scope(|scope| {
        let racers = [left, right].map(|config| {
            let mut join = join(dev, &token, &config);
            scope.spawn(move || weft_test_support::run(&mut join))
        });
        racers
            .map(|racer| {
                racer
                    .join()
                    .ok()
                    .and_then(Result::ok)
                    .and_then(|ran| ran.status.code())
            })
            .into()
    });
    let winners = outcomes
        .iter()
        .filter(|outcome| **outcome == Some(0))
        .count();
    ensure!(winners == 1 && outcomes.contains(&Some(6)), "{outcomes:?}");
    Ok(())
}

fn damaged_token(dev: &Dev) -> Result<()> {
    let token = token(dev, "sa-east-3")?;
    let shorter = &token[..token.len() - 1];
    let refused = weft_test_support::run(&mut join(
        dev,
        shorter,
        &newcomer(dev, "sa-east-3", "gw-5", 5)?,
    ))?;
    refused.exits(2)?.says("WEFT-2006")?;
    Ok(())
}

fn foreign_state(dev: &Dev) -> Result<()> {
    let text = fs::read_to_string(newcomer(dev, "sa-east-4", "gw-6", 6)?)?;
    let state = dev.folder().join("eu-west-1/gw-1/state");
    let own = dev.scratch().join("gw-6/state");
    let path = file(
        dev,
        "foreign.yaml",
        &text.replace(&own.display().to_string(), &state.display().to_string()),
    )?;
    dev.weft(["gateway", "run", "--config", &path])?
        .exits(1)?
        .says("WEFT-1008")?;
    Ok(())
}

/// What may have happened to a copy of a state folder.
type Harm = fn(&Dev, &Path) -> Result<()>;

const HARMS: &[(&str, Harm, &str)] = &[
    (
        "the log cut in half",
        |_, state| {
            let log = OpenOptions::new().write(true).open(state.join(LOG))?;
            Ok(log.set_len(log.metadata()?.len() / 2)?)
        },
        "WEFT-1009",
    ),
    (
        "the log empty",
        |_, state| Ok(fs::write(state.join(LOG), "")?),
        "WEFT-1009",
    ),
    (
        "the log gone",
        |_, state| Ok(fs::remove_file(state.join(LOG))?),
        "WEFT-1009",
    ),
    (
        "a flipped bit in the log",
        |_, state| flip(&state.join(LOG), 3),
        "WEFT-1009",
    ),
    (
        "another gateway's log",
        |dev, state| {
            let other = dev.folder().join("us-east-1/gw-2/state").join(LOG);
            fs::copy(other, state.join(LOG))?;
            Ok(())
        },
        "WEFT-1008",
    ),
    (
        "a flipped bit in a key",
        |_, state| flip(&state.join("keys/svid.key"), 60),
        "WEFT-2010",
    ),
    (
        "a flipped bit in the signing key",
        |_, state| flip(&state.join("keys/signing.key"), 50),
        "WEFT-2010",
    ),
    (
        "a flipped bit in the membership",
        |_, state| flip(&state.join("member.pb"), 200),
        "WEFT-1009",
    ),
    (
        "half a membership",
        |_, state| {
            let bytes = fs::read(state.join("member.pb"))?;
            Ok(fs::write(
                state.join("member.pb"),
                &bytes[..bytes.len() / 2],
            )?)
        },
        "WEFT-1009",
    ),
];

const LOG: &str = "registry/registry.redb";

fn flip(path: &Path, at: usize) -> Result<()> {
    let mut bytes = fs::read(path)?;
    bytes[at] ^= 0x10;
    Ok(fs::write(path, bytes)?)
}

/// Copies of a gateway's folder, each harmed in its own way: all are refused, with the code
/// that tells what is wrong, and left as they were found.
fn damaged_states(dev: &Dev) -> Result<()> {
    let pids: Vec<u32> = [("eu-west-1", "gw-1"), ("us-east-1", "gw-2")]
        .into_iter()
        .filter_map(|(cluster, name)| dev.gateway(cluster, name).ok()?.pid)
        .collect();
    pids.iter().try_for_each(|pid| kill(*pid))?;
    wait_until_gone(&pids)?;
    let original = dev.folder().join("eu-west-1/gw-1/state");
    let text = fs::read_to_string(newcomer(dev, "eu-west-1", "gw-7", 7)?)?;
    let own = dev.scratch().join("gw-7/state").display().to_string();
    let text = text.replace("{ name: gw-7 }", "{ name: gw-1 }");
    for (number, (what, harm, code)) in HARMS.iter().enumerate() {
        let state = dev.scratch().join(format!("harmed-{number}"));
        let (from, to) = (original.display().to_string(), state.display().to_string());
        weft_test_support::run(&mut command(["cp", "-a", &from, &to]))?.ok()?;
        harm(dev, &state)?;
        let before = contents(&state)?;
        let config = file(dev, "harmed.yaml", &text.replace(&own, &to))?;
        let refused = dev.weft(["gateway", "run", "--config", &config])?;
        let said = refused.exits(1).and_then(|refused| refused.says(code));
        let said = said.with_context(|| (*what).to_owned())?;
        said.says("  next  ")?;
        ensure!(
            contents(&state)? == before,
            "{what}: the folder was changed"
        );
    }
    dev.weft(["dev", "heal"])?.ok()?;
    Ok(())
}

/// Every file under a folder, with its bytes.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(contents(&path)?);
        } else {
            let bytes = fs::read(&path)?;
            found.insert(path, bytes);
        }
    }
    Ok(found)
}

fn unknown_cluster(dev: &Dev) -> Result<()> {
    dev.weft(["dev", "break", "cluster", "mars-1"])?
        .exits(2)?
        .says("us-east-1, eu-west-1, ap-south-1")?;
    Ok(())
}

fn stale_index(dev: &Dev) -> Result<()> {
    let path = file(dev, "export.yaml", EXPORT)?;
    dev.weft(["apply", "-f", &path, "--if-index", "1"])?
        .exits(6)?
        .says("WEFT-6004")?;
    Ok(())
}

fn no_member(dev: &Dev) -> Result<()> {
    let config = newcomer(dev, "sa-east-8", "gw-8", 8)?;
    let config = config.to_str().context("a path in UTF-8")?;
    dev.weft(["gateway", "run", "--config", config])?
        .exits(6)?
        .says("WEFT-1014")?
        .says("weft cluster join")?;
    Ok(())
}

fn port_in_use(dev: &Dev) -> Result<()> {
    let config = newcomer(dev, "sa-east-9", "gw-9", 9)?;
    let path = config.to_str().context("a path in UTF-8")?;
    let init = [
        "cluster",
        "init",
        "--domain",
        "third.example.org",
        "--admin",
        "eve",
    ];
    dev.weft(
        init.into_iter()
            .chain(["--save-as", "third", "--config", path]),
    )?
    .ok()?;
    dev.weft(["context", "use", "dev"])?.ok()?;
    let _taken = std::net::TcpListener::bind("127.4.0.9:7444")?;
    dev.weft(["gateway", "run", "--config", path])?
        .exits(1)?
        .says("WEFT-1007")?
        .says("127.4.0.9:7444")?;
    Ok(())
}

/// The gateway refuses the second: the first is not applied either.
fn all_or_nothing(dev: &Dev) -> Result<()> {
    let first = EXPORT.replace("name: refused", "name: sound");
    let absent = "\
apiVersion: weft.dev/v1
kind: Cluster
metadata: { name: mars-1 }
spec: { region: mars, virtualIPs: { ipv4: 127.99.0.0/16 } }
";
    let path = file(dev, "several.yaml", &format!("{first}---\n{absent}"))?;
    let refused = dev.weft(["apply", "-f", &path])?;
    refused.exits(6)?.says("nothing was applied")?;
    let exports = dev.weft(["get", "serviceexports", "-o", "name"])?.ok()?;
    ensure!(!exports.contains("sound"), "{exports}");
    Ok(())
}

fn nonsense(dev: &Dev) -> Result<()> {
    let config = newcomer(dev, "sa-east-10", "gw-10", 10)?;
    let refused = weft_test_support::run(&mut join(dev, "foo", &config))?;
    refused.exits(2)?.says("WEFT-2006")?.says("begin with")?;
    let create = [
        "cluster",
        "token",
        "create",
        "--cluster",
        "x",
        "--region",
        "y",
    ];
    dev.weft(create.into_iter().chain(["--ttl", "0s"]))?
        .exits(2)?;
    let path = dev.scratch().join("latin1.yaml");
    fs::write(&path, b"kind: Stra\xdfe\n")?;
    let path = path.to_str().context("a path in UTF-8")?;
    dev.weft(["apply", "-f", path])?
        .exits(2)?
        .says("not text in UTF-8")?;
    dev.weft(["get", "serviceexport", "nothing"])?
        .exits(1)?
        .says("WEFT-6010")?;
    Ok(())
}

fn machine_readable(dev: &Dev) -> Result<()> {
    let failed = dev.weft(["explain", "WEFT-0000", "-o", "json"])?.exits(2)?;
    let error: serde_json::Value = serde_json::from_str(&failed.stderr)?;
    ensure!(error["error"]["code"] == "WEFT-1016", "{error}");
    for command in [
        &["version", "-o", "json"][..],
        &["explain", "WEFT-6001", "-o", "json"],
        &["raft", "members", "-o", "json"],
    ] {
        dev.weft(command)?.json()?;
    }
    Ok(())
}
