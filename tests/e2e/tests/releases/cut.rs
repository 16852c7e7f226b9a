//! Everybody of one region meets the canary, nobody of another, until an abort cuts what is open.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weft_test_support::{Dev, SOON, Workload, command, eventually, run};

use crate::anew;

/// An opaque connection by the sidecar's CONNECT.
fn tunnel(workload: &Workload) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(&workload.outbound)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"CONNECT checkout.shop:80 HTTP/1.1\r\nhost: checkout.shop:80\r\n\r\n")?;
    let answer = head_of(&mut stream)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(stream)
}

/// Up to the empty line.
fn head_of(stream: &mut TcpStream) -> Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Which version is at the other end.
fn version(stream: &mut TcpStream) -> Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: checkout.shop\r\n\r\n")?;
    let head = head_of(stream)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.context("a length")?];
    stream.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body)?;
    Ok(body["version"].as_str().unwrap_or_default().to_owned())
}

/// Whatever is no request: an abort ends it, as the program at its end sees.
pub(super) fn cut(dev: &Dev) -> Result<()> {
    let eu = dev.workload("eu-west-1", "shop/web")?;
    let everyone = "\
apiVersion: weft.dev/v1
kind: Release
metadata: { namespace: shop, name: checkout-v2 }
spec:
  service: checkout
  stable: v1
  canary: v2
  waves: [{ name: west-europe, regions: [eu-west], steps: [{ setWeight: 100 }] }]
";
    anew(dev, everyone)?;
    let mut open = eventually("a tunnel leads to the canary", SOON, || {
        let mut open = tunnel(&eu)?;
        ensure!(version(&mut open)? == "v2");
        Ok(open)
    })?;
    for cluster in ["us-east-1", "ap-south-1"] {
        let outside = dev.workload(cluster, "shop/web")?;
        never(&outside).with_context(|| cluster.to_owned())?;
    }
    dev.weft(["release", "abort", "checkout-v2"])?.exits(0)?;
    // Nothing was asked for: what ends the read is the end of the connection.
    let ended = open.read(&mut [0; 64]);
    let timed_out = |error: &std::io::Error| {
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
    };
    ensure!(
        !ended.as_ref().is_err_and(timed_out),
        "the tunnel stays open"
    );
    ensure!(!ended.is_ok_and(|bytes| bytes > 0), "nothing was asked");
    // Another worker of the sidecar may hear of it a moment later.
    eventually("a new tunnel leads to stable", SOON, || {
        let mut again = tunnel(&eu)?;
        ensure!(version(&mut again)? == "v1");
        Ok(())
    })
}

/// Thousands of requests of one curl, all of which meet stable.
fn never(workload: &Workload) -> Result<()> {
    const EACH: usize = 250;
    let proxy = format!("http://{}", workload.outbound);
    let url = format!("http://checkout.shop/?n=[1-{EACH}]");
    for _ in 0..8 {
        let mut curl = command(["curl", "--silent", "--show-error", "--fail"]);
        curl.args(["--proxy", &proxy, "--write-out", "\\n", &url]);
        let answers = run(&mut curl)?.ok()?;
        let answers = answers.lines().filter(|line| !line.is_empty());
        let answers: Vec<Value> = answers
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        let of = |version: &str| answers.iter().filter(|it| it["version"] == version).count();
        ensure!((of("v1"), of("v2")) == (EACH, 0), "{} met it", of("v2"));
    }
    Ok(())
}
