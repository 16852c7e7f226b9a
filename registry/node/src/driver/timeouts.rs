//! Election timeouts from a seed.
//!
//! The consensus library draws them from the process's random source, which
//! would make a simulated run unrepeatable. After every step the drawn value
//! is replaced by one that depends on the node, its run, the term and how often
//! it has campaigned: spread like a random one, equal in equal runs.

use raft::{RawNode, StateRole};

use super::input::Settings;
use crate::replica::Replica;

#[derive(Debug)]
pub(super) struct Timeouts {
    seed: u64,
    ticks: usize,
    campaigns: u64,
}

impl Timeouts {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            seed: mix(settings.node.0 ^ mix(settings.run)),
            ticks: settings.election_ticks,
            campaigns: 0,
        }
    }

    /// Counts a campaign if the coming tick begins one, so that the next timeout differs.
    pub(super) fn count(&mut self, raw: &RawNode<Replica>) {
        let raft = &raw.raft;
        let due = raft.election_elapsed + 1 >= raft.randomized_election_timeout();
        if due && raft.state != StateRole::Leader {
            self.campaigns += 1;
        }
    }

    /// Puts the seeded value in the place of a drawn one.
    pub(super) fn settle(&self, raw: &mut RawNode<Replica>) {
        let spread = self.ticks as u64;
        let drawn = mix(self.seed ^ mix(raw.raft.term) ^ mix(self.campaigns ^ 0xC0FFEE)) % spread;
        raw.raft
            .set_randomized_election_timeout(self.ticks + drawn as usize);
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
