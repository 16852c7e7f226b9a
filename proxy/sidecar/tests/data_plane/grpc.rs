//! HTTP/2 end to end: trailers and statuses pass as they are.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use weft_model::FlowClass;

use crate::app;
use crate::world::{Side, World, closed_port, local, until, within};

/// Says in its trailers the status that the request's path ends with.
async fn app() -> std::net::SocketAddr {
    app::tcp(|stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            assert_eq!(request.headers()["te"], "trailers");
            let status = request.uri().path().rsplit('/').next().unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_str(status).unwrap());
            trailers.insert("x-forwarded-client-cert", HeaderValue::from_static("evil"));
            let frames = [
                Frame::data(Bytes::from_static(b"message")),
                Frame::trailers(trailers),
            ];
            let frames = frames.map(Ok::<_, Infallible>);
            let body = StreamBody::new(stream::iter(frames));
            let answer = Response::builder().header("content-type", "application/grpc");
            Ok::<_, Infallible>(answer.body(body).unwrap())
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    })
    .await
}

async fn ask(client: &Side, status: &str) -> Response<Incoming> {
    let stream = TcpStream::connect(client.addresses.upstreams[0])
        .await
        .unwrap();
    let (mut send, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(driver);
    let request = Request::builder()
        .method("POST")
        .uri(format!("http://checkout.shop/shop.Checkout/{status}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Empty::<Bytes>::new())
        .unwrap();
    within("an answer", send.send_request(request))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_reach_the_client() {
    let world = World::new();
    let server = world.server(app().await, "grpc");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let answer = within("the body", ask(&client, "5").await.into_body().collect())
        .await
        .unwrap();
    let trailers = answer.trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "5");
    assert!(!trailers.contains_key("x-forwarded-client-cert"));
    assert_eq!(answer.to_bytes(), "message");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_grpc_status() {
    let world = World::new();
    let server = world.server(closed_port(), "grpc");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    let response = ask(&client, "0").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["x-weft-reason"], "connect_failed");
}

/// The head says 200 whatever becomes of the call.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_counts_by_the_status_behind_its_last_message() {
    let world = World::new();
    let server = world.server(app().await, "grpc");
    let client = world.client();
    client.sees([local(server.endpoint())]);
    for (status, class) in [
        ("0", FlowClass::Success),
        ("5", FlowClass::ClientError),
        ("14", FlowClass::ServerError),
    ] {
        let answer = ask(&client, status).await;
        assert_eq!(answer.status(), 200);
        let _read = within("the body", answer.into_body().collect()).await;
        let mut counted = Vec::new();
        until("it is counted", || {
            let flows = client.metrics.traffic().take().flows;
            counted.extend(
                flows
                    .into_iter()
                    .map(|(flow, tally)| (flow.class, tally.count())),
            );
            !counted.is_empty()
        })
        .await;
        assert_eq!(counted, [(class, 1)], "{status}");
    }
}
