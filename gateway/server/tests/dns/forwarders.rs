//! Resolvers that nobody here wrote, in front of us: unbound and dnsmasq, set up by the
//! stanzas that docs/how-to/forward-dns.md tells people to copy.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;

use super::clients::{AGREED, dig, program, short};
use super::world::*;

const PAGE: &str = include_str!("../../../../docs/how-to/forward-dns.md");

/// The gateways of the page, which ours stand for.
const GATEWAYS: [&str; 2] = ["10.1.0.10", "10.1.0.11"];

/// The page's stanza for a resolver, with `servers` for its gateways.
/// `separator` stands between an address and its port there.
fn stanza(resolver: &str, separator: char, servers: [SocketAddr; 2]) -> String {
    let begin = format!("```{resolver}\n");
    let (_, after) = PAGE.split_once(&begin).expect("the page has a stanza");
    let (stanza, _) = after.split_once("```").expect("which ends");
    let mut text = stanza.to_owned();
    for (gateway, server) in GATEWAYS.into_iter().zip(servers) {
        let shown = format!("{gateway}{separator}8653");
        assert!(text.contains(&shown), "{shown} in {text}");
        text = text.replace(
            &shown,
            &format!("{}{separator}{}", server.ip(), server.port()),
        );
    }
    text
}

/// A program that ends with its test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::create(log).unwrap();
        let child = command
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address of this process's own: a port that was free a moment ago may not be.
fn own_address() -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 100, high, low], 5335))
}

/// One of our zones is forwarded and the other asked iteratively, which needs AA, SOA
/// and honest empty non-terminals.
fn unbound(own: SocketAddr, servers: [SocketAddr; 2], folder: &Path) -> Running {
    let configuration = format!(
        r#"server:
    interface: {ip}@{port}
    access-control: 127.0.0.0/8 allow
    do-not-query-localhost: no
    do-daemonize: no
    use-syslog: no
    logfile: ""
    username: ""
    chroot: ""
    pidfile: ""
    directory: "{folder}"
    num-threads: 1
    module-config: "iterator"
    qname-minimisation: yes
    harden-below-nxdomain: yes
remote-control:
    control-enable: no
{stanza}"#,
        ip = own.ip(),
        port = own.port(),
        folder = folder.display(),
        stanza = stanza("unbound", '@', servers),
    );
    let path = folder.join("unbound.conf");
    fs::write(&path, configuration).unwrap();
    let mut command = Command::new(program("unbound"));
    Running::start(command.arg("-d").arg("-c").arg(path), &folder.join("log"))
}

fn dnsmasq(own: SocketAddr, servers: [SocketAddr; 2], folder: &Path) -> Running {
    let configuration = format!(
        "keep-in-foreground\nlog-facility=-\npid-file=\nuser=\nno-resolv\nno-hosts\n\
         bind-interfaces\nlisten-address={}\nport={}\n{}",
        own.ip(),
        own.port(),
        stanza("dnsmasq", '#', servers),
    );
    let path = folder.join("dnsmasq.conf");
    fs::write(&path, configuration).unwrap();
    let mut command = Command::new(program("dnsmasq"));
    let conf_file = format!("--conf-file={}", path.display());
    Running::start(command.arg(conf_file), &folder.join("log"))
}

/// Waits until `server` answers anything at all.
fn wait_for(server: SocketAddr, log: &Path) {
    let deadline = Instant::now() + PATIENCE;
    let socket = udp();
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let packet = query(1, "localhost.", RecordType::A, None);
    let packet = packet.to_vec().unwrap();
    loop {
        let _ = socket.send_to(&packet, server);
        if socket.recv(&mut [0; 512]).is_ok() {
            return;
        }
        let log = || fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < deadline, "no answer: {}", log());
    }
}

/// Asks twice, so that the second answers come from the resolver's cache.
fn agrees(start: impl FnOnce(SocketAddr, [SocketAddr; 2], &Path) -> Running) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let services = [(); 2].map(|()| super::world::start(&[], source(zones(Some(3)))));
    let folder = tempfile::tempdir().unwrap();
    let own = own_address();
    let servers = services.each_ref().map(|service| service.local_addr());
    let _running = start(own, servers, folder.path());
    wait_for(own, &folder.path().join("log"));
    for round in ["asked", "cached"] {
        for (name, kind, expected) in AGREED {
            let text = dig(own, &["+short", name, kind]);
            assert_eq!(short(&text), *expected, "{name} {kind} {round}");
        }
        let text = dig(own, &["nothing.shop.svc.clusterset.local", "A"]);
        assert!(text.contains("status: NXDOMAIN"), "{text}");
    }
    for service in services {
        runtime.block_on(service.shutdown());
    }
}

#[test]
fn unbound_agrees_from_its_cache_as_well() {
    agrees(unbound);
}

#[test]
fn dnsmasq_agrees_from_its_cache_as_well() {
    agrees(dnsmasq);
}
