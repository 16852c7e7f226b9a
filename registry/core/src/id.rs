//! Ids and counters. Numbers that mean different things have different types.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClusterName, sha256};

macro_rules! number {
    ($(#[$doc:meta])* $type:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $type(pub $inner);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A Raft member's id. Allocated by the log, never reused.
    NodeId(u64));
number!(
    /// A position in the federation's log.
    Index(u64));
number!(
    /// An owner's monotonic count of its writes: a record with a lower one is a replay.
    Generation(u64));
number!(
    /// The format of log records that every member supports; a record kind takes
    /// effect only from its level on.
    FormatLevel(u32));
number!(
    /// Which of a signer's keys: counted from 1, each replacing the one before.
    SignerEpoch(u32));
number!(
    /// A stage of a release: each `setWeight` is one, counted from 1 over all waves.
    Stage(u16));
number!(
    /// A service's place in every cluster's virtual-IP range.
    VirtualIpIndex(u32));

impl FormatLevel {
    /// The level of a federation at its founding.
    pub const FIRST: Self = Self(1);
    /// The level that brought routes and traffic policies.
    pub const ROUTES: Self = Self(2);
    /// The level that brought releases.
    pub const RELEASES: Self = Self(3);
    /// The level that brought the way back to an earlier stage of a release.
    pub const STEPS_BACK: Self = Self(4);
    /// The level that brought witnesses.
    pub const WITNESSES: Self = Self(5);
    /// The level at which a cluster may consent to relay between two others.
    pub const RELAYS: Self = Self(6);
    /// The level that brought followers.
    pub const FOLLOWERS: Self = Self(7);
    /// The level that brought ceilings on what a cluster draws.
    pub const CEILINGS: Self = Self(8);
    /// The last level of which a record that comes before its level is refused, and its request
    /// remembered. One of a later level is kept unread, as by builds that do not know the level.
    pub const REFUSED_EARLY: Self = Self::FOLLOWERS;
}

impl Stage {
    /// The stage that a release has when it starts.
    pub const FIRST: Self = Self(1);

    /// The one after it.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Generation {
    /// The one after it; the last one has none but itself.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl SignerEpoch {
    /// The epoch of a signer's first key.
    pub const FIRST: Self = Self(1);
}

/// What stands before the cluster in an id that is bound to one.
const BOUND: [u8; 4] = *b"weft";

impl EndpointId {
    /// How many of its bytes are random.
    pub const RANDOM: usize = 7;

    /// An id that no other cluster's endpoint can have: the random bytes, a mark, and the first
    /// five bytes of the SHA-256 of the cluster's name.
    pub fn of_cluster(cluster: &ClusterName, random: [u8; Self::RANDOM]) -> Self {
        let mut id = [0; 16];
        let (unique, rest) = id.split_at_mut(Self::RANDOM);
        let (mark, owner) = rest.split_at_mut(BOUND.len());
        unique.copy_from_slice(&random);
        mark.copy_from_slice(&BOUND);
        owner.copy_from_slice(&owner_of(cluster));
        Self(id)
    }

    /// Whether an endpoint of `cluster` may have this id. Ids of builds from before they were bound
    /// bear no mark, and may be anybody's.
    pub fn may_be_of(self, cluster: &ClusterName) -> bool {
        let (mark, owner) = self.0[Self::RANDOM..].split_at(BOUND.len());
        mark != BOUND || owner == owner_of(cluster)
    }
}

fn owner_of(cluster: &ClusterName) -> [u8; 5] {
    let hash = sha256::digest(cluster.as_str().as_bytes());
    let (owner, _) = hash.split_first_chunk().expect("five of 32 bytes");
    *owner
}

macro_rules! opaque {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $type(pub [u8; 16]);

        impl $type {
            /// Takes 16 bytes from a slice; none if its length differs.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

opaque!(
    /// An endpoint: new at each start of its process, and bound to its cluster
    /// ([`EndpointId::of_cluster`]).
    EndpointId);
opaque!(
    /// A proposal: random, so that a retried one is applied once.
    RequestId);
opaque!(
    /// A clamp: random.
    ClampId);
opaque!(
    /// A join token: the first 16 bytes of the SHA-256 of its public key.
    TokenId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_id_is_its_clusters_alone() {
        let (ours, theirs) = ("us-east-1".parse().unwrap(), "mallory-1".parse().unwrap());
        let id = EndpointId::of_cluster(&ours, [1, 2, 3, 4, 5, 6, 7]);
        assert!(id.may_be_of(&ours) && !id.may_be_of(&theirs));
        // As other builds write it.
        assert_eq!(id.to_string(), "0102030405060777656674487d653406");
        let unbound = EndpointId([7; 16]);
        assert!(unbound.may_be_of(&ours) && unbound.may_be_of(&theirs));
    }
}
