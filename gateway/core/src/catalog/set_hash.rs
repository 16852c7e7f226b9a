//! A hash of a set that does not depend on order and follows single changes.

use weft_model::EndpointId;

/// The sum of the hashes of a set's elements.
///
/// Two sides compare it to notice that they differ. It is no proof against
/// an adversary: who can choose elements can make two sets sum up alike, and
/// thereby deceives nobody but whoever asked for its own word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetHash(pub u64);

impl SetHash {
    /// Takes an element in.
    pub fn insert(&mut self, element: u64) {
        self.0 = self.0.wrapping_add(element);
    }

    /// Takes it out again.
    pub fn remove(&mut self, element: u64) {
        self.0 = self.0.wrapping_sub(element);
    }

    /// The hash of the disjoint union.
    pub fn join(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

/// The element for an owner's word: endpoint and sequence. Both sides compute it.
pub(crate) fn word(id: EndpointId, sequence: u64) -> u64 {
    let (high, low) = id.0.split_at(8);
    [high, low].into_iter().fold(mix(sequence), |hash, half| {
        let half = half.try_into().expect("half of 16 bytes is 8 bytes");
        mix(hash ^ u64::from_be_bytes(half))
    })
}

/// SplitMix64's output function: a bijection whose every input bit reaches every output bit.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
