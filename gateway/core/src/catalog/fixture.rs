//! Endpoints, moments and a way to join two catalogs, for this module's tests.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use weft_model::fixture::{DOMAIN, name};
use weft_model::{
    AppProtocol, ClusterName, Endpoint, EndpointId, EndpointPort, Health, ServiceKey, SpiffeId,
};

use super::{Attestation, Catalog, Cursor, Epoch, Interest, Timing};
use crate::Moment;

pub(super) const EU: &str = "eu-west-1";
pub(super) const US: &str = "us-east-1";

pub(super) fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

pub(super) fn id(n: u32) -> EndpointId {
    let mut id = [0; 16];
    id[12..].copy_from_slice(&n.to_be_bytes());
    EndpointId(id)
}

pub(super) fn checkout() -> ServiceKey {
    name("shop/checkout")
}

pub(super) fn identity(cluster: &str) -> SpiffeId {
    name(&format!("spiffe://{cluster}.{DOMAIN}/ns/shop/sa/checkout"))
}

pub(super) fn endpoint(cluster: &str, n: u32, sequence: u64) -> Endpoint {
    // Two processes never share an address.
    let [_, a, b, c] = n.to_be_bytes();
    Endpoint {
        id: id(n),
        service: checkout(),
        cluster: name(cluster),
        zone: None,
        version: None,
        hostname: None,
        address: Some(SocketAddr::from(([127, a, b, c], 15006))),
        workload: None,
        ports: vec![EndpointPort {
            name: Some(name("http")),
            service_port: NonZeroU16::new(80).unwrap(),
            protocol: AppProtocol::Http,
        }],
        identity: identity(cluster),
        weight: 100,
        health: Health::Ready,
        unready: None,
        sequence,
    }
}

pub(super) fn catalog(cluster: &str, gateway: &str, epoch: u8, now: Moment) -> Catalog {
    let timing = Timing::default();
    Catalog::new(
        name(cluster),
        name(gateway),
        Epoch([epoch; 16]),
        timing,
        now,
    )
}

/// Ready endpoints of shop/checkout in `cluster`, by number.
pub(super) fn ready(catalog: &mut Catalog, cluster: &str) -> Vec<u32> {
    listed(catalog, cluster, |health| health == Health::Ready)
}

/// Listed endpoints, ready or not.
pub(super) fn all(catalog: &mut Catalog, cluster: &str) -> Vec<u32> {
    listed(catalog, cluster, |_| true)
}

fn listed(catalog: &mut Catalog, cluster: &str, wanted: impl Fn(Health) -> bool) -> Vec<u32> {
    let (view, _) = catalog.refresh();
    let cluster: ClusterName = name(cluster);
    let Some(service) = view.service(&checkout()) else {
        return Vec::new();
    };
    let endpoints = service.of(&cluster).filter(|e| wanted(e.health));
    let number = |id: EndpointId| u32::from_be_bytes(id.0[12..].try_into().unwrap());
    endpoints.map(|e| number(e.id)).collect()
}

/// One direction of a stream between two gateways, as the shells run it.
pub(super) struct Link {
    from: ClusterName,
    epoch: Epoch,
    cursor: Cursor,
}

impl Link {
    pub(super) fn open(
        from: &Catalog,
        cluster: &str,
        gateway: &str,
        to: &mut Catalog,
        now: Moment,
    ) -> Self {
        let cluster: ClusterName = name(cluster);
        to.open_peer(
            &cluster,
            &name(gateway),
            from.epoch(),
            from.is_recovering(),
            now,
        );
        to.peer_snapshot(&cluster, from.epoch(), Interest::Everything);
        Self {
            from: cluster,
            epoch: from.epoch(),
            cursor: from.journal().begin_anew(),
        }
    }

    /// Delivers at most `most` words, and a mark once there are no more.
    pub(super) fn deliver(&mut self, from: &Catalog, to: &mut Catalog, most: usize, now: Moment) {
        let batch = from.journal().read(&mut self.cursor, most, |_| true);
        let batch = batch.expect("few removals");
        for step in batch.steps {
            match step.value {
                Attestation::Present(endpoint) => {
                    assert!(to.peer_attests(&self.from, self.epoch, Endpoint::clone(&endpoint)));
                }
                Attestation::Retracted(id) => to.peer_retracts(&self.from, self.epoch, id, now),
                Attestation::Withdrawn(id, sequence) => {
                    to.peer_withdraws(&self.from, self.epoch, id, sequence, now);
                }
            }
        }
        if batch.caught_up {
            let hash = from.journal().hash(|_| true);
            to.peer_mark(&self.from, self.epoch, hash, now)
                .expect("the same set");
        }
    }
}

/// SplitMix64: enough chance for a test, and the same for a seed everywhere.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
