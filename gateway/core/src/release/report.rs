//! A release place by place, for those who look at it.

use std::collections::BTreeMap;

use weft_model::{
    BasisPoints, Clamp, ClusterName, RegionName, ReleaseAction, ReleasePhase, ReleaseRecord,
    ReleaseSpec, ServiceKey, Stage, Wave, WaveName,
};

use super::{CallerPlace, WeightReason, weight};

/// A release as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Where it is in its life.
    pub phase: ReleasePhase,
    /// The last stage taken.
    pub stage: Stage,
    /// How many there are.
    pub last: Stage,
    /// What the next promotion takes; none once it completes the release, or there is none.
    pub next: Option<Stage>,
    /// Wave by wave, region by region; what no wave names comes last.
    pub rows: Vec<PlaceRow>,
}

/// The callers of one region that are in one wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceRow {
    /// Their wave; none if no wave names them.
    pub wave: Option<WaveName>,
    /// Their region.
    pub region: RegionName,
    /// Their clusters.
    pub clusters: Vec<ClusterName>,
    /// How far their wave is.
    pub state: RowState,
    /// The last stage of theirs that was taken, counted within their wave, from 1; 0 before it.
    pub step: u16,
    /// How many steps their wave has.
    pub steps: u16,
    /// What the canary gets there.
    pub weight: BasisPoints,
    /// Why so much.
    pub why: WeightReason,
}

/// How far a wave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowState {
    /// None of its stages was taken.
    Waiting,
    /// The next promotion may be its own.
    Active,
    /// All of its stages were taken, and the release has gone on.
    Done,
    /// It was aborted, or the release was withdrawn.
    Aborted,
    /// No wave: these callers never meet the canary.
    Outside,
}

/// What the release `key` is in each of `places`: the clusters of the federation with their regions.
pub fn report(
    key: &ServiceKey,
    record: &ReleaseRecord,
    places: impl IntoIterator<Item = CallerPlace>,
    clamps: &[Clamp],
) -> Report {
    let row = |((at, region), clusters): ((usize, RegionName), Vec<ClusterName>)| {
        // Those of one group have the same wave and region, so the same weight.
        let caller = CallerPlace {
            cluster: clusters[0].clone(),
            region: region.clone(),
        };
        let effective = weight(key, record, &caller, clamps);
        let wave = record.spec.waves.get(at);
        let (state, step, steps) = wave.map_or((RowState::Outside, 0, 0), |w| state(record, w));
        PlaceRow {
            wave: wave.map(|wave| wave.name.clone()),
            region,
            clusters,
            state,
            step,
            steps,
            weight: effective.weight,
            why: effective.why,
        }
    };
    Report {
        phase: record.phase,
        stage: record.stage,
        last: record.spec.last_stage(),
        next: record.next_stage().filter(|_| record.phase.is_under_way()),
        rows: by_wave(&record.spec, places).into_iter().map(row).collect(),
    }
}

/// Clusters in order by the number of their wave and their region; those of no wave have the
/// number past the last.
pub(super) fn by_wave(
    spec: &ReleaseSpec,
    places: impl IntoIterator<Item = CallerPlace>,
) -> BTreeMap<(usize, RegionName), Vec<ClusterName>> {
    let mut groups: BTreeMap<(usize, RegionName), Vec<ClusterName>> = BTreeMap::new();
    for CallerPlace { cluster, region } in places {
        let mut waves = spec.waves.iter();
        let at = waves.position(|wave| wave.holds(&cluster, &region));
        let at = at.unwrap_or(spec.waves.len());
        groups.entry((at, region)).or_default().push(cluster);
    }
    groups.values_mut().for_each(|clusters| clusters.sort());
    groups
}

/// The stage after each change of the release's history; none before the first that tells one.
/// Completing one takes no stage, and runs before this one had specs of their own.
pub fn stages_after(record: &ReleaseRecord) -> Vec<Option<Stage>> {
    let mut stage = None;
    let after = record.history.iter().map(|change| {
        stage = match &change.what {
            ReleaseAction::Started => Some(Stage::FIRST),
            ReleaseAction::Advanced { to, .. } | ReleaseAction::SteppedBack { to, .. } => Some(*to),
            ReleaseAction::Completed if change.index >= record.created => {
                Some(record.spec.last_stage())
            }
            // Of an older run, whose last stage is not known any more.
            ReleaseAction::Completed => None,
            _ => stage,
        };
        stage
    });
    after.collect()
}

/// How far a wave is, how many of its steps were taken, and how many it has.
fn state(record: &ReleaseRecord, wave: &Wave) -> (RowState, u16, u16) {
    let (mut step, mut steps) = (0, 0);
    for (stage, _, _) in record
        .spec
        .stages()
        .filter(|(_, of, _)| of.name == wave.name)
    {
        steps += 1;
        step += u16::from(stage <= record.stage);
    }
    let all = record.spec.stages();
    let last = all.filter(|(_, of, _)| of.name == wave.name).last();
    let passed = last.is_some_and(|(stage, _, _)| stage < record.stage);
    let state = if record.phase.is_withdrawn() || record.cut.contains(&wave.name) {
        RowState::Aborted
    } else if step == 0 {
        RowState::Waiting
    } else if passed || record.phase == ReleasePhase::Completed {
        RowState::Done
    } else {
        RowState::Active
    };
    (state, step, steps)
}
