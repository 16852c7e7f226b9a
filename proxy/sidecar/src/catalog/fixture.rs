//! Endpoints for this crate's tests.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use weft_model::{AppProtocol, Endpoint, EndpointId, EndpointPort, Health};

pub(crate) fn endpoint(cluster: &str, n: u8, sequence: u64) -> Endpoint {
    Endpoint {
        id: EndpointId([n; 16]),
        service: "shop/checkout".parse().unwrap(),
        cluster: cluster.parse().unwrap(),
        zone: Some("a".parse().unwrap()),
        version: Some("v2".parse().unwrap()),
        hostname: Some("pod-0".parse().unwrap()),
        address: Some(SocketAddr::from(([10, 0, 0, n], 15006))),
        workload: Some([10, 0, 0, n].into()),
        ports: vec![EndpointPort {
            name: Some("http".parse().unwrap()),
            service_port: NonZeroU16::new(80).unwrap(),
            protocol: AppProtocol::Http,
        }],
        identity: format!("spiffe://{cluster}.fed.example.org/ns/shop/sa/checkout")
            .parse()
            .unwrap(),
        weight: 100,
        health: Health::Ready,
        unready: None,
        sequence,
    }
}
