//! How often a peer may ask for a snapshot. Pure, but for its own count of ticks.
//!
//! A snapshot is the whole state, and a peer asks for one by a flag in its answers: whoever always
//! does would have one after the other. One that was lost is sent again by its sender after twenty
//! ticks, then forty, and so on (`driver/snapshots.rs`): sooner than half of that nobody needs to
//! ask. What a peer needs because its log ends too early it is sent without asking, one at a time.

use std::collections::BTreeMap;

/// When each peer was sent one.
#[derive(Debug, Default)]
pub(crate) struct Spacing {
    /// How many ticks this node has seen.
    now: u64,
    last: BTreeMap<u64, Sent>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: u64,
    /// Ticks until the next one.
    pause: u64,
}

/// Ticks between two snapshots to one peer: at first, and at most (4 to 16 s).
const PAUSE_MIN: u64 = 10;
const PAUSE_MAX: u64 = 80;
/// Who has needed none for so many pauses begins anew.
const CALM: u64 = 8;

impl Spacing {
    pub(crate) fn tick(&mut self) {
        self.now += 1;
    }

    /// Whether `peer` may be sent one now, for having asked.
    pub(crate) fn may_send(&self, peer: u64) -> bool {
        let last = self.last.get(&peer);
        last.is_none_or(|last| self.now >= last.at + last.pause)
    }

    /// It was sent one.
    pub(crate) fn sent(&mut self, peer: u64) {
        let (now, last) = (self.now, self.last.get(&peer));
        let pause = last.map_or(PAUSE_MIN, |last| match now >= last.at + CALM * last.pause {
            true => PAUSE_MIN,
            false => (last.pause * 2).min(PAUSE_MAX),
        });
        self.last.insert(peer, Sent { at: now, pause });
        // Of peers that are long gone nothing is kept.
        self.last.retain(|_, sent| now < sent.at + CALM * PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When one that asks with every tick is sent snapshots.
    fn sent(spacing: &mut Spacing, peer: u64, ticks: u64) -> Vec<u64> {
        let mut sent = Vec::new();
        for _ in 0..ticks {
            if spacing.may_send(peer) {
                spacing.sent(peer);
                sent.push(spacing.now);
            }
            spacing.tick();
        }
        sent
    }

    #[test]
    fn who_always_asks_is_sent_ever_fewer() {
        let mut spacing = Spacing::default();
        let at = sent(&mut spacing, 4, 400);
        assert_eq!(at, [0, 10, 30, 70, 150, 230, 310, 390]);
    }

    #[test]
    fn each_has_its_own_and_calm_is_forgotten() {
        let mut spacing = Spacing::default();
        sent(&mut spacing, 4, 400);
        assert!(spacing.may_send(5));
        for _ in 0..CALM * PAUSE_MAX {
            spacing.tick();
        }
        let at = sent(&mut spacing, 4, 31);
        assert_eq!(at.len(), 3, "{at:?}");
    }

    /// A lost one is sent again as soon as it counts as lost.
    #[test]
    fn what_was_lost_is_sent_again_in_time() {
        let mut spacing = Spacing::default();
        for patience in [20, 40, 80, 160, 320, 640] {
            assert!(spacing.may_send(4));
            spacing.sent(4);
            for _ in 0..patience {
                spacing.tick();
            }
        }
        assert!(spacing.may_send(4));
    }
}
