//! Virtual-IP indexes: given to a service when it appears, its own for as long
//! as it lives and, in quarantine, for a while after.

use std::sync::Arc;

use serde::Serialize;

use super::Federation;
use super::author::Cause;
use crate::{
    ClusterName, ClusterSpec, Index, Kind, Refusal, ServiceKey, VirtualIpIndex, VirtualIpRanges,
    WallTime, quota,
};

/// The index of a service that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantine {
    /// Its index.
    pub index: VirtualIpIndex,
    /// The cluster whose export was the last; it counts towards its quota.
    pub cluster: ClusterName,
    /// Where in the log it went.
    pub since: Index,
    /// When it went, by the leader's stamp.
    pub time: WallTime,
}

impl Quarantine {
    /// Whether it holds at this entry: until enough entries and enough time have
    /// passed. A leader's wrong clock can prolong it, not shorten it below the entries.
    fn holds(&self, at: Index, now: WallTime) -> bool {
        at.0 < self.since.0.saturating_add(quota::QUARANTINE_ENTRIES)
            || now.since(self.time) < quota::QUARANTINE_TIME
    }
}

impl Federation {
    /// The highest index that has an address in every cluster; 0 without clusters.
    pub fn virtual_ip_capacity(&self) -> u32 {
        let capacity = |ranges: &VirtualIpRanges| ranges.capacity();
        self.clusters
            .values()
            .map(|member| capacity(&member.spec.virtual_ips))
            .min()
            .unwrap_or(0)
    }

    /// The index that `key` has, had until lately, or gets: the lowest free one.
    pub(super) fn index_for(
        &self,
        cause: &Cause<'_>,
        key: &ServiceKey,
    ) -> Result<VirtualIpIndex, Refusal> {
        if let Some(service) = self.services.get(key) {
            return Ok(service.index);
        }
        if let Some((_, own)) = self.held(cause).find(|(gone, _)| *gone == key) {
            return Ok(own.index);
        }
        let live = self.services.values().map(|service| service.index);
        let used = live.chain(self.held(cause).map(|(_, gone)| gone.index));
        lowest_free(used, self.virtual_ip_capacity()).ok_or(Refusal::Exhausted)
    }

    /// What is in quarantine at this entry; rows that hold no longer may linger.
    fn held<'a>(
        &'a self,
        cause: &'a Cause<'_>,
    ) -> impl Iterator<Item = (&'a ServiceKey, &'a Quarantine)> {
        let holds = |gone: &Quarantine| gone.holds(cause.index, cause.time);
        self.quarantine.iter().filter(move |(_, gone)| holds(gone))
    }

    /// Ends the quarantine of an index that means `key` from now on.
    pub(super) fn settle(&mut self, key: &ServiceKey, index: VirtualIpIndex) {
        let settled = |(gone, row): (&ServiceKey, &Quarantine)| gone == key || row.index == index;
        if self.quarantine.iter().any(settled) {
            Arc::make_mut(&mut self.quarantine).retain(|gone, row| !settled((gone, row)));
        }
    }

    /// Keeps the index of a service that has just gone, and lets go of those kept long enough.
    pub(super) fn quarantine(
        &mut self,
        cause: &Cause<'_>,
        cluster: &ClusterName,
        key: &ServiceKey,
        index: VirtualIpIndex,
    ) {
        let gone = Quarantine {
            index,
            cluster: cluster.clone(),
            since: cause.index,
            time: cause.time,
        };
        let table = Arc::make_mut(&mut self.quarantine);
        table.retain(|_, gone| gone.holds(cause.index, cause.time));
        table.insert(key.clone(), gone);
    }

    /// How many services one cluster may offer: never so many that it takes every
    /// index there is and leaves the others none.
    pub(super) fn exports_max(&self) -> usize {
        let half = usize::try_from(self.virtual_ip_capacity() / 2).unwrap_or(usize::MAX);
        quota::EXPORTS_MAX.min(half)
    }

    /// Services a cluster offers and indexes its withdrawn ones still hold.
    pub(super) fn indexes_held_by(&self, cause: &Cause<'_>, cluster: &ClusterName) -> usize {
        let offered = self.exports.keys().filter(|(_, owner)| owner == cluster);
        let held = self
            .held(cause)
            .filter(|(_, gone)| gone.cluster == *cluster);
        offered.count() + held.count()
    }

    /// Passes ranges with an address for every index that is in use or in quarantine.
    pub(super) fn check_room(
        &self,
        cause: &Cause<'_>,
        name: &ClusterName,
        spec: &ClusterSpec,
    ) -> Result<(), Refusal> {
        let live = self.services.values().map(|service| service.index.0);
        let held = self.held(cause).map(|(_, gone)| gone.index.0);
        let highest = live.chain(held).max().unwrap_or(0);
        if highest > spec.virtual_ips.capacity() {
            let problem = format!(
                "virtualIPs.ipv4 {} has no address for index {highest}, which is in use: take a larger range",
                spec.virtual_ips.ipv4
            );
            return Err(Refusal::invalid(Kind::Cluster, name, problem));
        }
        Ok(())
    }
}

/// The lowest number from 1 to `capacity` that is not used. Among n used ones
/// it is n + 1 at most, so that no more need be looked at.
fn lowest_free(
    used: impl Iterator<Item = VirtualIpIndex>,
    capacity: u32,
) -> Option<VirtualIpIndex> {
    let used: Vec<u32> = used.map(|index| index.0).collect();
    let mut taken = vec![false; used.len() + 1];
    for index in used {
        let place = usize::try_from(index).ok().and_then(|i| i.checked_sub(1));
        if let Some(seen) = place.and_then(|place| taken.get_mut(place)) {
            *seen = true;
        }
    }
    let place = taken.iter().position(|taken| !taken)?;
    let index = u32::try_from(place).ok()?.checked_add(1)?;
    (index <= capacity).then_some(VirtualIpIndex(index))
}
