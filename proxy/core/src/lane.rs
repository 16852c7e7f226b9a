//! Which of a service's two versions a request meets while a release is in effect.
//!
//! A service's endpoints are split in lanes by their version: stable, canary, and those of other
//! versions, which get nothing. A request's lane is chosen once, by its head, before the balancer;
//! retries keep it. [`ReleaseView::stand`] is the choice without chance, which explanations show;
//! [`ReleaseView::lane`] is what the data plane takes.

mod cohort;

pub use cohort::Bucket;

use std::fmt;
use std::sync::Arc;

use weft_model::{Audience, BasisPoints, Index, ServiceKey, Stickiness, Version};

use crate::{RequestHead, Rng, rules};

/// The release in effect for a service, as the catalog tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseView {
    /// Its namespace and name.
    pub key: ServiceKey,
    /// Where in the log this run of it started: another run is another release.
    pub run: Index,
    /// Where in the log it last changed: of several words on it the one with the highest counts.
    pub generation: Index,
    /// The version that serves.
    pub stable: Version,
    /// The version that is to serve.
    pub canary: Version,
    /// The canary's share of its audience in the reader's cluster.
    pub weight: BasisPoints,
    /// Who may meet the canary.
    pub audience: Arc<Audience>,
}

/// Which endpoints a request is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lane {
    /// No release was in effect: of every version. Where one is by now, those of the stable one.
    #[default]
    Any,
    /// Those of the stable version.
    Stable,
    /// Those of the canary of this run; of the stable version if it has none that can be used, or
    /// if the run is over.
    Canary {
        /// The run that the lane was chosen in.
        run: Index,
    },
}

/// A lane of a service under a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LaneKind {
    Stable,
    Canary,
}

/// Where a request stands, before any chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It never meets the canary.
    Outside(OutsideReason),
    /// It meets the canary while its bucket is below the weight.
    Sticky(Bucket),
    /// It is drawn by chance.
    Drawn,
}

/// Why a request never meets the canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutsideReason {
    /// It satisfies none of the audience's matches.
    #[error("it is not in the audience")]
    NotInAudience,
    /// It lacks the header field that tells clients apart.
    #[error("it lacks the header field that tells clients apart")]
    NoKey,
    /// The audience is told by requests, and this is a connection.
    #[error("it is no request, and the audience is told by requests")]
    NotHttp,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(why) => why.fmt(f),
            Self::Sticky(bucket) => write!(f, "its client is in bucket {bucket}"),
            Self::Drawn => f.write_str("it is drawn by chance"),
        }
    }
}

impl ReleaseView {
    /// Where a request stands; without a head it is a connection.
    pub fn stand(&self, head: Option<&RequestHead<'_>>) -> Standing {
        if self.audience.is_everyone() {
            return Standing::Drawn;
        }
        let Some(head) = head else {
            return Standing::Outside(OutsideReason::NotHttp);
        };
        let matches = &self.audience.matches;
        let admits = |condition| rules::satisfies(condition, head);
        if !matches.is_empty() && !matches.iter().any(admits) {
            return Standing::Outside(OutsideReason::NotInAudience);
        }
        match &self.audience.stickiness {
            None => Standing::Drawn,
            Some(sticky) => match self.bucket(sticky, head) {
                Some(bucket) => Standing::Sticky(bucket),
                None => Standing::Outside(OutsideReason::NoKey),
            },
        }
    }

    /// The lane of a request; without a head it is a connection.
    pub fn lane(&self, head: Option<&RequestHead<'_>>, rng: &mut Rng) -> Lane {
        let bucket = match self.stand(head) {
            Standing::Outside(_) => return Lane::Stable,
            Standing::Sticky(bucket) => bucket,
            Standing::Drawn => Bucket::drawn(rng),
        };
        match bucket.is_below(self.weight) {
            true => Lane::Canary { run: self.run },
            false => Lane::Stable,
        }
    }

    /// Which lane an endpoint of this version belongs to.
    pub(crate) fn kind_of(&self, version: Option<&Version>) -> Option<LaneKind> {
        let version = version?;
        if *version == self.stable {
            return Some(LaneKind::Stable);
        }
        (*version == self.canary).then_some(LaneKind::Canary)
    }

    /// Which endpoints a lane means now, though it may have been chosen in an older table: what
    /// was withdrawn since gets nothing more.
    pub(crate) fn meant(&self, lane: Lane) -> LaneKind {
        match lane {
            Lane::Canary { run } if run == self.run && self.weight > BasisPoints::NONE => {
                LaneKind::Canary
            }
            _ => LaneKind::Stable,
        }
    }

    fn bucket(&self, sticky: &Stickiness, head: &RequestHead<'_>) -> Option<Bucket> {
        let mut bucket = None;
        // The first line of the field is the client's key, whatever others say.
        head.headers.any(&sticky.name, &mut |value| {
            bucket = (!value.is_empty()).then(|| Bucket::of(&self.key, value));
            true
        });
        bucket
    }
}

#[cfg(test)]
mod tests;
