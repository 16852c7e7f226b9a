//! When a peer is reached through a third cluster, and through which. Pure.
//!
//! ```text
//! direct path down ── WAIT ──> Through(nearest that consents) ── held while direct is down
//!        ^                                   │ refused, or lost: another, this one after a pause
//!        └── direct path up for SETTLE <─────┘
//! ```
//!
//! Who asks does not know whom the third reaches: it tries, and remembers for a while who refused.

use std::collections::BTreeMap;
use std::time::Duration;

use weft_model::NodeId;

use crate::{Moment, Path};

/// How long the direct path must be down first. Longer than a redial takes: what heals by itself
/// needs no detour.
const WAIT: Duration = Duration::from_secs(2);
/// How long the direct path must be up again before the detour is left. Shorter: a path that comes
/// and goes tears a detour down each time.
const SETTLE: Duration = Duration::from_secs(5);
/// How long one that refused is left alone at first; doubled each time.
const PAUSE: Duration = Duration::from_secs(2);
/// How long at most.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// So much of an allowance may pass at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A gateway of a third cluster that consents and is reached directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub node: NodeId,
    /// The round trip to it.
    pub rtt: Duration,
}

/// What to do about one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// No detour: the direct path is up, or was a moment ago, or there is nobody to go through.
    Direct,
    /// The detour that there is stays.
    Keep,
    /// Go through this one.
    Through(NodeId),
}

/// Who refused, and until when they are left alone.
#[derive(Debug, Clone, Default)]
pub struct Detours {
    refused: BTreeMap<(NodeId, NodeId), Refused>,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    until: Moment,
    pause: Duration,
}

impl Detours {
    /// What to do about `target`: its direct path is up or down since `changed`, and it is reached
    /// through `current` or through nobody.
    pub fn plan(
        &self,
        target: NodeId,
        direct: Path,
        changed: Moment,
        current: Option<NodeId>,
        candidates: impl IntoIterator<Item = Candidate>,
        now: Moment,
    ) -> Plan {
        let lasted = now.since(changed);
        match (direct, current) {
            (Path::Up, Some(_)) if lasted < SETTLE => return Plan::Keep,
            (Path::Up, _) => return Plan::Direct,
            (Path::Down(_), Some(_)) => return Plan::Keep,
            (Path::Down(_), None) if lasted < WAIT => return Plan::Direct,
            (Path::Down(_), None) => {}
        }
        let left_alone = |via: NodeId| {
            let refused = self.refused.get(&(target, via));
            refused.is_some_and(|refused| refused.until > now)
        };
        let candidates = candidates.into_iter();
        let nearest = candidates
            .filter(|candidate| candidate.node != target && !left_alone(candidate.node))
            .min_by_key(|candidate| (candidate.rtt, candidate.node));
        nearest.map_or(Plan::Direct, |candidate| Plan::Through(candidate.node))
    }

    /// `via` refused to lead to `target`, or came to nothing.
    pub fn refused(&mut self, target: NodeId, via: NodeId, now: Moment) {
        let before = self.refused.get(&(target, via));
        let pause = before.map_or(PAUSE, |before| (before.pause * 2).min(PAUSE_MAX));
        let until = now.after(pause);
        self.refused.insert((target, via), Refused { until, pause });
    }

    /// `via` leads to `target`.
    pub fn led(&mut self, target: NodeId, via: NodeId) {
        self.refused.remove(&(target, via));
    }

    /// Nobody else is a member any longer.
    pub fn retain(&mut self, is_member: impl Fn(NodeId) -> bool) {
        self.refused
            .retain(|(target, via), _| is_member(*target) && is_member(*via));
    }
}

/// How much may pass: a rate, and a second's worth of it at once.
#[derive(Debug, Clone)]
pub struct Allowance {
    /// Bytes a second.
    rate: u64,
    /// Until when what has passed was due.
    due: Moment,
}

impl Allowance {
    /// Nothing has passed yet; `rate` in bytes a second.
    pub fn new(rate: u64) -> Self {
        let due = Moment::default();
        Self { rate, due }
    }

    /// Lets `bytes` pass; how long to wait before more may.
    pub fn take(&mut self, bytes: u64, now: Moment) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.max(1));
        let worth = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let earliest = Moment(now.0.saturating_sub(AT_ONCE));
        self.due = self.due.max(earliest).after(worth);
        self.due.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);
    const D: NodeId = NodeId(4);

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn candidates() -> [Candidate; 2] {
        [(C, 80), (D, 30)].map(|(node, millis)| Candidate {
            node,
            rtt: Duration::from_millis(millis),
        })
    }

    #[test]
    fn a_detour_waits_for_the_direct_path_and_goes_back_to_it() {
        let detours = Detours::default();
        let check = |direct: Path, changed: u64, current, expect: Plan| {
            let plan = detours.plan(B, direct, at(changed), current, candidates(), at(20_000));
            assert_eq!(plan, expect, "{direct:?} since {changed}, now {current:?}");
        };
        let down = |since| Path::Down(at(since));
        check(Path::Up, 0, None, Plan::Direct);
        check(down(19_000), 19_000, None, Plan::Direct);
        check(down(17_000), 17_000, None, Plan::Through(D));
        check(down(17_000), 17_000, Some(C), Plan::Keep);
        check(Path::Up, 16_000, Some(C), Plan::Keep);
        check(Path::Up, 14_000, Some(C), Plan::Direct);
    }

    #[test]
    fn who_refused_is_left_alone_for_longer_each_time() {
        let mut detours = Detours::default();
        let plan = |detours: &Detours, now: u64| {
            let (down, changed) = (Path::Down(at(0)), at(0));
            detours.plan(B, down, changed, None, candidates(), at(now))
        };
        detours.refused(B, D, at(10_000));
        assert_eq!(plan(&detours, 10_001), Plan::Through(C));
        detours.refused(B, C, at(10_001));
        assert_eq!(plan(&detours, 10_002), Plan::Direct, "nobody is left");
        assert_eq!(plan(&detours, 12_000), Plan::Through(D));
        detours.refused(B, D, at(12_000));
        assert_eq!(
            plan(&detours, 14_500),
            Plan::Through(C),
            "D for four seconds"
        );
        detours.led(B, D);
        assert_eq!(plan(&detours, 14_500), Plan::Through(D));
        detours.refused(B, D, at(14_500));
        detours.retain(|node| node != D);
        assert_eq!(plan(&detours, 14_501), Plan::Through(D));
    }

    #[test]
    fn nobody_is_reached_through_itself() {
        let itself = Candidate {
            node: B,
            rtt: Duration::ZERO,
        };
        let plan = Detours::default().plan(B, Path::Down(at(0)), at(0), None, [itself], at(9000));
        assert_eq!(plan, Plan::Direct);
    }

    #[test]
    fn an_allowance_lets_its_rate_through_however_it_is_asked() {
        for piece in [100u64, 1_000, 30_000] {
            let mut allowance = Allowance::new(10_000);
            let begun = Duration::from_secs(500);
            let (mut now, mut passed) = (begun, 0);
            while now < begun + Duration::from_secs(60) {
                now += allowance.take(piece, Moment(now)) + Duration::from_millis(1);
                passed += piece;
            }
            let most = 61 * 10_000 + piece;
            assert!(passed <= most, "{passed} of {most} in {piece}s");
            assert!(passed >= most * 8 / 10, "{passed} of {most} in {piece}s");
        }
    }
}
