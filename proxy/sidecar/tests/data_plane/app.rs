//! Apps behind sidecars.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

pub(crate) type AppBody = BoxBody<Bytes, hyper::Error>;

pub(crate) fn full(text: impl Into<Bytes>) -> AppBody {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed()
}

/// An HTTP/1.1 app.
pub(crate) async fn http<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<AppBody>> + Send + 'static,
{
    tcp(move |stream| {
        let answer = answer.clone();
        async move {
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

/// Answers with what it got: method, path, headers in `x-saw-…`, and the body.
pub(crate) async fn echo() -> SocketAddr {
    http(|request| async move {
        let mut response = Response::builder()
            .header("x-saw-method", request.method().as_str())
            .header("x-saw-path", request.uri().to_string());
        for (name, value) in request.headers() {
            response = response.header(format!("x-saw-{name}"), value);
        }
        response.body(request.into_body().boxed()).unwrap()
    })
    .await
}

/// Answers every request with `status` and `text`.
pub(crate) async fn constant(status: u16, text: &'static str) -> SocketAddr {
    http(move |_| async move { Response::builder().status(status).body(full(text)).unwrap() }).await
}

/// A TCP app.
pub(crate) async fn tcp<F, R>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}
