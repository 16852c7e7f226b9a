//! What must hold of liveness after every step. One file each.

mod converged;
mod kept;
pub(super) mod left;
mod order;
mod steady;
mod weight;
mod withdrawn;

pub(crate) use converged::lack;
pub(super) use kept::Kept;
pub(super) use order::Order;
pub(super) use steady::Steady;
pub(super) use weight::Weights;
pub(super) use withdrawn::Withdrawn;

/// Those that remember something.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    pub(super) kept: Kept,
    pub(super) steady: Steady,
    pub(super) withdrawn: Withdrawn,
    pub(crate) weights: Weights,
}
