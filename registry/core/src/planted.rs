//! Faults that a suite must notice, put back one at a time.
//!
//! A test that never failed proves little. With the feature `bugs` a process has the fault that
//! `WEFT_PLANTED` names, and `cargo xtask bugs` runs for each the suite that has to fail on it.
//! The simulation plants its own, in the registry's driver, store and watches.

#[cfg(not(debug_assertions))]
compile_error!("the feature `bugs` plants faults: it has no place in a release build");

use std::sync::LazyLock;

/// One of them; its name in `WEFT_PLANTED` is that of the variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A gateway changes what another cluster owns.
    MissingOwnerCheck,
    /// A write that is older than the record takes its place.
    OldGeneration,
    /// A join token is good for a second gateway.
    TokenTwice,
    /// A resume lifts clamps that it does not name.
    LiftsEveryClamp,
    /// The CAs of every trust domain may vouch for every identity.
    PooledBundles,
    /// A condition looks at the first line of a header field alone.
    FirstHeaderValue,
    /// Retries cost nothing.
    UnboundedRetry,
    /// Zones that are older than those served take their place.
    OldZones,
    /// A DNS response is answered.
    AnsweredResponse,
    /// A gateway that has just started attests to absence.
    AbsentWhileRecovering,
    /// A word that is older than its owner's withdrawal brings the endpoint back.
    ForgottenWithdrawal,
}

impl Bug {
    /// Whether this process has it.
    pub fn is_planted(self) -> bool {
        *PLANTED == format!("{self:?}")
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "in builds that ship there is none of this"
)]
static PLANTED: LazyLock<String> =
    LazyLock::new(|| std::env::var("WEFT_PLANTED").unwrap_or_default());
