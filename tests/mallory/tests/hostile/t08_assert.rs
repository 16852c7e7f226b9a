//! T8: the identity of another cluster's caller, asserted by her.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use weft_gateway::relay::Reason;
use weft_gateway::tunnel::PeerStream;
use weft_identity::{PeerRule, SvidSource, client_config, server_name};
use weft_mallory::CLUSTER;
use weft_proto::catalog as wire;
use weft_proto::peer::relay_stream::Target;
use weft_proto::peer::{RelayStream, ServiceTarget};
use weft_test_support::{Dev, SOON, eventually};

use crate::Stage;
use crate::t01_owner::bytes;

/// Where the app listens that writes down what it is told.
const DIARY: &str = "127.1.0.1:9099";
/// Whom the app would trust by its certificate, and by its address.
const TRUSTED: &str = "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/web";
const VALUES: [&str; 5] = [TRUSTED, "127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3"];
/// Why something was given up.
const SILENT: &str = "nothing came";
/// What apps and proxies read of who asks.
const CLAIMS: [&str; 8] = [
    "x-forwarded-client-cert",
    "x_forwarded_client_cert",
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "l5d-client-id",
    "weft-client",
    "weft_client",
];

/// A server that is exported to everybody and runs here.
pub(crate) fn prepare(dev: &Dev) -> Result<Diary> {
    let diary = Diary::start()?;
    dev.apply(
        "us-east-1",
        "
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: diary }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: diary-1 }
spec:
  service: diary
  address: 127.1.0.1
  ports: { http: 9099 }
",
    )?;
    Ok(diary)
}

/// In the headers of a request, through a relay, as HTTP and as bytes that are HTTP: the app hears
/// who she has proved to be.
pub(crate) fn headers(stage: &Stage<'_>) -> Result<()> {
    let (loot, diary) = (&stage.mallory.loot, &stage.diary);
    let endpoint = eventually("the diary has an endpoint", SOON, || {
        let asked = json!({ "service": "shop/diary" });
        let listed = stage
            .victims
            .question("us-east-1/gw-1", "endpoints", &asked)?;
        let id = listed["items"][0]["id"].as_str().context("none yet")?;
        Ok(id.to_owned())
    })?;
    let own = "spiffe://mallory-1.dev.weft.internal/ns/evil/sa/own";
    let gateway = "spiffe://mallory-1.dev.weft.internal/gateway/gw-1";
    let proved = [(own, loot.issue(own)?), (gateway, loot.svid())];
    for (id, svid) in &proved {
        for (visit, value) in VALUES.iter().enumerate() {
            let name = id.rsplit('/').next().unwrap_or_default();
            let (path, raw) = (format!("/{name}/{visit}"), format!("/{name}/raw/{visit}"));
            let asked = ask(
                stage,
                connect(stage, svid, b"weft-h2")?,
                (&endpoint, &path),
                value,
            );
            ensure!(asked? == 200, "as {id}");
            write(
                stage,
                connect(stage, svid, b"weft-tcp")?,
                (&endpoint, &raw),
                value,
            )?;
            for path in [path, raw] {
                let head = diary
                    .told(&path)
                    .with_context(|| format!("nobody asked {path}"))?;
                believes(&head, id).with_context(|| format!("as {id}: {head}"))?;
            }
        }
    }
    for id in [TRUSTED, "spiffe://us-east-1.dev.weft.internal/gateway/gw-1"] {
        let forged = loot.forge(id)?;
        let carried = relay(stage)?;
        // It is told so in the handshake, or cut off after it.
        let answered = handshake(stage, carried, &forged, b"weft-h2")
            .and_then(|inner| ask(stage, inner, (&endpoint, "/forged"), TRUSTED));
        let why = format!("{:#}", answered.err().context("she is somebody else")?);
        ensure!(!why.contains(SILENT), "as {id}: {why}");
        ensure!(diary.told("/forged").is_none(), "the app was asked as {id}");
    }
    Ok(())
}

/// The app was told one identity, hers, and nothing of what she said.
fn believes(head: &str, id: &str) -> Result<()> {
    for value in VALUES {
        ensure!(!head.contains(value), "it was told {value}");
    }
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let proofs = fields.filter(|(name, _)| name.eq_ignore_ascii_case(CLAIMS[0]));
    let proofs: Vec<&str> = proofs.map(|(_, value)| value).collect();
    let proved = proofs.len() == 1 && proofs[0].ends_with(&format!(";URI={id}"));
    ensure!(proved, "it was told {proofs:?}");
    Ok(())
}

/// A connection to the diary's inbound side, through its cluster's gateway.
fn relay(stage: &Stage<'_>) -> Result<PeerStream> {
    let header = RelayStream {
        target: Some(Target::Service(ServiceTarget {
            namespace: "shop".into(),
            name: "diary".into(),
            version: String::new(),
        })),
        port: 80,
        ..RelayStream::default()
    };
    let (stream, status) = stage.mallory.relay("us-east-1", header)?;
    ensure!(status == Some(Reason::CONNECTED), "{status:?}");
    Ok(stream)
}

/// The inner connection on it, as whoever `svid` says.
fn handshake(
    stage: &Stage<'_>,
    stream: PeerStream,
    svid: &SvidSource,
    protocol: &[u8],
) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    let bundles = stage.mallory.bundles();
    let tls = client_config(svid, bundles, PeerRule::AnyKnown, &[protocol]);
    let stream = tokio::io::join(stream.recv, stream.send);
    let connecting = TlsConnector::from(tls).connect(server_name(), stream);
    Ok(stage.mallory.wait(within(connecting))??)
}

/// Both.
fn connect(
    stage: &Stage<'_>,
    svid: &SvidSource,
    protocol: &[u8],
) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    handshake(stage, relay(stage)?, svid, protocol)
}

/// Asks the diary by HTTP/2, with `value` in every claim; the status.
fn ask(
    stage: &Stage<'_>,
    inner: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (endpoint, path): (&str, &str),
    value: &str,
) -> Result<u16> {
    let mut request = Request::get(format!("http://diary.shop{path}"))
        .header("weft-service", "shop/diary")
        .header("weft-port", "80")
        .header("weft-endpoint", endpoint);
    for name in CLAIMS {
        // Each twice: who takes the first one off must take the second one too.
        request = request.header(name, value).header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let exchange = async {
        let (mut send, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(inner)).await?;
        let driven = tokio::spawn(connection);
        let answer = send.send_request(request).await;
        driven.abort();
        anyhow::Ok(answer?.status().as_u16())
    };
    stage.mallory.wait(within(exchange))?
}

/// Asks it by bytes, as of a protocol that nobody looks into.
fn write(
    stage: &Stage<'_>,
    mut inner: impl AsyncRead + AsyncWrite + Unpin,
    (endpoint, path): (&str, &str),
    value: &str,
) -> Result<()> {
    let mut target = vec![1];
    target.extend(bytes(endpoint).context("an id")?);
    target.extend(80u16.to_be_bytes());
    target.extend(b"shop/diary");
    let claims = CLAIMS.map(|name| format!("{name}: {value}\r\n{name}: {value}\r\n"));
    let claims = claims.concat();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: diary.shop\r\nconnection: close\r\n{claims}\r\n");
    let exchange = async {
        inner.write_u16(u16::try_from(target.len())?).await?;
        inner.write_all(&target).await?;
        inner.flush().await?;
        let status = inner.read_u8().await?;
        ensure!(status == Reason::CONNECTED, "{status}");
        inner.write_all(request.as_bytes()).await?;
        inner.flush().await?;
        let mut answer = Vec::new();
        inner.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(())
    };
    stage.mallory.wait(within(exchange))?
}

async fn within<T>(exchange: impl Future<Output = T>) -> Result<T> {
    let ended = timeout(Duration::from_secs(10), exchange).await;
    ended.context(SILENT)
}

/// An app that answers everything with 200, and keeps what it was told.
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    /// Listens until the process ends.
    fn start() -> Result<Self> {
        let listener = TcpListener::bind(DIARY)?;
        let heads = Arc::default();
        let kept = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever asks may be gone, or have only looked whether somebody listens.
                let _ = answer(stream, &kept);
            }
        });
        Ok(Self(heads))
    }

    /// The head of the request for `path`.
    fn told(&self, path: &str) -> Option<String> {
        let heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = format!("GET {path} ");
        heads.iter().find(|head| head.starts_with(&begins)).cloned()
    }
}

/// Reads one request's head, writes it down, and answers it.
fn answer(mut stream: TcpStream, heads: &Mutex<Vec<String>>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    heads
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(String::from_utf8(head)?);
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    Ok(())
}

/// In what she reports of traffic: only callers of her own cluster count.
pub(crate) fn edges(stage: &Stage<'_>) -> Result<()> {
    let own = "spiffe://mallory-1.dev.weft.internal/ns/evil/sa/own";
    let others = [
        "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/web",
        "spiffe://eu-west-1.dev.weft.internal/gateway/gw-1",
        "spiffe://dev.weft.internal/user/eyes",
    ];
    let row = |source: &str| wire::SourceFlow {
        source: source.into(),
        flow: Some(wire::FlowCount {
            service: Some(wire::ServiceKey {
                namespace: "shop".into(),
                name: "payments".into(),
            }),
            cluster: "us-east-1".into(),
            version: "v1".into(),
            identity: "spiffe://us-east-1.dev.weft.internal/ns/shop/sa/payments".into(),
            carried: wire::FlowCarried::Request.into(),
            class: wire::FlowClass::ServerError.into(),
            rerouted: 0,
            buckets: vec![100],
            counts: vec![1_000_000],
        }),
    };
    let window = wire::Window {
        cluster: "us-east-1".into(),
        gateway: "gw-1".into(),
        covered_ms: 300_000,
        rows: others.into_iter().chain([own]).map(row).collect(),
        left_out: u64::MAX,
        age_ms: Some(0),
    };
    stage.mallory.lie("observe.window", window.encode_to_vec());
    let asked = json!({ "windowMs": 300_000 });
    let edges = stage.victims.question("us-east-1/gw-1", "edges", &asked)?;
    let edges = edges["items"].as_array().context("edges")?;
    let from_her: Vec<_> = edges
        .iter()
        .filter(|edge| edge["sourceCluster"] == CLUSTER)
        .collect();
    ensure!(!from_her.is_empty(), "not even her own: {edges:?}");
    for edge in from_her {
        ensure!(edge["sourceIdentity"] == own, "{edge}");
    }
    Ok(())
}
