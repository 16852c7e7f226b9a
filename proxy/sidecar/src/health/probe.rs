//! One probe, by TCP, HTTP or gRPC.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::Channel;
use weft_model::{GrpcProbe, HealthCheck, HttpProbe};
use weft_proto::health::HealthCheckRequest;
use weft_proto::health::health_check_response::ServingStatus;
use weft_proto::health::health_client::HealthClient;

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Nobody listens.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// It does not speak HTTP.
    #[error("HTTP: {0}")]
    Http(hyper::Error),
    /// The path cannot be asked for.
    #[error("the check's path is not one: {0}")]
    Path(http::Error),
    /// It answers, but not with 200 to 399.
    #[error("HTTP status {0}")]
    HttpStatus(u16),
    /// It does not speak gRPC.
    #[error("gRPC: {0}")]
    Grpc(tonic::transport::Error),
    /// It answers with an error.
    #[error("gRPC: {0:?}")]
    GrpcCode(tonic::Code),
    /// It says that it does not serve.
    #[error("gRPC health: {0}")]
    NotServing(&'static str),
}

/// Probes once. The caller bounds the time.
pub(super) async fn probe(address: IpAddr, check: &HealthCheck) -> Result<(), ProbeError> {
    if let Some(probe) = &check.http {
        http(address, probe).await?;
    }
    if let Some(probe) = &check.grpc {
        grpc(address, probe).await?;
    }
    if let Some(probe) = &check.tcp {
        connect(SocketAddr::new(address, probe.port.get())).await?;
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ProbeError> {
    TcpStream::connect(address)
        .await
        .map_err(ProbeError::Connect)
}

async fn http(address: IpAddr, probe: &HttpProbe) -> Result<(), ProbeError> {
    let address = SocketAddr::new(address, probe.port.get());
    let stream = connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(ProbeError::Http)?;
    let request = http::Request::get(&probe.path)
        .header(http::header::HOST, address.to_string())
        .header(http::header::USER_AGENT, "weft-health")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(ProbeError::Path)?;
    // The connection makes progress while the answer is awaited, and ends with this probe.
    let (sending, connection) = (pin!(sender.send_request(request)), pin!(connection));
    let answer = match select(sending, connection).await {
        Either::Left((answer, _)) => answer,
        Either::Right((Ok(()), sending)) => sending.await,
        Either::Right((Err(why), _)) => Err(why),
    };
    let answer = answer.map_err(ProbeError::Http)?;
    let status = answer.status();
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(ProbeError::HttpStatus(status.as_u16()))
}

async fn grpc(address: IpAddr, probe: &GrpcProbe) -> Result<(), ProbeError> {
    let address = SocketAddr::new(address, probe.port.get());
    let endpoint = Channel::from_shared(format!("http://{address}"))
        .expect("a socket address makes a lawful authority");
    let channel = endpoint.connect().await.map_err(ProbeError::Grpc)?;
    let request = HealthCheckRequest {
        service: probe.service.clone(),
    };
    let answer = HealthClient::new(channel).check(request).await;
    let answer = answer.map_err(|status| ProbeError::GrpcCode(status.code()))?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(ProbeError::NotServing(other.as_str_name())),
    }
}
