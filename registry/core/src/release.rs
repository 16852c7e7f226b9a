//! A release under way, as the log tells it, and what lowers it without the log.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::{
    ClampId, ClusterName, GatewayName, Index, Percent, RegionName, ReleaseSpec, ServiceKey, Stage,
    UserName, WallTime, Wave, WaveName,
};

/// Where a release is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ReleasePhase {
    /// Under way: it can be promoted.
    Progressing,
    /// Under way: its weights hold, and nothing promotes it until it is resumed.
    Paused,
    /// Every stage was taken; the last weights hold.
    Completed,
    /// Stopped: nobody meets the canary.
    Aborted,
    /// Taken back: nobody meets the canary.
    RolledBack,
}

impl ReleasePhase {
    /// Whether it may still be moved on.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Progressing | Self::Paused)
    }

    /// Whether nobody meets the canary any more.
    pub fn is_withdrawn(self) -> bool {
        matches!(self, Self::Aborted | Self::RolledBack)
    }
}

impl fmt::Display for ReleasePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Progressing => "Progressing",
            Self::Paused => "Paused",
            Self::Completed => "Completed",
            Self::Aborted => "Aborted",
            Self::RolledBack => "RolledBack",
        })
    }
}

/// A release, as recorded: one run of it. An ended one that is started anew is another run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseRecord {
    /// What it says.
    pub spec: ReleaseSpec,
    /// Where in the log this run started; tells runs of one name apart.
    pub created: Index,
    /// Where in the log it last changed.
    pub generation: Index,
    /// Where it is in its life.
    pub phase: ReleasePhase,
    /// The last stage taken, from 1.
    pub stage: Stage,
    /// Waves that were aborted: nobody in them meets the canary in this run.
    pub cut: BTreeSet<WaveName>,
    /// Clamps that no longer count.
    pub lifted: BTreeSet<ClampId>,
    /// Where in the log a later release of the service was started: this one is history.
    pub superseded: Option<Index>,
    /// What was done with it, oldest first; the oldest are forgotten ([`crate::quota::HISTORY_MAX`]).
    pub history: Vec<ReleaseChange>,
}

/// One thing that was done with a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseChange {
    /// Where in the log.
    pub index: Index,
    /// The leader's stamp.
    pub time: WallTime,
    /// The operator who did it.
    pub by: UserName,
    /// What.
    pub what: ReleaseAction,
}

/// What was done with a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "camelCase")]
pub enum ReleaseAction {
    /// It was started: the first stage was taken.
    Started,
    /// It was promoted to this stage.
    Advanced {
        /// The stage before.
        from: Stage,
        /// The stage taken.
        to: Stage,
    },
    /// It was promoted past its last stage.
    Completed,
    /// It was paused.
    Paused,
    /// It was resumed.
    Resumed {
        /// How many clamps were lifted with it.
        lifted: u32,
    },
    /// One wave was aborted, and the release paused.
    AbortedWave {
        /// Which.
        wave: WaveName,
    },
    /// It was aborted.
    Aborted,
    /// It was rolled back.
    RolledBack,
    /// It was rolled back to an earlier stage, and paused.
    SteppedBack {
        /// The stage before.
        from: Stage,
        /// The stage that holds since.
        to: Stage,
    },
}

impl fmt::Display for ReleaseAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Advanced { from, to } => write!(f, "promoted from stage {from} to {to}"),
            Self::Completed => f.write_str("promoted past its last stage: completed"),
            Self::Paused => f.write_str("paused"),
            Self::Resumed { lifted: 0 } => f.write_str("resumed"),
            Self::Resumed { lifted } => write!(f, "resumed, lifting {lifted} clamp(s)"),
            Self::AbortedWave { wave } => write!(f, "wave {wave} aborted, and paused"),
            Self::Aborted => f.write_str("aborted"),
            Self::RolledBack => f.write_str("rolled back"),
            Self::SteppedBack { from, to } => {
                write!(f, "rolled back from stage {from} to {to}, and paused")
            }
        }
    }
}

/// How a release ends, or a part of it: what lowers the canary's share, and never raises it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseEnd {
    /// Nobody of this wave meets the canary any more; the release pauses.
    AbortWave(WaveName),
    /// Nobody meets the canary any more.
    Abort,
    /// The same, of one that was completed or went wrong: back to what served before.
    RollBack,
    /// What was taken after a stage is given back; the release pauses.
    StepBack {
        /// The run that its author saw.
        run: Index,
        /// The stage that is to hold.
        to: Stage,
    },
}

/// One promotion: from the stage that its author saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// The run that its author saw: [`ReleaseRecord::created`].
    pub run: Index,
    /// The stage that its author saw.
    pub from: Stage,
    /// The stage to take; one past the last completes the release.
    pub to: Stage,
}

/// A local lowering of a release's weight: a durable record of one gateway, never in the log.
///
/// The weight of a region is the least of the committed one and all clamps for it; only a
/// committed resume that names its id lifts one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clamp {
    /// Its id: random.
    pub id: ClampId,
    /// The release.
    pub release: ServiceKey,
    /// The run that it lowers: [`ReleaseRecord::created`].
    pub run: Index,
    /// The callers that it is for.
    pub region: RegionName,
    /// The cluster of the gateway that made it.
    pub cluster: ClusterName,
    /// The gateway that made it.
    pub gateway: GatewayName,
    /// The most that the canary may get there.
    pub weight: Percent,
    /// When, by that gateway's clock.
    pub made: WallTime,
    /// The operator who ordered it.
    pub by: UserName,
}

impl ReleaseRecord {
    /// Whether it is the release in effect for its service.
    pub fn is_in_effect(&self) -> bool {
        self.superseded.is_none()
    }

    /// Whether this clamp lowers it.
    pub fn heeds(&self, key: &ServiceKey, clamp: &Clamp) -> bool {
        #[cfg(feature = "bugs")]
        if crate::planted::Bug::LiftsEveryClamp.is_planted() && !self.lifted.is_empty() {
            return false;
        }
        clamp.release == *key && clamp.run == self.created && !self.lifted.contains(&clamp.id)
    }

    /// The stage that a promotion takes next: waves that were aborted are passed over. None once
    /// the next promotion completes the release.
    pub fn next_stage(&self) -> Option<Stage> {
        let is_next = |(stage, wave, _): &(Stage, &Wave, Percent)| {
            *stage > self.stage && !self.cut.contains(&wave.name)
        };
        self.spec.stages().find(is_next).map(|(stage, _, _)| stage)
    }

    /// The weight of the last stage of `wave` that was taken; none before its first. What was
    /// aborted or withdrawn is not looked at.
    pub fn taken(&self, wave: &Wave) -> Option<(Stage, Percent)> {
        let stages = self.spec.stages();
        let taken = stages.filter(|(stage, of, _)| of.name == wave.name && *stage <= self.stage);
        taken.last().map(|(stage, _, weight)| (stage, weight))
    }
}

/// Why a release did not do what an entry asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
pub enum ReleaseRefusal {
    /// There is none of this name.
    #[error("does not exist")]
    Unknown,
    /// Another release of its service is under way.
    #[error("{service} has release {other} under way: a service has one at a time")]
    OtherUnderWay {
        /// The service.
        service: ServiceKey,
        /// Its release.
        other: ServiceKey,
    },
    /// It is not where the author saw it.
    #[error("is at stage {at}, not at {from}: somebody moved it; look again")]
    Moved {
        /// Where it is.
        at: Stage,
        /// Where the author saw it.
        from: Stage,
    },
    /// It was started anew since the author saw it.
    #[error("was started anew at index {created}: look again")]
    OtherRun {
        /// Where the run that counts started.
        created: Index,
    },
    /// Its phase does not allow this.
    #[error("is {phase}, so it cannot be {what}")]
    Phase {
        /// Its phase.
        phase: ReleasePhase,
        /// What was asked.
        what: &'static str,
    },
    /// It is under way, and its spec differs.
    #[error("is under way, so its spec is fixed: abort it first, or give the new one another name")]
    Fixed,
    /// A later release of its service counts.
    #[error("is history: a later release of its service was started at index {since}")]
    Superseded {
        /// Where.
        since: Index,
    },
    /// It has no such wave.
    #[error("has no wave {0}")]
    NoWave(WaveName),
    /// It has no such stage.
    #[error("has stages 1 to {last}: there is no way from {from} to {to}")]
    NoStage {
        /// Asked from.
        from: Stage,
        /// Asked for.
        to: Stage,
        /// The last one.
        last: Stage,
    },
}

/// What a release can be asked, as [`ReleaseRefusal::Phase`] says it.
pub mod asked {
    /// A promotion.
    pub const PROMOTED: &str = "promoted";
    /// A pause.
    pub const PAUSED: &str = "paused";
    /// A resume.
    pub const RESUMED: &str = "resumed";
    /// An abort of one wave.
    pub const ABORTED: &str = "aborted";
    /// A deletion.
    pub const DELETED: &str = "deleted: abort or complete it first";
    pub(crate) const ALL: [&str; 5] = [PROMOTED, PAUSED, RESUMED, ABORTED, DELETED];
}

impl ReleaseRefusal {
    /// A refusal by phase, from what another build wrote of it.
    pub fn phase(phase: ReleasePhase, what: &str) -> Self {
        let known = asked::ALL.into_iter().find(|known| *known == what);
        Self::Phase {
            phase,
            what: known.unwrap_or("moved"),
        }
    }
}
