//! Cohorts that only grow.

use std::fmt;

use weft_model::{BasisPoints, ServiceKey};

use crate::Rng;

/// One of ten thousand equal parts of a release's clients.
///
/// A client's is FNV-1a (64 bits) over `namespace/name`, a zero byte and its key, finished by
/// SplitMix64, modulo 10,000. It depends on nothing else: each process comes to the same, and who
/// is below one weight is below every higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u16);

const BUCKETS: u64 = 10_000;

impl Bucket {
    /// The bucket of the client with this key.
    pub fn of(release: &ServiceKey, key: &[u8]) -> Self {
        let (namespace, name) = (release.namespace.as_str(), release.name.as_str());
        let parts = [namespace.as_bytes(), b"/", name.as_bytes(), b"\0", key];
        let bytes = parts.into_iter().flatten();
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::new(Rng::seeded(hash).next_u64() % BUCKETS)
    }

    /// A bucket by chance.
    pub(super) fn drawn(rng: &mut Rng) -> Self {
        Self::new(rng.below(BUCKETS))
    }

    fn new(number: u64) -> Self {
        Self(u16::try_from(number).expect("it is below 10,000"))
    }

    /// Its number, from 0 to 9,999.
    pub fn number(self) -> u16 {
        self.0
    }

    /// Whether its clients are within a share.
    pub fn is_below(self, weight: BasisPoints) -> bool {
        self.0 < weight.value()
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {BUCKETS}", self.0)
    }
}
