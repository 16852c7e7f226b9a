//! What a client hears of a handshake that the gateway refuses.

#![allow(clippy::unwrap_used, reason = "a test that lacks it has failed")]

use std::time::SystemTime;

use tonic::service::Routes;
use tonic::{Request, Response, Status};
use weft_identity::{ClientAuth, PeerRule, SvidSource, client_config, fixture, server_config};
use weft_model::WallTime;
use weft_proto::health::health_server::{Health, HealthServer};
use weft_proto::health::{HealthCheckRequest, HealthCheckResponse};
use weft_proxy::rpc::{self, ALPN_GRPC, DialError};

use super::*;

struct Serving;

#[tonic::async_trait]
impl Health for Serving {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse::default()))
    }
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    WallTime(u64::try_from(since.unwrap().as_millis()).unwrap())
}

/// Serves as a gateway of `a` would, for as long as the runtime lives.
async fn gateway(ours: &weft_identity::Authority) -> SocketAddr {
    let listener = ApiListener::bind("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let address = listener.address();
    let svid = fixture::svid(ours, "spiffe://a.example.org/gateway/gw-1", now());
    let clients = ClientAuth::Optional(PeerRule::AnyKnown);
    let bundles = fixture::bundles(&[ours]);
    let tls = server_config(&SvidSource::new(svid), &bundles, clients, &[ALPN_GRPC]);
    let routes = Routes::new(HealthServer::new(Serving));
    tokio::spawn(serve(listener, tls, routes, std::future::pending()));
    address
}

/// The alert that arrives at a client that presents `svid`; none if it is taken.
async fn alert(
    address: SocketAddr,
    ours: &weft_identity::Authority,
    svid: weft_identity::Svid,
) -> Option<rustls::AlertDescription> {
    let rule = PeerRule::GatewayOf(ours.trust_domain().clone());
    let bundles = fixture::bundles(&[ours]);
    let tls = client_config(&SvidSource::new(svid), &bundles, rule, &[ALPN_GRPC]);
    match rpc::dial(address, tls, Duration::from_secs(60)).await {
        Ok(_) => None,
        Err(DialError::Handshake { source, .. }) => {
            match source.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
                _ => panic!("no alert: {source}"),
            }
        }
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_refused_certificate_is_told_and_not_cut_off() {
    let ours = fixture::authority("a.example.org", now());
    let others = fixture::authority("b.example.org", now());
    let address = gateway(&ours).await;
    let member = fixture::svid(&ours, "spiffe://a.example.org/ns/shop/sa/web", now());
    assert_eq!(alert(address, &ours, member).await, None);
    // More than once: a reset overtakes an alert now and then.
    for _ in 0..20 {
        let foreign = fixture::svid(&others, "spiffe://b.example.org/user/eve", now());
        let past = WallTime(now().0 - 2 * u64::try_from(fixture::DAY.as_millis()).unwrap());
        let ended = fixture::svid(&ours, "spiffe://a.example.org/ns/shop/sa/web", past);
        for refused in [foreign, ended] {
            let alert = alert(address, &ours, refused).await;
            assert_eq!(alert, Some(rustls::AlertDescription::CertificateUnknown));
        }
    }
}
