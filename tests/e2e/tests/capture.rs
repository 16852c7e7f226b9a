//! Transparent capture: programs that know nothing of it, under a user of their own,
//! and a resolver that is not there.
//!
//! Everything shares one network namespace, in which the kernel tells programs apart
//! by their user: the federation is root's, the captured client another's, its sidecar
//! a third's.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use weft_test_support::{
    Background, Cases, Dev, PostgreSql, Ran, SOON, as_user, command, eventually, isolated, kill,
    redis, run, use_resolver, weft_binary,
};

/// The captured programs' user.
const CLIENT: u32 = 1001;
/// The sidecar's user.
const SIDECAR: u32 = 1337;
/// Where their resolver should be, and nobody is.
const RESOLVER: &str = "127.0.0.53";
/// There is none in their own cluster, ap-south-1.
const PAYMENTS: &str = "payments.shop.svc.clusterset.local";
/// In the captured ranges, and no service's.
const STRANGERS: [&str; 2] = ["127.66.200.1", "fd00:77::1"];
/// The sidecar's own port for what is captured.
const CAPTURE: &str = "127.0.0.1:15002";

const ORDERS: &str = include_str!("../../../cli/samples/orders-db.yaml");
const SESSIONS: &str = include_str!("../../../cli/samples/sessions.yaml");

#[test]
fn programs_are_captured_and_let_go() -> Result<()> {
    isolated("programs_are_captured_and_let_go", || {
        Dev::with(&[], |dev| {
            use_resolver(RESOLVER)?;
            run(&mut command([
                "ip",
                "address",
                "add",
                "fd00:77::1/128",
                "dev",
                "lo",
            ]))?
            .ok()?;
            let sidecar = Sidecar::start(dev)?;
            let mut cases = Cases::default();
            cases.run("a dry run prints rules and changes nothing", || {
                sidecar.dry_run()
            });
            cases.run("on, twice, is as configured", || sidecar.on_twice());
            cases.run("dig and glibc find names, over UDP and TCP", names);
            cases.run("curl reaches another cluster", || sidecar.curl());
            cases.run("psql reaches another cluster", || postgresql(dev));
            cases.run("redis-cli reaches another cluster", || key_values(dev));
            cases.run("what is no service's passes through, IPv4 and IPv6", || {
                sidecar.strangers()
            });
            cases.run("traffic to elsewhere is not captured", || {
                sidecar.elsewhere()
            });
            cases.run("nothing of the sidecar's own user is captured", exempt);
            cases.run("the capture's own port is no way in", || sidecar.own_port());
            cases.run("rules that were changed by hand are seen", || {
                sidecar.tampered(dev)
            });
            cases.run(
                "another user's sidecar and a user without rights are refused",
                || sidecar.refusals(dev),
            );
            cases.run("a killed sidecar takes only what is captured along", || {
                sidecar.killed(dev)
            });
            cases.run("off takes everything back, and only that", || off(dev));
            cases.verdict()
        })
    })
}

/// The client's sidecar, which is none of `weft dev`'s.
struct Sidecar {
    process: Background,
    config: PathBuf,
    binary: PathBuf,
}

impl Sidecar {
    fn start(dev: &Dev) -> Result<Self> {
        let gateway = dev.gateway("ap-south-1", "gw-1")?;
        let token = ["--cluster", "ap-south-1", "identity", "token", "create"];
        let token = dev.weft(token.into_iter().chain(["--workload", "shop/client"]))?;
        let folder = dev.scratch().join("captured");
        fs::create_dir(&folder)?;
        fs::write(folder.join("token"), token.ok()?)?;
        let config = folder.join("sidecar.yaml");
        fs::write(
            &config,
            format!(
                "\
apiVersion: weft.dev/v1
kind: SidecarConfig
spec:
  workload: {{ namespace: shop, serviceAccount: client }}
  gateways: [\"{api}\"]
  enrolment: {{ tokenFile: {folder}/token }}
  stateDir: {folder}/state
  workers: 1
  inbound: {{ bind: \"127.3.9.9:15006\" }}
  capture:
    uid: {SIDECAR}
    ranges: [127.66.0.0/16, \"fd00:77::/64\"]
    # The first is not there: questions go on to the second.
    dns: {{ servers: [\"127.3.9.8:53\", \"{dns}\"] }}
",
                api = gateway.api,
                dns = gateway.dns,
                folder = folder.display(),
            ),
        )?;
        let owner = format!("{SIDECAR}:{SIDECAR}");
        run(command(["chown", "-R", &owner]).arg(&folder))?.ok()?;
        let binary = weft_binary()?;
        let mut sidecar = as_user(SIDECAR, [&binary]);
        sidecar.args(["sidecar", "run", "--config"]).arg(&config);
        let mut process = Background::start(&mut sidecar, &dev.scratch().join("sidecar.log"))?;
        eventually("the sidecar knows the services", SOON, || {
            process.still_runs()?;
            curl_as(0, "http://127.0.0.1:15020/readyz")?.ok()
        })?;
        Ok(Self {
            process,
            config,
            binary,
        })
    }

    fn capture(&self, args: &[&str]) -> Result<Ran> {
        let mut capture = Command::new(&self.binary);
        run(capture
            .arg("capture")
            .args(args)
            .arg("--config")
            .arg(&self.config))
    }

    fn dry_run(&self) -> Result<()> {
        self.capture(&["on", "--dry-run"])?
            .exits(0)?
            .says("meta skuid 1337 return")?
            .says("redirect to :15053")?;
        ensure!(
            run(&mut command(["nft", "list", "tables"]))?
                .ok()?
                .is_empty()
        );
        self.capture(&["show"])?.exits(1)?.says("capture is off")?;
        // What follows shows something only if nothing is captured without the rules.
        ensure!(dig_as(CLIENT, &[PAYMENTS])?.ok().is_err());
        Ok(())
    }

    fn on_twice(&self) -> Result<()> {
        run(&mut command(["nft", "add", "table", "inet", "somebodys"]))?.ok()?;
        self.capture(&["on"])?.exits(0)?.says("capture is on")?;
        self.capture(&["on"])?.exits(0)?.says("on already")?;
        self.capture(&["show"])?
            .exits(0)?
            .says("as configured")?
            .says("skuid 1337")?;
        let shown = self.capture(&["show", "-o", "json"])?.json()?;
        ensure!(shown["asConfigured"] == true, "{shown}");
        Ok(())
    }

    /// What became of captured connections so far.
    fn captured(&self, result: &str) -> Result<u64> {
        let metrics = curl_as(0, "http://127.0.0.1:15020/metrics")?.ok()?;
        let series = format!("weft_captured_connections_total{{result=\"{result}\"}} ");
        let found = metrics.lines().find_map(|line| line.strip_prefix(&series));
        Ok(found.map_or(Ok(0), str::parse)?)
    }

    fn curl(&self) -> Result<()> {
        let before = self.captured("service")?;
        let url = format!("http://{PAYMENTS}/");
        let body = eventually("an answer by name", SOON, || curl_as(CLIENT, &url)?.ok())?;
        ensure!(body.contains(r#""service":"payments""#), "{body}");
        ensure!(!body.contains(r#""region":"ap-south""#), "{body}");
        ensure!(self.captured("service")? > before, "it went another way");
        Ok(())
    }

    fn strangers(&self) -> Result<()> {
        for ip in STRANGERS {
            let listener = TcpListener::bind((ip, 8099))?;
            let at = listener.local_addr()?.to_string();
            drop(listener);
            let args = [
                "sample",
                "--name",
                "stranger",
                "--version",
                "v1",
                "--region",
                "none",
            ];
            let log = self.config.with_extension("log");
            let mut server = Command::new(&self.binary);
            let _server = Background::start(server.args(args).args(["--listen", &at]), &log)?;
            let before = self.captured("passed")?;
            let body = eventually("the stranger answers", SOON, || {
                curl_as(CLIENT, &format!("http://{at}/"))?.ok()
            })?;
            ensure!(body.contains("stranger"), "{body}");
            ensure!(self.captured("passed")? > before, "{ip} was not captured");
        }
        Ok(())
    }

    fn elsewhere(&self) -> Result<()> {
        let before = self.all()?;
        for url in [
            "http://127.0.0.1:15020/readyz",
            "http://127.3.0.1:7480/healthz",
        ] {
            curl_as(CLIENT, url)?.ok()?;
        }
        // Refused by nobody being there, at once, and not by the sidecar.
        ensure!(curl_as(CLIENT, "http://127.3.9.7:9/")?.status.code() == Some(7));
        ensure!(self.all()? == before, "something was captured");
        Ok(())
    }

    fn all(&self) -> Result<u64> {
        let results = ["service", "passed", "refused"].into_iter();
        results.map(|result| self.captured(result)).sum()
    }

    /// Passed on, such a connection would come back for ever.
    fn own_port(&self) -> Result<()> {
        let before = self.captured("refused")?;
        let refused = curl_as(CLIENT, &format!("http://{CAPTURE}/"))?;
        // Reset before, while or after it asked; 28 would be silence.
        ensure!(
            matches!(refused.status.code(), Some(7 | 52 | 55 | 56)),
            "{refused:?}"
        );
        ensure!(self.captured("refused")? == before + 1);
        Ok(())
    }

    fn tampered(&self, dev: &Dev) -> Result<()> {
        let rule = "tcp dport 1 redirect to :2";
        let add = ["nft", "add", "rule", "inet", "weft", "output"];
        run(command(add).args(rule.split(' ')))?.ok()?;
        self.capture(&["show"])?
            .exits(1)?
            .says("not as configured")?
            .says(rule)?;
        dev.weft(["capture", "show"])?
            .exits(0)?
            .says("capture is on")?;
        self.capture(&["on"])?.exits(0)?;
        self.capture(&["show"])?.exits(0)?;
        Ok(())
    }

    fn refusals(&self, dev: &Dev) -> Result<()> {
        let run_as_root = ["sidecar", "run", "--config"];
        let root = run(Command::new(&self.binary)
            .args(run_as_root)
            .arg(&self.config))?;
        root.exits(2)?.says("runs as user 0")?.says("WEFT-1004")?;
        let mut capture = as_user(CLIENT, [&self.binary]);
        let capture = capture.args(["capture", "on", "--config"]);
        run(capture.arg(&self.config))?
            .exits(6)?
            .says("WEFT-4032")?;
        let plain = dev.scratch().join("plain.yaml");
        let text = fs::read_to_string(&self.config)?;
        let (before, _) = text
            .split_once("  capture:")
            .context("capture is the last")?;
        fs::write(&plain, before)?;
        let plain = plain.display().to_string();
        dev.weft(["capture", "on", "--config", &plain])?
            .exits(2)?
            .says("spec.capture is missing")?;
        Ok(())
    }

    fn killed(&self, dev: &Dev) -> Result<()> {
        kill(self.process.pid())?;
        weft_test_support::wait_until_gone(&[self.process.pid()])?;
        let found = address(dev)?;
        // Refused at once, rather than silent.
        let refused = curl_as(CLIENT, &format!("http://{found}/"))?;
        ensure!(refused.status.code() == Some(7), "{refused:?}");
        ensure!(dig_as(CLIENT, &[PAYMENTS])?.ok().is_err());
        curl_as(CLIENT, "http://127.3.0.1:7480/healthz")?.ok()?;
        self.capture(&["show"])?.exits(0)?;
        self.capture(&["on"])?
            .exits(0)?
            .says("nobody listens on port 15002")?;
        Ok(())
    }
}

/// Without capture the gateway itself answers on the virtual IP, for clients without a sidecar.
fn off(dev: &Dev) -> Result<()> {
    dev.weft(["capture", "off", "--dry-run"])?
        .exits(0)?
        .says("delete table inet weft")?;
    dev.weft(["capture", "off"])?
        .exits(0)?
        .says("capture is off")?;
    dev.weft(["capture", "off"])?
        .exits(0)?
        .says("off already")?;
    dev.weft(["capture", "show"])?.exits(1)?;
    let tables = run(&mut command(["nft", "list", "tables"]))?.ok()?;
    ensure!(tables == "table inet somebodys", "{tables}");
    let found = address(dev)?;
    curl_as(CLIENT, &format!("http://{found}/"))?.ok()?;
    Ok(())
}

/// The service's virtual IP, as the gateway itself tells, on a port that nothing captures.
fn address(dev: &Dev) -> Result<String> {
    let dns = dev.gateway("ap-south-1", "gw-1")?.dns;
    let (ip, port) = dns.rsplit_once(':').context("host:port")?;
    dig_as(0, &[&format!("@{ip}"), "-p", port, PAYMENTS])?.ok()
}

fn names() -> Result<()> {
    let found = dig_as(CLIENT, &[PAYMENTS])?.ok()?;
    ensure!(
        found.starts_with("127.66."),
        "{found:?} is not ap-south-1's"
    );
    ensure!(dig_as(CLIENT, &["+tcp", PAYMENTS])?.ok()? == found);
    ensure!(dig_as(CLIENT, &["@::1", PAYMENTS])?.ok()? == found);
    let glibc = run(&mut as_user(CLIENT, ["getent", "ahostsv4", PAYMENTS]))?.ok()?;
    ensure!(glibc.starts_with(&found), "{glibc}");
    let absent = run(&mut as_user(
        CLIENT,
        ["dig", "nothing.shop.svc.clusterset.local"],
    ))?;
    absent.says("status: NXDOMAIN")?;
    Ok(())
}

fn exempt() -> Result<()> {
    let asked = dig_as(SIDECAR, &[PAYMENTS])?;
    ensure!(asked.status.code() == Some(9), "{asked:?}");
    Ok(())
}

fn postgresql(dev: &Dev) -> Result<()> {
    let _server = PostgreSql::start("127.2.9.1")?;
    dev.apply("eu-west-1", ORDERS)?;
    let psql = "psql --no-psqlrc -At -h orders-db.shop.svc.clusterset.local -U postgres -c";
    let answer = eventually("psql connects by name", SOON, || {
        let mut psql = as_user(CLIENT, psql.split(' '));
        run(psql.arg("select 6 * 7").env("PGCONNECT_TIMEOUT", "10"))?.ok()
    })?;
    ensure!(answer == "42", "{answer}");
    Ok(())
}

fn key_values(dev: &Dev) -> Result<()> {
    let _server = redis("127.2.9.2", dev.scratch())?;
    dev.apply("eu-west-1", SESSIONS)?;
    let client = "redis-cli -h sessions.shop.svc.clusterset.local";
    let say = |words: &str| run(as_user(CLIENT, client.split(' ')).args(words.split(' ')));
    eventually("redis-cli connects by name", SOON, || {
        say("ping")?.says("PONG")
    })?;
    say("set key value")?.says("OK")?;
    ensure!(say("get key")?.ok()? == "value");
    Ok(())
}

fn dig_as(user: u32, args: &[&str]) -> Result<Ran> {
    run(as_user(user, ["dig", "+short", "+tries=1", "+time=5"]).args(args))
}

fn curl_as(user: u32, url: &str) -> Result<Ran> {
    let curl = "curl --silent --show-error --fail --max-time 20";
    run(as_user(user, curl.split(' ')).arg(url))
}
