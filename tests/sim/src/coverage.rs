//! What went wrong in a run, counted: a simulation in which a kind of fault never
//! happened says nothing about it.

use std::collections::BTreeMap;
use std::fmt;

/// Something that a run is there to meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Nothing arrives in one direction between two sides.
    CutOneWay,
    /// One node is cut off from all others.
    CutOff,
    /// Two sides, neither of which hears the other.
    CutHalves,
    /// Two sides that only one node can reach both of.
    CutBridge,
    /// Each node reaches its two neighbours alone.
    CutRing,
    /// A leader on the side without a majority.
    LeaderInMinority,
    /// A message was lost.
    Lost,
    /// A message arrived twice.
    Duplicated,
    /// A message arrived before one that was sent earlier on the same way.
    Reordered,
    /// A node stood still, and went on with its old view.
    Paused,
    /// A leader did, and another had taken its place.
    PausedLeaderDeposed,
    /// A node's wall clock jumped.
    ClockStepped,
    /// A node's clocks run fast or slow.
    ClockDrifts,
    /// They run ten times too fast or too slow.
    ClockRaces,
    /// A node lost its power.
    Crash,
    /// All nodes did at once.
    Blackout,
    /// A crash in the middle of a write.
    CrashWriting,
    /// A write to the file that a crash undid, though it was issued.
    WriteLost,
    /// A write to the file of which only some sectors arrived.
    WriteTorn,
    /// A sector that a crash left with garbage.
    SectorGarbled,
    /// A write was due on a disk that had no room for it.
    Stalled,
    /// A leader refused a proposal for want of room.
    RefusedForRoom,
    /// A snapshot took the place of the state of a node that has a disk.
    SnapshotInstalled,
    /// The group's members changed.
    MembersChanged,
    /// They did while the network was cut.
    MembersChangedInCut,
    /// A client was answered.
    Answered,
    /// A linearizable read was answered.
    Read,
    /// History let go of its oldest in a run, to keep within its bounds.
    HistoryTrimmed,
    /// A watcher was shown an entry.
    Watched,
    /// A watcher went on at another node.
    WatchMoved,
    /// A watcher that was slower than the ring read on in history.
    WatchedFromHistory,
    /// A watcher was told that history begins later.
    WatchCompacted,
    /// All nodes told it, and it read a state.
    WatchJumped,
    /// A follower started with nothing.
    FollowerBegan,
    /// It was sent a snapshot.
    FollowerInstalled,
    /// It applied an entry.
    FollowerApplied,
}

impl Seen {
    /// All kinds, in order.
    pub const ALL: [Self; 36] = [
        Self::CutOneWay,
        Self::CutOff,
        Self::CutHalves,
        Self::CutBridge,
        Self::CutRing,
        Self::LeaderInMinority,
        Self::Lost,
        Self::Duplicated,
        Self::Reordered,
        Self::Paused,
        Self::PausedLeaderDeposed,
        Self::ClockStepped,
        Self::ClockDrifts,
        Self::ClockRaces,
        Self::Crash,
        Self::Blackout,
        Self::CrashWriting,
        Self::WriteLost,
        Self::WriteTorn,
        Self::SectorGarbled,
        Self::Stalled,
        Self::RefusedForRoom,
        Self::SnapshotInstalled,
        Self::MembersChanged,
        Self::MembersChangedInCut,
        Self::Answered,
        Self::Read,
        Self::HistoryTrimmed,
        Self::Watched,
        Self::WatchMoved,
        Self::WatchedFromHistory,
        Self::WatchCompacted,
        Self::WatchJumped,
        Self::FollowerBegan,
        Self::FollowerInstalled,
        Self::FollowerApplied,
    ];
}

/// How often each was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<Seen, usize>,
}

impl Coverage {
    pub(crate) fn note(&mut self, seen: Seen) {
        self.add(seen, 1);
    }

    pub(crate) fn add(&mut self, seen: Seen, times: usize) {
        *self.counts.entry(seen).or_default() += times;
    }

    /// How often this was met.
    pub fn count(&self, seen: Seen) -> usize {
        self.counts.get(&seen).copied().unwrap_or_default()
    }

    /// Adds another run's counts.
    pub fn merge(&mut self, other: &Self) {
        for (seen, times) in &other.counts {
            self.add(*seen, *times);
        }
    }

    /// What was never met.
    pub fn missing(&self) -> Vec<Seen> {
        let never = |seen: &Seen| self.count(*seen) == 0;
        Seen::ALL.into_iter().filter(never).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Seen::ALL
            .iter()
            .try_for_each(|seen| writeln!(f, "{:>9} {seen:?}", self.count(*seen)))
    }
}
