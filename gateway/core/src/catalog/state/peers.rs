//! What other gateways say: each speaks for its own cluster and no other.

use std::sync::Arc;

use weft_model::{ClusterName, Digest, Endpoint, EndpointId, GatewayName};

use super::Catalog;
use crate::Moment;
use crate::catalog::{ClusterSet, Epoch, HashMismatch, Interest, SetHash};

impl Catalog {
    /// A run of a gateway of `cluster` can be heard, or says that it recovers no longer.
    pub fn open_peer(
        &mut self,
        cluster: &ClusterName,
        gateway: &GatewayName,
        epoch: Epoch,
        recovering: bool,
        now: Moment,
    ) {
        self.set(cluster).open(epoch, gateway, recovering, now);
        self.stale_liveness = true;
    }

    /// Its stream ended.
    pub fn lose_peer(&mut self, cluster: &ClusterName, epoch: Epoch, now: Moment) {
        self.set(cluster).lost(epoch, now);
        self.stale_liveness = true;
    }

    /// What follows is all that the peer attests within `covers`.
    pub fn peer_snapshot(&mut self, cluster: &ClusterName, epoch: Epoch, covers: Interest) {
        self.set(cluster).begin_snapshot(epoch, covers);
    }

    /// A peer attests an endpoint. It can only speak of its own cluster, under an id of that
    /// cluster's, or one that is bound to none and that no other cluster used first. Returns whether
    /// it was taken.
    pub fn peer_attests(
        &mut self,
        cluster: &ClusterName,
        epoch: Epoch,
        mut endpoint: Endpoint,
    ) -> bool {
        let elsewhere = |(name, set): (&ClusterName, &ClusterSet)| {
            name != cluster && set.endpoint(endpoint.id).is_some()
        };
        let is_own = endpoint.cluster == *cluster && endpoint.id.may_be_of(cluster);
        if !is_own || self.sets.iter().any(elsewhere) {
            return false;
        }
        if *cluster != self.cluster {
            // Addresses of other clusters mean nothing here and may overlap ours.
            endpoint.address = None;
            endpoint.workload = None;
        }
        self.set(cluster).attest(epoch, Arc::new(endpoint))
    }

    /// A peer attests an endpoint no longer.
    pub fn peer_retracts(
        &mut self,
        cluster: &ClusterName,
        epoch: Epoch,
        id: EndpointId,
        now: Moment,
    ) {
        self.set(cluster).retract(epoch, id, now);
    }

    /// A peer passes on that an owner ended its endpoint.
    pub fn peer_withdraws(
        &mut self,
        cluster: &ClusterName,
        epoch: Epoch,
        id: EndpointId,
        sequence: u64,
        now: Moment,
    ) {
        self.set(cluster).withdraw(epoch, id, sequence, now);
    }

    /// A peer has said everything up to here.
    pub fn peer_mark(
        &mut self,
        cluster: &ClusterName,
        epoch: Epoch,
        said: SetHash,
        now: Moment,
    ) -> Result<(), HashMismatch> {
        self.stale_liveness = true;
        self.set(cluster).mark(epoch, said, now)
    }

    /// A peer tells how much of what its cluster has.
    pub fn peer_digest(&mut self, cluster: &ClusterName, epoch: Epoch, digest: Arc<Digest>) {
        self.set(cluster).tell_digest(epoch, digest);
        self.stale_liveness = true;
    }

    /// The hash of what is held of a peer's words, to resume by.
    pub fn peer_hash(&self, cluster: &ClusterName, epoch: Epoch) -> SetHash {
        let set = self.sets.get(cluster);
        set.map_or_else(SetHash::default, |set| set.hash(epoch))
    }
}
