//! The sample shop's services: small HTTP servers that call each other.
//!
//! `GET /` answers with who served it, and what each upstream answered:
//! `{"service":"web","version":"v1","region":"us-east","upstreams":[…]}`.
//! `GET /healthz` answers 200. A failed upstream makes the answer 502.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

/// The most a sample reads of an upstream's answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;
/// How long it waits for one.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// A sample service.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) region: String,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) proxy: Option<SocketAddr>,
}

/// The address of a service that a sample calls.
#[derive(Debug, Clone)]
pub(crate) struct Upstream(Uri);

impl FromStr for Upstream {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text
            .parse()
            .map_err(|error| format!("{text:?} is no address: {error}"))?;
        match uri.host() {
            Some(_) => Ok(Self(uri)),
            None => Err(format!("{text:?} has no host")),
        }
    }
}

impl Sample {
    /// Serves until the process is told to stop.
    pub(crate) async fn serve(self, listen: SocketAddr) -> io::Result<()> {
        let listener = TcpListener::bind(listen).await?;
        let service = Arc::new(self);
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => accepted?,
                _ = terminate.recv() => return Ok(()),
                _ = tokio::signal::ctrl_c() => return Ok(()),
            };
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                let answer = service_fn(|request| answer(&service, request));
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "a client's connection ended badly");
                }
            });
        }
    }
}

async fn answer(
    service: &Sample,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => (StatusCode::OK, json!({ "ok": true })),
        (&Method::GET, _) => whole(service, &request).await,
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            json!({ "error": "only GET is served" }),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string() + "\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

async fn whole(service: &Sample, request: &Request<Incoming>) -> (StatusCode, Value) {
    let mut status = StatusCode::OK;
    let mut upstreams = Vec::new();
    for upstream in &service.upstreams {
        let begun = Instant::now();
        let called = tokio::time::timeout(ANSWER_WAIT, call(service, upstream, request)).await;
        let ms = begun.elapsed().as_millis() as u64;
        let called_as = upstream.0.to_string();
        upstreams.push(match called {
            Ok(Ok(answer)) => json!({ "called": called_as, "ms": ms, "answer": answer }),
            Ok(Err(error)) => {
                status = StatusCode::BAD_GATEWAY;
                json!({ "called": called_as, "ms": ms, "error": error.to_string() })
            }
            Err(_) => {
                status = StatusCode::BAD_GATEWAY;
                json!({ "called": called_as, "ms": ms, "error": "no answer in time" })
            }
        });
    }
    let body = json!({
        "service": service.name,
        "version": service.version,
        "region": service.region,
        "upstreams": upstreams,
    });
    (status, body)
}

/// One GET of an upstream; trace headers travel on, as a well-behaved workload lets them.
async fn call(
    service: &Sample,
    upstream: &Upstream,
    cause: &Request<Incoming>,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let authority = upstream
        .0
        .authority()
        .map(ToString::to_string)
        .unwrap_or_default();
    let stream = match service.proxy {
        Some(proxy) => TcpStream::connect(proxy).await?,
        None if authority.contains(':') => TcpStream::connect(&authority).await?,
        None => TcpStream::connect((authority.as_str(), 80)).await?,
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let uri = match service.proxy {
        Some(_) => upstream.0.to_string(),
        None => upstream
            .0
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
    };
    let mut request = Request::get(uri).header(hyper::header::HOST, authority);
    for name in ["traceparent", "tracestate", "x-request-id", "x-user-id"] {
        if let Some(value) = cause.headers().get(name) {
            request = request.header(name, value);
        }
    }
    let response = sender
        .send_request(request.body(Full::new(Bytes::new()))?)
        .await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await?
        .to_bytes();
    driver.abort();
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body).trim()).into());
    }
    let answer = serde_json::from_slice(&body);
    Ok(answer.unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
}
