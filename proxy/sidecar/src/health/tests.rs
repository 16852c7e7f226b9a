//! Probes against small servers on loopback.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http_body_util::Empty;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use weft_model::{GrpcProbe, HttpProbe, TcpProbe};
use weft_proto::health::health_check_response::ServingStatus;
use weft_proto::health::health_server::HealthServer;
use weft_proto::health::{HealthCheckRequest, HealthCheckResponse};

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn check() -> HealthCheck {
    HealthCheck {
        http: None,
        grpc: None,
        tcp: None,
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(500),
        failures: 2,
        successes: 1,
    }
}

async fn listen() -> (TcpListener, NonZeroU16) {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, NonZeroU16::new(port).unwrap())
}

async fn until(checks: &Checks, health: Health) {
    let mut verdict = checks.verdict();
    let reached = verdict.wait_for(|now| now.health == health);
    let reached = timeout(Duration::from_secs(10), reached).await;
    assert!(reached.is_ok_and(|r| r.is_ok()), "never {health:?}");
}

#[tokio::test]
async fn tcp() {
    let (listener, port) = listen().await;
    let probe = Some(TcpProbe { port });
    let checks = Checks::start(
        LOOPBACK,
        &[HealthCheck {
            tcp: probe,
            ..check()
        }],
    );
    assert_eq!(checks.verdict().borrow().health, Health::NotReady);
    until(&checks, Health::Ready).await;
    drop(listener);
    until(&checks, Health::NotReady).await;
}

#[tokio::test]
async fn a_failing_check_says_why_from_its_first_probe_on() {
    let (listener, port) = listen().await;
    drop(listener);
    let refused = HealthCheck {
        tcp: Some(TcpProbe { port }),
        ..check()
    };
    let checks = Checks::start(LOOPBACK, &[refused]);
    let mut verdict = checks.verdict();
    let said = timeout(
        Duration::from_secs(10),
        verdict.wait_for(|now| now.why.is_some()),
    );
    let said = said.await.unwrap().unwrap().why.clone().unwrap();
    let expect = format!("tcp port {port}: cannot connect: Connection refused");
    assert!(said.as_str().starts_with(&expect), "{said:?}");
}

#[tokio::test]
async fn without_checks_it_is_ready() {
    assert_eq!(
        Checks::start(LOOPBACK, &[]).verdict().borrow().health,
        Health::Ready
    );
}

/// Serves the status that the test sets.
fn http_server(listener: TcpListener, status: Arc<AtomicU16>) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let status = Arc::clone(&status);
            let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let known =
                    request.uri().path() == "/healthz" && request.headers().contains_key("host");
                let status = if known {
                    status.load(Ordering::Relaxed)
                } else {
                    404
                };
                let answer = http::Response::builder()
                    .status(status)
                    .body(Empty::<bytes::Bytes>::new());
                async move { Ok::<_, Infallible>(answer.unwrap()) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
}

#[tokio::test]
async fn http_answers_of_200_to_399_are_healthy() {
    let (listener, port) = listen().await;
    let status = Arc::new(AtomicU16::new(503));
    http_server(listener, Arc::clone(&status));
    let probe = HttpProbe {
        port,
        path: "/healthz".into(),
    };
    let probed = HealthCheck {
        http: Some(probe),
        ..check()
    };
    let first = probe::probe(LOOPBACK, &probed).await;
    assert!(
        matches!(first, Err(ProbeError::HttpStatus(503))),
        "{first:?}"
    );
    let checks = Checks::start(LOOPBACK, &[probed]);
    for (code, health) in [
        (200, Health::Ready),
        (500, Health::NotReady),
        (302, Health::Ready),
        (404, Health::NotReady),
    ] {
        status.store(code, Ordering::Relaxed);
        until(&checks, health).await;
    }
}

struct Grpc(Arc<AtomicU16>);

#[tonic::async_trait]
impl weft_proto::health::health_server::Health for Grpc {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if request.get_ref().service != "shop.Checkout" {
            return Err(Status::not_found("no such service"));
        }
        let status = i32::from(self.0.load(Ordering::Relaxed));
        Ok(Response::new(HealthCheckResponse { status }))
    }
}

#[tokio::test]
async fn grpc_must_say_serving() {
    let (listener, port) = listen().await;
    let serving = Arc::new(AtomicU16::new(2));
    let service = HealthServer::new(Grpc(Arc::clone(&serving)));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let probed = |service: &str| HealthCheck {
        grpc: Some(GrpcProbe {
            port,
            service: service.into(),
        }),
        ..check()
    };
    let unknown = probe::probe(LOOPBACK, &probed("other")).await;
    assert!(
        matches!(unknown, Err(ProbeError::GrpcCode(tonic::Code::NotFound))),
        "{unknown:?}"
    );
    let checks = Checks::start(LOOPBACK, &[probed("shop.Checkout")]);
    let first = probe::probe(LOOPBACK, &probed("shop.Checkout")).await;
    assert!(
        matches!(first, Err(ProbeError::NotServing("NOT_SERVING"))),
        "{first:?}"
    );
    serving.store(
        u16::try_from(i32::from(ServingStatus::Serving)).unwrap(),
        Ordering::Relaxed,
    );
    until(&checks, Health::Ready).await;
    serving.store(0, Ordering::Relaxed);
    until(&checks, Health::NotReady).await;
}

#[tokio::test]
async fn one_failing_check_is_enough() {
    let (good, good_port) = listen().await;
    let (bad, bad_port) = listen().await;
    let tcp = |port| HealthCheck {
        tcp: Some(TcpProbe { port }),
        ..check()
    };
    let checks = Checks::start(LOOPBACK, &[tcp(good_port), tcp(bad_port)]);
    until(&checks, Health::Ready).await;
    drop(bad);
    until(&checks, Health::NotReady).await;
    drop(good);
}
