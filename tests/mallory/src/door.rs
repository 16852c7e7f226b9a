//! The gRPC door of a gateway, knocked at with any certificate, or none.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use weft_identity::{BundleSource, PeerRule, SvidSource, client_config, client_config_pinned};
use weft_proxy::rpc::{self, ALPN_GRPC};

/// How long a handshake or an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A channel with a certificate.
///
/// # Errors
/// The gateway refuses the handshake, or is not there.
pub async fn knock(
    address: SocketAddr,
    svid: &SvidSource,
    bundles: &BundleSource,
) -> Result<Channel, rpc::DialError> {
    let tls = client_config(svid, bundles, PeerRule::Gateway, &[ALPN_GRPC]);
    rpc::dial(address, tls, PATIENCE).await
}

/// A channel without one, for who holds the hash of the cluster's bundle.
///
/// # Errors
/// The gateway has another bundle, or is not there.
pub async fn knock_bare(
    address: SocketAddr,
    bundle_hash: [u8; 32],
) -> Result<Channel, rpc::DialError> {
    rpc::dial(
        address,
        client_config_pinned(bundle_hash, &[ALPN_GRPC]),
        PATIENCE,
    )
    .await
}

/// A request that does not wait for ever.
pub fn ask<T>(body: T) -> Request<T> {
    let mut request = Request::new(body);
    request.set_timeout(PATIENCE);
    request
}

/// Whether an answer says that the caller may not do this at all.
pub fn is_denied(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::PermissionDenied | Code::Unauthenticated
    )
}
