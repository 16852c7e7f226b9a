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

use crate::app;
use crate::world::{Side, World, closed_port, local, within};

async fn app() -> std::net::SocketAddr {
    app::tcp(|stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            assert_eq!(request.headers()["te"], "trailers");
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("5"));
            trailers.insert("x-forwarded-client-cert", HeaderValue::from_static("evil"));
            let frames = [
                Frame::data(Bytes::from_static(b"message")),
                Frame::trailers(trailers),
            ];
            let frames = frames.map(Ok::<_, Infallible>);
            let body = StreamBody::new(stream::iter(frames));
            Ok::<_, Infallible>(Response::new(body))
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    })
    .await
}

async fn ask(client: &Side) -> Response<Incoming> {
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
        .uri("http://checkout.shop/shop.Checkout/Pay")
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
    let answer = within("the body", ask(&client).await.into_body().collect())
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
    let response = ask(&client).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["x-weft-reason"], "connect_failed");
}
