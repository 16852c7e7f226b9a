//! What a release gives the canary in each place, and why. Pure.
//!
//! Raising it takes a committed entry; lowering it takes one gateway. So the weight of a place is
//! the least of what was committed for its wave and of every clamp for its region that no resume
//! has lifted.

mod clamps;
mod figures;
mod forecast;
mod report;

pub use clamps::{ABORTED, CLAMPS_MAX, ClampRefused, Clamps, HeardRefused};
pub use figures::{Figures, figures, figures_span};
pub use forecast::{Finding, Forecast, ForecastRow, Ready, Serving, forecast};
pub use report::{PlaceRow, Report, RowState, report, stages_after};

use std::fmt;

use weft_model::{
    BasisPoints, Clamp, ClampId, ClusterName, Percent, RegionName, ReleasePhase, ReleaseRecord,
    ServiceKey, Stage, WaveName,
};

/// Where callers are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallerPlace {
    /// Their cluster.
    pub cluster: ClusterName,
    /// Its region.
    pub region: RegionName,
}

/// What a release gives the canary in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The canary's share of its audience there.
    pub weight: BasisPoints,
    /// Why so much.
    pub why: WeightReason,
}

/// Why a place has the weight that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightReason {
    /// No wave names it.
    NoWave,
    /// The release was aborted or rolled back.
    Withdrawn(ReleasePhase),
    /// Its wave was aborted.
    Cut(WaveName),
    /// Its wave has not begun.
    Waiting(WaveName),
    /// Its wave is at this stage.
    Stage(WaveName, Stage),
    /// A clamp gives it less than its wave would.
    Clamped(ClampId),
}

impl fmt::Display for WeightReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWave => f.write_str("no wave names it"),
            Self::Withdrawn(ReleasePhase::RolledBack) => f.write_str("the release was rolled back"),
            Self::Withdrawn(_) => f.write_str("the release was aborted"),
            Self::Cut(wave) => write!(f, "wave {wave} was aborted"),
            Self::Waiting(wave) => write!(f, "wave {wave} has not begun"),
            Self::Stage(wave, stage) => write!(f, "wave {wave}, stage {stage}"),
            Self::Clamped(clamp) => write!(f, "clamp {clamp}"),
        }
    }
}

/// What the release `key` gives the canary where `caller` is, whether it is in effect or not.
/// Clamps of other releases and runs may be among `clamps`.
pub fn weight<'c>(
    key: &ServiceKey,
    record: &ReleaseRecord,
    caller: &CallerPlace,
    clamps: impl IntoIterator<Item = &'c Clamp>,
) -> Effective {
    let (committed, why) = committed(record, caller);
    let weighs = |clamp: &&Clamp| clamp.region == caller.region && record.heeds(key, clamp);
    let clamps = clamps.into_iter().filter(weighs);
    // Of two that are equal the one with the lower id is named, so that everybody names the same.
    let least = clamps.min_by_key(|clamp| (clamp.weight, clamp.id));
    let (weight, why) = match least {
        Some(clamp) if clamp.weight < committed => (clamp.weight, WeightReason::Clamped(clamp.id)),
        _ => (committed, why),
    };
    Effective {
        weight: weight.into(),
        why,
    }
}

/// What the log gives the canary there.
fn committed(record: &ReleaseRecord, caller: &CallerPlace) -> (Percent, WeightReason) {
    if record.phase.is_withdrawn() {
        return (Percent::NONE, WeightReason::Withdrawn(record.phase));
    }
    let Some(wave) = record.spec.wave_of(&caller.cluster, &caller.region) else {
        return (Percent::NONE, WeightReason::NoWave);
    };
    let name = wave.name.clone();
    if record.cut.contains(&name) {
        return (Percent::NONE, WeightReason::Cut(name));
    }
    match record.taken(wave) {
        Some((stage, weight)) => (weight, WeightReason::Stage(name, stage)),
        None => (Percent::NONE, WeightReason::Waiting(name)),
    }
}

#[cfg(test)]
mod tests;
