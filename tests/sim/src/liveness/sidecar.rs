//! A sidecar with its workload: the process that is there now, and its sessions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;

use weft_model::fixture::{DOMAIN, name};
use weft_model::{AppProtocol, Endpoint, EndpointId, EndpointPort, Health, SpiffeId};
use weft_plan::catalog::SessionId;

/// Where a workload runs: one address, one process at a time.
#[derive(Debug)]
pub(super) struct Sidecar {
    pub(super) cluster: &'static str,
    pub(super) place: u8,
    pub(super) process: Option<Process>,
    /// When the next one starts, while none runs.
    pub(super) starts_at: u64,
}

/// One run of a workload.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) id: EndpointId,
    pub(super) sequence: u64,
    pub(super) health: Health,
    /// When it last had a new word.
    pub(super) changed: u64,
    /// Since when nothing was between it and the gateways of its cluster.
    pub(super) free_since: u64,
    /// By the number of the gateway.
    pub(super) sessions: BTreeMap<usize, Session>,
}

/// A sidecar's session with one run of a gateway, or the wait for one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    /// None while it is not open.
    pub(super) id: Option<SessionId>,
    /// The gateway's run.
    pub(super) run: u8,
    /// When to try again.
    pub(super) dials_at: u64,
    /// The last word that this gateway was told.
    pub(super) told: u64,
    /// Since when it is open without a break.
    pub(super) since: u64,
}

impl Sidecar {
    /// The endpoint as its process puts it.
    pub(super) fn endpoint(&self, process: &Process) -> Endpoint {
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

    pub(super) fn identity(&self) -> SpiffeId {
        let cluster = self.cluster;
        name(&format!("spiffe://{cluster}.{DOMAIN}/ns/shop/sa/checkout"))
    }
}
