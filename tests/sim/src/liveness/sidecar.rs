//! A sidecar with its workload: the process that is there now, and its sessions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;

use weft_model::fixture::{DOMAIN, name};
use weft_model::{AppProtocol, Endpoint, EndpointId, EndpointPort, Health, SpiffeId};
use weft_plan::catalog::SessionId;

/// Where a workload runs: one address, one process at a time.
#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) cluster: &'static str,
    pub(crate) place: u8,
    pub(crate) process: Option<Process>,
    /// When the next one starts, while none runs.
    pub(crate) starts_at: u64,
}

/// One run of a workload.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: EndpointId,
    pub(crate) sequence: u64,
    pub(crate) health: Health,
    /// When it last had a new word.
    pub(crate) changed: u64,
    /// Since when nothing was between it and the gateways of its cluster.
    pub(crate) free_since: u64,
    /// By the number of the gateway.
    pub(crate) sessions: BTreeMap<usize, Session>,
}

/// A sidecar's session with one run of a gateway, or the wait for one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    /// None while it is not open.
    pub(crate) id: Option<SessionId>,
    /// The gateway's run.
    pub(crate) run: u8,
    /// When to try again.
    pub(crate) dials_at: u64,
    /// The last word that this gateway was told.
    pub(crate) told: u64,
    /// Since when it is open without a break.
    pub(crate) since: u64,
}

impl Sidecar {
    /// Its workload starts as soon as it may.
    pub(crate) fn new(cluster: &'static str, place: u8) -> Self {
        Self {
            cluster,
            place,
            process: None,
            starts_at: 0,
        }
    }

    /// The endpoint as its process puts it.
    pub(crate) fn endpoint(&self, process: &Process) -> Endpoint {
        let region: u8 = self.cluster.bytes().fold(0, u8::wrapping_add);
        Endpoint {
            id: process.id,
            service: name("shop/checkout"),
            cluster: name(self.cluster),
            zone: None,
            version: None,
            hostname: None,
            address: Some(SocketAddr::from(([127, region, 0, self.place], 15006))),
            workload: None,
            ports: vec![EndpointPort {
                name: Some(name("http")),
                service_port: NonZeroU16::MIN.saturating_add(79),
                protocol: AppProtocol::Http,
            }],
            identity: self.identity(),
            weight: 100,
            health: process.health,
            unready: None,
            sequence: process.sequence,
        }
    }

    pub(crate) fn identity(&self) -> SpiffeId {
        let cluster = self.cluster;
        name(&format!("spiffe://{cluster}.{DOMAIN}/ns/shop/sa/checkout"))
    }
}
