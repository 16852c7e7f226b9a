//! Certificates that live for seconds rotate under load, and cut nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use weft_test_support::{Dev, Load, SOON, Target, eventually, isolated};

/// Renewals of each identity on the way that are waited for.
const ROTATIONS: usize = 3;
/// How long they may take: a life is 20 s, and renewed before its half is over.
const ROTATIONS_WAIT: Duration = Duration::from_secs(180);
/// Between two words on a long connection.
const BEAT: Duration = Duration::from_millis(200);

/// Two servers of this test in eu-west-1: one echoes bytes, one answers slowly for ever.
const SERVERS: &str = "\
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: echo }
spec:
  ports: [{ name: tcp, port: 7000, appProtocol: tcp }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: echo-1 }
spec: { service: echo, address: 127.2.9.7, ports: { tcp: 7000 } }
---
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: ticker }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: ticker-1 }
spec: { service: ticker, address: 127.2.9.8, ports: { http: 8000 } }
";

#[test]
fn rotation_under_load_cuts_nothing() -> Result<()> {
    isolated("rotation_under_load_cuts_nothing", || {
        let args = ["--wan", "off", "--gateways", "1", "--leaf-lifetime", "20s"];
        Dev::with(&args, |dev| {
            serve("127.2.9.7:7000", echo)?;
            serve("127.2.9.8:8000", tick)?;
            dev.apply("eu-west-1", SERVERS)?;
            let web = dev.workload("us-east-1", "shop/web")?;
            let stop = Arc::new(AtomicBool::new(false));
            let tcp = eventually("a TCP connection", SOON, || echoed(&web.outbound))?;
            let stream = eventually("a stream", SOON, || ticking(&web.outbound))?;
            let long = [
                spawn_until(&stop, tcp, exchange),
                spawn_until(&stop, stream, listen),
            ];
            let far = dev.workload("ap-south-1", "shop/web")?;
            let load = Load::start(vec![
                Target::through_sidecar(
                    &web.outbound,
                    "payments.shop.svc.eu-west-1.cluster.weft.internal",
                )?,
                Target::through_sidecar(&far.outbound, "payments.shop")?,
                Target::through_sidecar(&far.outbound, "checkout.shop")?,
            ]);
            eventually("every identity rotates", ROTATIONS_WAIT, || rotated(dev))?;
            let seen = load.end()?;
            stop.store(true, Ordering::Relaxed);
            for long in long {
                let words = long.join().map_err(|_| anyhow::anyhow!("it panicked"))??;
                ensure!(words > 50, "only {words} words");
            }
            ensure!(
                seen.retried.is_empty() && seen.failed.is_empty(),
                "{seen:#?}"
            );
            ensure!(seen.requests > 200, "{seen:?}");
            Ok(())
        })
    })
}

/// Both ends of each way: gateways and sidecars, by what they say in their logs.
fn rotated(dev: &Dev) -> Result<()> {
    for (log, said) in [
        ("us-east-1.gw-1", "identity renewed"),
        ("eu-west-1.gw-1", "identity renewed"),
        ("us-east-1.web-v1.sidecar", "the certificate is renewed"),
        (
            "eu-west-1.payments-v1.sidecar",
            "the certificate is renewed",
        ),
    ] {
        let text = fs::read_to_string(dev.folder().join(format!("logs/{log}.log")))?;
        let times = text.matches(said).count();
        ensure!(times >= ROTATIONS, "{log}: {times} of {ROTATIONS}");
    }
    Ok(())
}

/// A server of this test; its threads end with it.
fn serve(address: &str, each: fn(TcpStream) -> Result<()>) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    spawn(move || {
        for stream in listener.incoming().flatten() {
            spawn(move || each(stream));
        }
    });
    Ok(())
}

fn echo(mut stream: TcpStream) -> Result<()> {
    let mut word = [0; 5];
    loop {
        stream.read_exact(&mut word)?;
        stream.write_all(&word)?;
    }
}

/// One line in each chunk, for as long as somebody listens.
fn tick(mut stream: TcpStream) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while !lines.next().context("a request")??.is_empty() {}
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    loop {
        stream.write_all(b"5\r\ntick\n\r\n")?;
        std::thread::sleep(BEAT);
    }
}

/// A tunnel by CONNECT that has echoed once.
fn echoed(proxy: &str) -> Result<TcpStream> {
    let mut stream = connect(proxy, "CONNECT echo.shop:7000", "echo.shop:7000")?;
    word(&mut stream)?;
    Ok(stream)
}

/// An answer that has begun.
fn ticking(proxy: &str) -> Result<TcpStream> {
    connect(proxy, "GET http://ticker.shop/", "ticker.shop")
}

fn connect(proxy: &str, line: &str, host: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(stream, "{line} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(stream)
}

/// Uses a long connection until told to stop; how often it could.
fn spawn_until(
    stop: &Arc<AtomicBool>,
    mut stream: TcpStream,
    one: fn(&mut TcpStream) -> Result<()>,
) -> JoinHandle<Result<usize>> {
    let stop = Arc::clone(stop);
    spawn(move || {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            one(&mut stream).with_context(|| format!("cut after {count} words"))?;
            count += 1;
        }
        Ok(count)
    })
}

fn exchange(stream: &mut TcpStream) -> Result<()> {
    std::thread::sleep(BEAT);
    word(stream)
}

fn word(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"hello")?;
    let mut back = [0; 5];
    stream.read_exact(&mut back)?;
    if &back != b"hello" {
        bail!("{back:?} came back");
    }
    Ok(())
}

/// Chunk headers are passed over: one word is one `tick`.
fn listen(stream: &mut TcpStream) -> Result<()> {
    let mut seen = Vec::new();
    while !seen.ends_with(b"tick") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        seen.push(byte[0]);
    }
    Ok(())
}
