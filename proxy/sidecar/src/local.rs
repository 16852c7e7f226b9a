//! What this workload serves, as it registers it.

use std::sync::Arc;

use aws_lc_rs::rand::{self, SecureRandom};
use weft_model::{ClusterName, Endpoint, EndpointId, EndpointPort, Health, SpiffeId};

use crate::config::{Config, LocalService};

/// A service of this workload under the endpoint id that it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalEndpoint {
    /// New at each start.
    pub id: EndpointId,
    /// The service.
    pub service: LocalService,
}

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandom;

impl LocalEndpoint {
    /// Every service of `config` in this cluster, each under a fresh id.
    pub fn all(config: &Config, cluster: &ClusterName) -> Result<Arc<[Self]>, NoRandom> {
        let random = rand::SystemRandom::new();
        config
            .services
            .iter()
            .map(|service| {
                let mut bytes = [0; EndpointId::RANDOM];
                random.fill(&mut bytes).map_err(|_| NoRandom)?;
                Ok(Self {
                    id: EndpointId::of_cluster(cluster, bytes),
                    service: service.clone(),
                })
            })
            .collect()
    }

    /// The record to register: not ready until its checks say so, unless it has none.
    pub fn record(&self, config: &Config, cluster: ClusterName, identity: SpiffeId) -> Endpoint {
        let service = &self.service;
        Endpoint {
            id: self.id,
            service: service.key.clone(),
            cluster,
            zone: config.zone.clone(),
            version: service.version.clone(),
            hostname: service.hostname.clone(),
            address: Some(config.advertised),
            workload: Some(config.advertised.ip()),
            ports: service
                .ports
                .iter()
                .map(|port| EndpointPort {
                    name: port.name.clone(),
                    service_port: port.service_port,
                    protocol: port.protocol,
                })
                .collect(),
            identity,
            weight: service.weight,
            health: if service.checks.is_empty() {
                Health::Ready
            } else {
                Health::NotReady
            },
            unready: None,
            sequence: 0,
        }
    }
}
