//! The console port: `/healthz`, `/readyz`, `/metrics`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder, TextEncoder};
use tokio::net::TcpListener;
use weft_model::code;

use super::gauges::Gauges;
use crate::hub::Hub;
use crate::isolation;

/// What the pages show.
pub(super) struct Pages {
    pub(super) hub: Arc<Hub>,
    pub(super) metrics: prometheus::Registry,
    pub(super) gauges: Gauges,
}

impl Pages {
    /// Serves until the task is dropped.
    pub(super) async fn serve(self, listener: TcpListener) {
        let pages = Arc::new(self);
        loop {
            let (stream, _): (_, SocketAddr) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections on the console port");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let pages = Arc::clone(&pages);
            tokio::spawn(async move {
                let answer = service_fn(|request| {
                    let response = pages.answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(std::time::Duration::from_secs(10))
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "a console connection ended badly");
                }
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, body) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz") => (StatusCode::OK, "ok\n".to_owned()),
            (&Method::GET, "/readyz") => self.ready(),
            (&Method::GET, "/metrics") => self.metrics(),
            (&Method::GET, _) => (
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz and /metrics\n".to_owned(),
            ),
            _ => (
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET is served\n".to_owned(),
            ),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response
    }

    /// Ready once the federation's state is here and names answer by it: from then on it serves,
    /// whoever is reachable.
    fn ready(&self) -> (StatusCode, String) {
        let state = self.hub.registry().state();
        if state.domain().is_none() || !self.hub.zones().are_known() {
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                "no state of the federation yet\n".into(),
            );
        }
        let applied = self.hub.registry().applied();
        let mut text = format!(
            "index {}, {} ms old\n",
            applied.index,
            applied.age.as_millis()
        );
        if let Some(told) = isolation::told(&self.hub) {
            text += &format!("{told} ({})\n", code::ISOLATED);
            for (cluster, _) in state.clusters() {
                if let Some(age) = isolation::endpoints_age(&self.hub, cluster) {
                    let age = isolation::seconds(age);
                    text += &format!("endpoints of {cluster}: as they were {age} ago\n");
                }
            }
        }
        // Ready all the same: what it serves needs no disk.
        if let Some(shortage) = self.hub.shortage() {
            text += &format!("read-only: {shortage} ({})\n", code::READ_ONLY);
        }
        if self.hub.catalog_handle().shown().ahead {
            text += "names answer by endpoints that the disk does not take: a restart could find older ones\n";
        }
        (StatusCode::OK, text)
    }

    fn metrics(&self) -> (StatusCode, String) {
        self.gauges.update(&self.hub);
        let mut text = Vec::new();
        let families = self.metrics.gather();
        match TextEncoder::new().encode(&families, &mut text) {
            Ok(()) => (StatusCode::OK, String::from_utf8_lossy(&text).into_owned()),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}
