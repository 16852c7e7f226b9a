//! A cluster behind a router of its own, as its own network sees it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use weft_test_support::{Background, Namespace, Ran, SOON, User, eventually, run};

/// The address of every site's one host. They overlap: nobody outside can dial it.
pub(crate) const HOST: &str = "10.0.0.2";

/// One cluster of one gateway, and a web server without a sidecar. All sites use the
/// same private addresses and the same virtual ones; what lies outside their router
/// tells them apart.
pub(crate) struct Site {
    /// The cluster's name, and the region's.
    pub(crate) name: &'static str,
    /// Its number: the outside of its router is 198.51.100.N, and its host has
    /// 2001:db8:N::2 besides.
    pub(crate) number: u8,
    pub(crate) host: Namespace,
    pub(crate) router: Namespace,
    gateway: Option<Background>,
    server: Option<Background>,
}

/// Whether others may dial a site's gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Its router forwards the tunnel and API ports.
    Forwarded,
    /// Its router lets nobody in who was not called.
    CallsOnly,
}

impl Site {
    /// The host and its router, cabled; nothing runs yet.
    pub(crate) fn new(
        name: &'static str,
        number: u8,
        reach: Reach,
        scratch: &Path,
    ) -> Result<Self> {
        let host = Namespace::new(name, scratch)?;
        let router = Namespace::new(&format!("{name}-r"), scratch)?;
        host.cable(&router)?;
        host.sh(&format!(
            "sysctl -qw net.ipv6.conf.all.accept_dad=0
             ip address add {HOST}/24 dev {name}-r
             ip address add 2001:db8:{number}::2/64 dev {name}-r nodad
             ip route add default via 10.0.0.1
             ip route add default via 2001:db8:{number}::1
             ip route add local 240.0.0.0/16 dev lo
             ip route add local fd77::/64 dev lo"
        ))?;
        router.sh(&format!(
            "ip address add 10.0.0.1/24 dev {name}
             ip address add 2001:db8:{number}::1/64 dev {name} nodad
             sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
        ))?;
        host.replace(
            "/etc/resolv.conf",
            "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n",
        )?;
        let site = Self {
            name,
            number,
            host,
            router,
            gateway: None,
            server: None,
        };
        site.filter(reach)?;
        Ok(site)
    }

    /// The router's translation (IPv4) and firewall (both).
    fn filter(&self, reach: Reach) -> Result<()> {
        let (translate, admit) = match reach {
            Reach::Forwarded => (
                "meta nfproto ipv4 fib daddr type local udp dport 7443 dnat ip to 10.0.0.2
                 meta nfproto ipv4 fib daddr type local tcp dport 7444 dnat ip to 10.0.0.2",
                "udp dport 7443 accept
                 tcp dport 7444 accept",
            ),
            Reach::CallsOnly => ("", ""),
        };
        let name = self.name;
        self.load(&format!(
            "table inet weft-test {{
               chain before {{
                 type nat hook prerouting priority dstnat
                 {translate}
               }}
               chain after {{
                 type nat hook postrouting priority srcnat
                 ip saddr 10.0.0.0/24 masquerade
               }}
               chain pass {{
                 type filter hook forward priority filter; policy drop
                 ct state established,related accept
                 iifname \"{name}\" accept
                 {admit}
               }}
             }}"
        ))
    }

    /// Loads rules of nft at the router.
    pub(crate) fn load(&self, rules: &str) -> Result<()> {
        let file = self.router.scratch().join("rules");
        fs::write(&file, rules)?;
        self.router
            .run(["nft", "-f"].iter().map(Path::new).chain([&*file]))?
            .ok()?;
        Ok(())
    }

    /// Its `gateway.yaml`. Without `advertise` it only dials out.
    pub(crate) fn configure(&self, advertise: Option<&str>) -> Result<()> {
        let Self { name, number, .. } = self;
        let advertise = advertise.map_or(String::new(), |a| format!(", advertise: \"{a}\""));
        let api = match advertise.is_empty() {
            true => format!("{HOST}:7444"),
            false => format!("198.51.100.{number}:7444"),
        };
        let state = self.host.scratch().join("state");
        let text = format!(
            "apiVersion: weft.dev/v1
kind: GatewayConfig
metadata: {{ name: gw-1 }}
spec:
  cluster: {name}
  region: {name}-1
  stateDir: {}
  tunnel: {{ bind: \"[::]:7443\"{advertise} }}
  api: {{ bind: \"0.0.0.0:7444\", advertise: \"{api}\" }}
  relay: {{ bind: \"{HOST}:7445\" }}
  dns: {{ bind: \"127.0.0.1:53\", aaaa: true }}
  virtualIPs: {{ ipv4: 240.0.0.0/16, ipv6: \"fd77::/64\" }}
  standIn: {{ inbound: {{ bind: \"{HOST}:7446\" }} }}
  drain: 1s
",
            state.display()
        );
        fs::write(self.config(), text)?;
        Ok(())
    }

    fn config(&self) -> std::path::PathBuf {
        self.host.scratch().join("gateway.yaml")
    }

    /// Runs `weft` on the host.
    pub(crate) fn weft(&self, user: &User, args: &[&str]) -> Result<Ran> {
        let weft = user.command(args);
        run(&mut self.host.enclose(&weft))
    }

    /// Founds the federation here.
    pub(crate) fn found(&self, user: &User) -> Result<()> {
        let config = self.config();
        let config = config.to_str().context("a path in UTF-8")?;
        let args = [
            "cluster",
            "init",
            "--domain",
            "fed.example.org",
            "--admin",
            "ana",
        ];
        self.weft(user, &[&args[..], &["--config", config]].concat())?
            .ok()?;
        Ok(())
    }

    /// Joins through `founder`, whose API others reach at `address`.
    pub(crate) fn join(&self, user: &User, founder: &Site, address: &str) -> Result<()> {
        let (name, region) = (self.name, format!("{}-1", self.name));
        let create = [
            "cluster",
            "token",
            "create",
            "--cluster",
            name,
            "--region",
            &region,
        ];
        let said = eventually("a token", SOON, || founder.weft(user, &create)?.ok())?;
        let token = said.lines().next().context("a token")?.trim();
        let config = self.config();
        let config = config.to_str().context("a path in UTF-8")?;
        let join = [
            "cluster", "join", address, "--config", config, "--token", token,
        ];
        self.weft(user, &join)?.ok()?;
        Ok(())
    }

    /// Starts the gateway, and the web server; once more, perhaps.
    pub(crate) fn start(&mut self, user: &User) -> Result<()> {
        let config = self.config();
        let config = config.to_str().context("a path in UTF-8")?;
        let gateway = user.command(["gateway", "run", "--config", config]);
        let log = self.host.scratch().join("gateway.log");
        self.gateway = Some(Background::start(
            self.host
                .enclose(&gateway)
                .env("WEFT_LOG", "info,weft_gateway::tunnel=debug"),
            &log,
        )?);
        let mut server = self
            .host
            .command(["/usr/bin/python3", "-c", SERVER, HOST, self.name]);
        let log = self.host.scratch().join("server.log");
        self.server = Some(Background::start(&mut server, &log)?);
        Ok(())
    }

    /// Stops the gateway, and the web server.
    pub(crate) fn stop(&mut self) -> Result<()> {
        for process in [&mut self.gateway, &mut self.server] {
            if let Some(mut process) = process.take() {
                process.stop("TERM")?;
            }
        }
        Ok(())
    }

    /// Offers the web server to everybody, as `web-NAME.shop`.
    pub(crate) fn export(&self, user: &User) -> Result<()> {
        let name = self.name;
        let text = format!(
            "apiVersion: weft.dev/v1
kind: ServiceExport
metadata: {{ namespace: shop, name: web-{name} }}
spec:
  ports: [{{ name: http, port: 80, appProtocol: http }}]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: {{ namespace: shop, name: web-{name}-1 }}
spec:
  service: web-{name}
  address: {HOST}
  ports: {{ http: 8000 }}
  checks: [{{ tcp: {{ port: 8000 }}, interval: 1s }}]
"
        );
        let file = self.host.scratch().join("export.yaml");
        fs::write(&file, text)?;
        let path = file.to_str().context("a path in UTF-8")?;
        eventually("an export", SOON, || {
            self.weft(user, &["--cluster", name, "apply", "-f", path])?
                .ok()
        })?;
        Ok(())
    }

    /// curl by name to another site's server, without a sidecar; the body.
    pub(crate) fn get(&self, of: &Site, path: &str, args: &[&str]) -> Result<String> {
        self.host.run(self.curl(of, path, args))?.ok()
    }

    /// Words of [`get`](Self::get).
    pub(crate) fn curl(&self, of: &Site, path: &str, args: &[&str]) -> Vec<String> {
        let url = format!("http://web-{}.shop.svc.clusterset.local/{path}", of.name);
        let curl = ["curl", "-sS", "--fail-with-body", "--max-time", "30"];
        let words = curl.iter().chain(args).copied().chain([url.as_str()]);
        words.map(str::to_owned).collect()
    }

    /// A body arrives whole, this long at most.
    pub(crate) fn reads_big(&self, of: &Site, seconds: u32) -> Result<()> {
        let limit = seconds.to_string();
        let body = self.get(of, "big", &["--max-time", &limit])?;
        ensure!(body.len() == BIG, "{} bytes", body.len());
        Ok(())
    }

    /// What its gateway has said since it started.
    pub(crate) fn logs(&self) -> String {
        let gateway = self.gateway.as_ref();
        gateway.map_or(String::new(), Background::said)
    }
}

/// Bytes of a middling body: more than one flight.
pub(crate) const PAGE: usize = 40_000;
/// Bytes of a large body, and of one that takes five seconds.
pub(crate) const BIG: usize = 400_000;

/// Debian's Python serves its site's name, and bodies of three kinds.
const SERVER: &str = r#"
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
address, name = sys.argv[1:]
PARTS = {'/name': (name, 1, 0), '/page': ('x' * 40_000, 1, 0),
         '/big': ('x' * 400_000, 1, 0), '/huge': ('x' * 1_500_000, 1, 0),
         '/slow': ('x' * 8_000, 50, 0.1)}
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        part, times, pause = PARTS[self.path]
        self.send_response(200)
        self.send_header('content-length', str(len(part) * times))
        self.end_headers()
        for _ in range(times):
            self.wfile.write(part.encode())
            time.sleep(pause)
    def log_message(self, *_): pass
class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
Server((address, 8000), Handler).serve_forever()
"#;
