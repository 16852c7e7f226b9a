//! Clients that nobody here wrote: dig, dnspython, and glibc's resolver in a namespace
//! of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use weft_gateway::dns::DnsServiceConfig;

use super::world::*;

/// What the clients are asked and have to say, as `dig +short` prints it.
pub(super) const AGREED: &[(&str, &str, &str)] = &[
    ("checkout.shop.svc.clusterset.local", "A", "127.64.0.1"),
    (
        "checkout.shop.svc.clusterset.local",
        "AAAA",
        "fd00:77:65:66::1",
    ),
    ("CheckOut.SHOP.svc.clusterset.local", "A", "127.64.0.1"),
    (
        "_http._tcp.checkout.shop.svc.clusterset.local",
        "SRV",
        "0 100 80 checkout.shop.svc.clusterset.local.",
    ),
    ("dns-version.clusterset.local", "TXT", "\"1.0.0\""),
    (
        "orders-2.us-east-1.orders.data.svc.clusterset.local",
        "A",
        "10.1.0.2",
    ),
    (
        "orders.data.svc.us-east-1.cluster.weft.internal",
        "A",
        "10.1.0.1 10.1.0.2 10.1.0.3",
    ),
    (
        "orders.data.svc.clusterset.local",
        "A",
        "10.1.0.1 10.1.0.2 10.1.0.3",
    ),
    ("us-east-1.orders.data.svc.clusterset.local", "A", ""),
    ("shop.svc.clusterset.local", "A", ""),
    ("nothing.shop.svc.clusterset.local", "A", ""),
];

/// A program of the test packages.
pub(super) fn program(name: &str) -> PathBuf {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed: cargo xtask test names its package"))
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

pub(super) fn dig(server: SocketAddr, arguments: &[&str]) -> String {
    let output = run(Command::new(program("dig"))
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string(), "+tries=1", "+time=15"])
        .args(arguments));
    String::from_utf8(output.stdout).unwrap()
}

/// The answer's lines in order, on one line.
pub(super) fn short(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(';')).collect();
    lines.sort_unstable();
    lines.join(" ")
}

#[test]
fn dig_reads_every_kind_of_answer() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(3))));
    let server = service.local_addr();
    for (name, kind, expected) in AGREED {
        for transport in ["+notcp", "+tcp", "+noedns", "+bufsize=512"] {
            let text = dig(server, &["+short", transport, name, kind]);
            assert_eq!(short(&text), *expected, "{name} {kind} {transport}");
        }
    }
    for (arguments, expected) in [
        ("nothing.shop.svc.clusterset.local A", "status: NXDOMAIN"),
        (
            "eu-west-1.checkout.shop.svc.clusterset.local A",
            "status: NXDOMAIN",
        ),
        ("shop.svc.clusterset.local A", "status: NOERROR"),
        (
            "nothing.shop.svc.clusterset.local A",
            "hostmaster.clusterset.local.",
        ),
        (
            "+notcp checkout.shop.svc.clusterset.local ANY",
            "\"RFC8482\" \"\"",
        ),
        ("+header-only +opcode=15 clusterset.local", "status: NOTIMP"),
        (
            "+edns=1 +noednsnegotiation clusterset.local SOA",
            "status: BADVERS",
        ),
        ("CH TXT version.bind", "status: REFUSED"),
        ("AXFR clusterset.local", "Transfer failed."),
        ("www.example.org A", "EDE: 20 (Not Authoritative)"),
    ] {
        let text = dig(server, &arguments.split(' ').collect::<Vec<_>>());
        assert!(
            text.contains(expected),
            "{arguments}: {expected} in\n{text}"
        );
    }
    runtime.block_on(service.shutdown());
}

#[test]
fn dig_comes_back_over_tcp_for_what_udp_does_not_carry() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(200))));
    let name = "_postgres._tcp.orders.data.svc.clusterset.local";
    let cut = dig(service.local_addr(), &["+ignore", name, "SRV"]);
    assert!(cut.contains("flags: qr aa tc rd"), "{cut}");
    let whole = dig(service.local_addr(), &["+short", name, "SRV"]);
    assert_eq!(whole.lines().count(), 200);
    runtime.block_on(service.shutdown());
}

#[test]
fn dig_says_why_a_name_cannot_be_known() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(None)));
    let text = dig(
        service.local_addr(),
        &["orders.data.svc.clusterset.local", "A"],
    );
    let why = "EDE: 14 (Not Ready): (the endpoints of data/orders are not known here yet)";
    assert!(
        text.contains("status: SERVFAIL") && text.contains(why),
        "{text}"
    );
    runtime.block_on(service.shutdown());
}

/// Prints what dnspython makes of the answers; it raises on anything malformed.
const PYTHON: &str = r#"
import sys, dns.edns, dns.flags, dns.message, dns.query, dns.rcode, dns.rdatatype
where, port = sys.argv[1], int(sys.argv[2])
for line in sys.stdin.read().splitlines():
    name, kind = line.split()
    query = dns.message.make_query(name, kind, use_edns=0, payload=1232)
    answers = []
    for ask in (dns.query.udp, dns.query.tcp):
        response = ask(query, where, port=port, timeout=15)
        assert response.flags & dns.flags.AA, response
        assert response.question[0].name.to_text(True) == name, response
        if not response.answer:
            soa = [rrset for rrset in response.authority if rrset.rdtype == dns.rdatatype.SOA]
            assert len(soa) == 1 and soa[0].ttl == soa[0][0].minimum, response
        answers.append(sorted(rdata.to_text() for rrset in response.answer for rdata in rrset))
    assert answers[0] == answers[1], answers
    print(" ".join(answers[0]))
"#;

#[test]
fn dnspython_agrees() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(3))));
    let server = service.local_addr();
    let questions: String = AGREED
        .iter()
        .map(|(name, kind, _)| format!("{name} {kind}\n"))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("questions");
    std::fs::write(&input, questions).unwrap();
    // Debian's own interpreter is the one that has the package.
    let output = run(Command::new("/usr/bin/python3")
        .args(["-c", PYTHON])
        .args([server.ip().to_string(), server.port().to_string()])
        .stdin(std::fs::File::open(input).unwrap()));
    let expected: Vec<&str> = AGREED.iter().map(|(.., expected)| *expected).collect();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    runtime.block_on(service.shutdown());
}

/// Set in the copy of this program that runs in the namespace.
const INSIDE: &str = "WEFT_TEST_DNS_NAMESPACE";

/// glibc asks port 53 alone, and asks nobody where there is no real address: both
/// need a namespace. This program starts itself in one.
#[test]
fn glibc_agrees() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program("unshare"))
        .args(["--user", "--map-root-user", "--net", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "clients::glibc_agrees", "--nocapture"])
        .env(INSIDE, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    // Written inside once everything agrees: that it ran at all is not evident.
    assert!(folder.path().join(AGREES).exists(), "{text}{errors}");
}

const AGREES: &str = "agrees";

fn inside() {
    let folder = PathBuf::from(std::env::var_os(INSIDE).unwrap());
    let here: IpAddr = "10.77.0.53".parse().unwrap();
    std::fs::write(
        folder.join("resolv.conf"),
        format!("nameserver {here}\noptions timeout:15\n"),
    )
    .unwrap();
    std::fs::write(folder.join("nsswitch.conf"), "hosts: dns\n").unwrap();
    let set_up = format!(
        "set -e
         PATH=$PATH:/usr/sbin:/sbin
         ip link set lo up
         ip addr add {here}/32 dev lo
         ip -6 addr add fd00:77::53/128 dev lo nodad
         mount --bind {folder}/resolv.conf /etc/resolv.conf
         mount --bind {folder}/nsswitch.conf /etc/nsswitch.conf",
        folder = folder.display(),
    );
    run(Command::new("sh").args(["-c", &set_up]));

    let runtime = runtime();
    let _inside = runtime.enter();
    let config = DnsServiceConfig {
        bind: SocketAddr::new(here, 53),
        ..config(&[])
    };
    let service = start_with(config, source(zones(Some(3))));
    for (database, name, expected) in [
        (
            "ahostsv4",
            "checkout.shop.svc.clusterset.local",
            "127.64.0.1",
        ),
        (
            "ahostsv6",
            "checkout.shop.svc.clusterset.local",
            "fd00:77:65:66::1",
        ),
        (
            "ahostsv4",
            "orders.data.svc.clusterset.local",
            "10.1.0.1 10.1.0.2 10.1.0.3",
        ),
        (
            "ahostsv4",
            "orders-2.us-east-1.orders.data.svc.clusterset.local",
            "10.1.0.2",
        ),
    ] {
        let output = run(Command::new(program("getent")).args([database, name]));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut found: Vec<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.join(" "), expected, "{database} {name}");
    }
    for name in [
        "nothing.shop.svc.clusterset.local",
        "shop.svc.clusterset.local",
    ] {
        let getent = Command::new(program("getent"))
            .args(["ahosts", name])
            .output()
            .unwrap();
        assert_eq!(getent.status.code(), Some(2), "{name} is not found");
    }
    runtime.block_on(service.shutdown());
    std::fs::write(folder.join(AGREES), "").unwrap();
}
