//! A gateway for clients without a sidecar, whose range of virtual IPs is routed to it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use weft_test_support::{Background, Cases, Ran, SOON, User, command, eventually, isolated, run};

/// Services of one cluster. Five thousand are in the tests of `weft-gateway`: to write them
/// through the log one by one would take minutes here.
const SERVICES: usize = 60;
/// Where the gateway's host is for its clients, and they for it.
const HOST: &str = "10.9.0.1";
const CLIENT: &str = "10.9.0.2";
const HOST6: &str = "fd00:9::1";
const CLIENT6: &str = "fd00:9::2";
/// A server without a sidecar behind the first and the last service.
const SERVER: &str = "10.77.0.2:8080";
/// The kernel's rules for a gateway lead there.
const CAPTURE: &str = "15003";

#[test]
fn a_routed_range_is_answered_by_one_listener() -> Result<()> {
    isolated("a_routed_range_is_answered_by_one_listener", || {
        let client = Client::start()?;
        let user = User::new()?;
        let gateway = Gateway::start(&user)?;
        let server = [
            "sample",
            "--name",
            "many",
            "--version",
            "v1",
            "--region",
            "r",
        ];
        let mut server = user.command(server.into_iter().chain(["--listen", SERVER]));
        let _server = Background::start(&mut server, &user.scratch().join("server.log"))?;
        let before = gateway.descriptors()?;
        let mut cases = Cases::default();
        cases.run("capture for a gateway is on", || gateway.capture(&user));
        cases.run("services are exported", || export_all(&user));
        for at in [1, SERVICES] {
            let name = if at == 1 {
                "the first answers"
            } else {
                "the last answers"
            };
            cases.run(name, || answers(&client, at));
        }
        cases.run("explanations name who stands in", || explained(&user));
        cases.run("what is no virtual IP of a service is refused", || {
            refused(&client)
        });
        cases.run("descriptors stay flat", || {
            let after = gateway.descriptors()?;
            ensure!(after < before + SERVICES / 2, "{before}, then {after}");
            Ok(())
        });
        cases.run("off takes the gateway's table back", || {
            user.weft(["capture", "off", "--gateway"])?.exits(0)?;
            ensure!(
                run(&mut command(["nft", "list", "tables"]))?
                    .ok()?
                    .is_empty()
            );
            Ok(())
        });
        cases.verdict()
    })
}

/// Another host: a network namespace, and a wire to it.
struct Client {
    host: Background,
    _folder: tempfile::TempDir,
}

impl Client {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut host = command(["unshare", "--net", "sleep", "3600"]);
        let host = Background::start(&mut host, &folder.path().join("log"))?;
        let client = Self {
            host,
            _folder: folder,
        };
        let pid = client.host.pid().to_string();
        eventually("the other host is there", SOON, || {
            let own = fs::read_link("/proc/self/ns/net")?;
            ensure!(fs::read_link(format!("/proc/{pid}/ns/net"))? != own);
            Ok(())
        })?;
        let link = format!("ip link add wire type veth peer name wire netns {pid}");
        let here = [
            link,
            format!("ip address add {HOST}/24 dev wire"),
            format!("ip address add {HOST6}/64 dev wire nodad"),
            "ip link set wire up".to_owned(),
        ];
        let there = [
            format!("ip address add {CLIENT}/24 dev wire"),
            format!("ip address add {CLIENT6}/64 dev wire nodad"),
            "ip link set wire up".to_owned(),
            format!("ip route add 240.1.0.0/16 via {HOST}"),
            format!("ip route add fd00:77:65:66::/64 via {HOST6}"),
        ];
        for words in here {
            run(&mut command(words.split(' ')))?.ok()?;
        }
        for words in there {
            client.run(&words)?.ok()?;
        }
        Ok(client)
    }

    fn run(&self, words: &str) -> Result<Ran> {
        let pid = self.host.pid().to_string();
        let enter = ["nsenter", "--target", &pid, "--net"];
        run(command(enter).args(words.split(' ')))
    }
}

/// The only one of its federation.
struct Gateway {
    process: Background,
    config: PathBuf,
}

impl Gateway {
    fn start(user: &User) -> Result<Self> {
        let config = user.scratch().join("gateway.yaml");
        fs::write(&config, gateway_yaml(user.scratch()))?;
        let path = config.display().to_string();
        let init = [
            "cluster",
            "init",
            "--domain",
            "fed.example.org",
            "--admin",
            "ana",
        ];
        user.weft(init.into_iter().chain(["--config", &path]))?
            .ok()?;
        let mut gateway = user.command(["gateway", "run", "--config", &path]);
        let process = Background::start(&mut gateway, &user.scratch().join("gateway.log"))?;
        eventually("the gateway is ready", SOON, || user.weft(["status"])?.ok())?;
        Ok(Self { process, config })
    }

    fn capture(&self, user: &User) -> Result<()> {
        let path = self.config.display().to_string();
        let on = ["capture", "on", "--gateway", "--config", &path];
        user.weft(on)?.exits(0)?.says("goes to port 15003")?;
        user.weft(["capture", "show", "--gateway", "--config", &path])?
            .exits(0)?
            .says("table inet weft_gateway")?;
        Ok(())
    }

    fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.process.pid()))?.count())
    }
}

fn gateway_yaml(scratch: &Path) -> String {
    format!(
        "\
apiVersion: weft.dev/v1
kind: GatewayConfig
metadata: {{ name: gw-1 }}
spec:
  cluster: eu-west-1
  region: eu-west
  stateDir: {}/state
  tunnel: {{ bind: \"{HOST}:7443\" }}
  api: {{ bind: \"{HOST}:7444\" }}
  relay: {{ bind: \"{HOST}:7445\" }}
  dns: {{ bind: \"{HOST}:53\", aaaa: true }}
  virtualIPs: {{ ipv4: 240.1.0.0/16, ipv6: \"fd00:77:65:66::/64\" }}
  standIn:
    capture: {{ port: {CAPTURE} }}
    inbound: {{ bind: \"{HOST}:7446\" }}
  workers: 1
",
        scratch.display()
    )
}

/// Every service by an export; the first and the last with a server.
fn export_all(user: &User) -> Result<()> {
    let mut text = String::new();
    for at in 1..=SERVICES {
        writeln!(
            text,
            "---\napiVersion: weft.dev/v1\nkind: ServiceExport\n\
             metadata: {{ namespace: shop, name: many-{at} }}\n\
             spec: {{ ports: [{{ name: http, port: 80, appProtocol: http }}] }}"
        )?;
    }
    apply(user, &text)?;
    [1, SERVICES].into_iter().try_for_each(|at| {
        let (ip, port) = SERVER.split_once(':').unwrap_or((SERVER, "80"));
        let entry = format!(
            "apiVersion: weft.dev/v1\nkind: WorkloadEntry\n\
             metadata: {{ namespace: shop, name: many-{at}-1 }}\n\
             spec: {{ service: many-{at}, address: {ip}, ports: {{ http: {port} }} }}"
        );
        apply(user, &entry)
    })
}

fn apply(user: &User, resources: &str) -> Result<()> {
    let file = user.scratch().join("resources.yaml");
    fs::write(&file, resources)?;
    let file = file.display().to_string();
    user.weft(["apply", "-q", "-f", &file])?.exits(0)?;
    Ok(())
}

fn answers(client: &Client, at: usize) -> Result<()> {
    let name = format!("many-{at}.shop.svc.clusterset.local");
    for (record, range) in [("A", "240.1."), ("AAAA", "fd00:77:65:66:")] {
        let found = eventually("its name is known", SOON, || {
            let dig = format!("dig @{HOST} +short +tries=1 {name} {record}");
            let found = client.run(&dig)?.ok()?;
            ensure!(found.starts_with(range), "{found:?}");
            Ok(found)
        })?;
        let url = match record {
            "A" => format!("http://{found}/"),
            _ => format!("http://[{found}]/"),
        };
        let curl = format!("curl --silent --show-error --fail --max-time 10 {url}");
        let body = eventually("it answers", SOON, || client.run(&curl)?.ok())?;
        ensure!(body.contains(r#""service":"many""#), "{body}");
    }
    Ok(())
}

fn explained(user: &User) -> Result<()> {
    user.weft(["route", "explain", "GET", "http://many-1.shop/"])?
        .exits(0)?
        .says(&format!(
            "this gateway stands in for one (captured on port {CAPTURE})"
        ))?
        .says("gateway gw-1 stands in for one")?;
    Ok(())
}

fn refused(client: &Client) -> Result<()> {
    for at in [
        "240.1.77.77:80",
        "240.1.0.1:81",
        &format!("{HOST}:{CAPTURE}"),
    ] {
        let ran = client.run(&format!(
            "curl --silent --show-error --max-time 10 http://{at}/"
        ))?;
        // Reset before, while or after it asked; 28 would be silence.
        let refused = matches!(ran.status.code(), Some(7 | 52 | 55 | 56));
        ensure!(refused, "{ran:?}");
    }
    Ok(())
}
