//! What somebody between two gateways sees: one UDP port, and no names.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use weft_test_support::{Background, Dev, SOON, command, eventually, isolated, run};

/// Words that a service, its namespace and its identity consist of.
const SECRETS: [&str; 6] = [
    "payments",
    "checkout",
    "shop",
    "spiffe",
    "clusterset",
    "svc",
];

#[test]
fn a_capture_shows_one_port_and_no_name() -> Result<()> {
    isolated("a_capture_shows_one_port_and_no_name", || {
        Dev::with(&["--wan", "off"], |dev| {
            let file = dev.scratch().join("capture");
            let mut capture = between_gateways(&file, dev.scratch())?;
            let web = dev.workload("ap-south-1", "shop/web")?;
            for _ in 0..20 {
                dev.curl(&web, "http://payments.shop/a-path-that-is-secret")?;
            }
            capture.stop("INT")?;
            let bytes = fs::read(&file)?;
            ensure!(
                bytes.len() > 20_000,
                "only {} bytes were captured",
                bytes.len()
            );
            for secret in SECRETS.iter().chain(&["a-path-that-is-secret"]) {
                let seen = bytes
                    .windows(secret.len())
                    .any(|part| part.eq_ignore_ascii_case(secret.as_bytes()));
                ensure!(!seen, "{secret:?} is readable on the wire");
            }
            only_tunnels(&file)
        })
    })
}

/// Captures, in full length, every packet from one cluster's gateways to another's.
fn between_gateways(file: &Path, scratch: &Path) -> Result<Background> {
    let gateways = ["127.1.0.0/24", "127.2.0.0/24", "127.3.0.0/24"];
    let pairs = gateways.iter().flat_map(|from| {
        let others = gateways.iter().filter(move |to| *to != from);
        others.map(move |to| format!("(src net {from} and dst net {to})"))
    });
    let filter = pairs.collect::<Vec<_>>().join(" or ");
    let args = [
        "tcpdump",
        "-i",
        "lo",
        "-U",
        "--immediate-mode",
        "-s",
        "0",
        "-Z",
        "root",
        "-w",
    ];
    let mut tcpdump = command(args);
    let mut capture =
        Background::start(tcpdump.arg(file).arg(filter), &scratch.join("tcpdump.log"))?;
    eventually("tcpdump listens", SOON, || {
        capture.still_runs()?;
        ensure!(capture.said().contains("listening on"));
        Ok(())
    })?;
    Ok(capture)
}

/// Every packet is UDP with the tunnel port at one end.
fn only_tunnels(file: &Path) -> Result<()> {
    let path = file.display().to_string();
    let read = |filter: &str| run(&mut command(["tcpdump", "-n", "-r", &path, filter]))?.ok();
    let others = read("not (udp port 7443)")?;
    ensure!(others.is_empty(), "not tunnels: {others}");
    ensure!(!read("udp port 7443")?.is_empty());
    Ok(())
}
