//! HTTP by clients and servers that nobody here wrote: curl, nghttp, h2load,
//! grpcio, websockets. Servers have no sidecar, so stand-ins speak on both sides;
//! the sidecars of the sample services do where curl uses one as its proxy.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use weft_e2e::{GREETER, greeter, python, python_beside};
use weft_test_support::{Cases, Dev, SOON, command, eventually, isolated, run, use_resolver};

const SERVERS: &str = "
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: chat }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: chat-1 }
spec:
  service: chat
  address: 127.2.9.1
  ports: { http: 8765 }
  checks: [{ tcp: { port: 8765 }, interval: 1s }]
---
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: echo }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: echo-1 }
spec:
  service: echo
  address: 127.2.9.1
  ports: { http: 8080 }
  checks: [{ tcp: { port: 8080 }, interval: 1s }]
";

const GREETINGS: &str = "greeter.shop.svc.clusterset.local:50051";
const CHAT: &str = "chat.shop.svc.clusterset.local";
const ECHO: &str = "echo.shop.svc.clusterset.local";
const CHECKOUT: &str = "checkout.shop.svc.clusterset.local";

#[test]
fn http_is_spoken_as_real_clients_and_servers_speak_it() -> Result<()> {
    let name = "http_is_spoken_as_real_clients_and_servers_speak_it";
    isolated(name, || {
        Dev::with(&["--dns-port", "53"], |dev| {
            // Nothing but the federation's DNS, as us-east-1 sees it; the servers are in eu-west-1.
            use_resolver("127.1.0.1")?;
            let _greeter = greeter(dev.scratch())?;
            let _chat = python_beside(
                "http/websocket_server.py",
                &["127.2.9.1:8765"],
                dev.scratch(),
            )?;
            let _echo = python_beside("http/echo_server.py", &["127.2.9.1:8080"], dev.scratch())?;
            dev.apply("eu-west-1", GREETER)?;
            dev.apply("eu-west-1", SERVERS)?;
            let mut cases = Cases::default();
            cases.run("grpcio makes every kind of call across regions", || {
                grpc(dev)
            });
            cases.run(
                "websockets open, echo, ping and close across regions",
                websockets,
            );
            cases.run("curl's ways to use a proxy", || proxied(dev));
            cases.run("curl's ways to send and to ask", || curl(dev));
            cases.run("curl gets Early Hints before the answer", early_hints);
            cases.run("nghttp gets an answer in HTTP/2", nghttp);
            cases.run("h2load and its streams all succeed", || h2load(dev));
            cases.verdict()
        })
    })
}

fn says_ok(command: &mut Command) -> Result<()> {
    let said = run(command)?.ok()?;
    ensure!(said == "ok", "{said}");
    Ok(())
}

fn grpc(dev: &Dev) -> Result<()> {
    let web = dev.workload("us-east-1", "shop/web")?;
    eventually("the calls succeed", SOON, || {
        let mut client = python("http/grpc_client.py");
        client.arg(GREETINGS).arg(&web.outbound);
        says_ok(client.env("GRPC_DNS_RESOLVER", "native"))
    })
}

fn websockets() -> Result<()> {
    eventually("the sockets open", SOON, || {
        says_ok(python("http/websocket_client.py").arg(CHAT))
    })
}

fn asked(args: &[&str]) -> Result<String> {
    let curl = [
        "curl",
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--max-time",
        "20",
    ];
    run(command(curl).args(args))?.ok()
}

fn proxied(dev: &Dev) -> Result<()> {
    let web = dev.workload("us-east-1", "shop/web")?;
    let proxy = format!("http://{}", web.outbound);
    let url = format!("http://{CHECKOUT}/");
    for way in [
        &["--proxy", &proxy][..],
        &["--proxytunnel", "--proxy", &proxy],
    ] {
        let body = asked(&[way, &[&url]].concat())?;
        ensure!(body.contains(r#""service":"checkout""#), "{way:?}: {body}");
    }
    let mut by_environment = command(["curl", "--silent", "--fail", "--max-time", "20", &url]);
    let body = run(by_environment.env("http_proxy", &proxy))?.ok()?;
    ensure!(
        body.contains(r#""service":"checkout""#),
        "http_proxy: {body}"
    );
    Ok(())
}

fn curl(dev: &Dev) -> Result<()> {
    let url = format!("http://{ECHO}/");
    eventually("the echo answers", SOON, || asked(&[&url]))?;
    let large = dev.scratch().join("large");
    fs::write(&large, vec![b'x'; 1 << 20])?;
    let large = format!("@{}", large.display());
    let post = ["--data-binary", &large];
    for (way, expect) in [
        (&["--http1.0"][..], "GET 0"),
        (&["--http1.1"], "GET 0"),
        (&["--http2-prior-knowledge"], "GET 0"),
        // An upgrade to HTTP/2, which is answered in HTTP/1.1.
        (&["--http2"], "GET 0"),
        (&post, "POST 1048576"),
        (
            &[&post[..], &["--http2-prior-knowledge"]].concat(),
            "POST 1048576",
        ),
        (
            &[&post[..], &["--header", "expect: 100-continue"]].concat(),
            "POST 1048576",
        ),
        (
            &[&post[..], &["--header", "transfer-encoding: chunked"]].concat(),
            "POST 1048576",
        ),
        (&[&post[..], &["--request", "PUT"]].concat(), "PUT 1048576"),
    ] {
        let said = asked(&[way, &[&url]].concat())?;
        ensure!(said == expect, "{way:?}: {said}");
    }
    let head = asked(&["--head", &url])?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(())
}

fn early_hints() -> Result<()> {
    let url = format!("http://{ECHO}/hints");
    let hint = "link: </style.css>; rel=preload";
    for (way, version) in [
        ("--http1.1", "HTTP/1.1"),
        ("--http2-prior-knowledge", "HTTP/2"),
    ] {
        let said = asked(&["--include", way, &url])?;
        let early = said.strip_prefix(&format!("{version} 103"));
        let last = early.and_then(|said| said.split_once(&format!("{version} 200")));
        let is_first = last.is_some_and(|(early, _)| early.contains(hint));
        ensure!(is_first && said.ends_with("GET 0"), "{way}: {said}");
    }
    let said = asked(&["--include", "--http1.0", &url])?;
    ensure!(
        said.starts_with("HTTP/1.0 200") && !said.contains(hint),
        "{said}"
    );
    Ok(())
}

fn nghttp() -> Result<()> {
    let url = format!("http://{CHECKOUT}/");
    let said = run(&mut command(["nghttp", "--verbose", "--timeout=20", &url]))?.ok()?;
    ensure!(said.contains(":status: 200"), "{said}");
    ensure!(said.contains(r#""service":"checkout""#), "{said}");
    Ok(())
}

fn h2load(dev: &Dev) -> Result<()> {
    let web = dev.workload("us-east-1", "shop/web")?;
    let connect = format!("--connect-to={}", web.outbound);
    let url = format!("http://{CHECKOUT}/");
    let load = [
        "h2load",
        "--requests=2000",
        "--clients=4",
        "--max-concurrent-streams=20",
    ];
    let said = run(command(load).arg(connect).arg(url))?.ok()?;
    ensure!(
        said.contains("2000 succeeded, 0 failed, 0 errored"),
        "{said}"
    );
    ensure!(said.contains("2000 2xx"), "{said}");
    Ok(())
}
