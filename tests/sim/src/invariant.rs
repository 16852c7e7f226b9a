//! What must hold after every step, whatever goes wrong. One file each.

mod agreement;
mod durable;
mod follower;
pub(crate) mod history;
mod leaders;
mod once;
mod order;
mod reads;
mod removed;
mod state;
mod watched;

pub(crate) use agreement::Agreement;
pub(crate) use durable::Durable;
pub(crate) use follower::Follower;
pub(crate) use leaders::Leaders;
pub(crate) use once::Once;
pub(crate) use order::Order;
pub(crate) use reads::Reads;
pub(crate) use removed::Removed;
pub(crate) use state::States;
pub(crate) use watched::Watched;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    pub(crate) leaders: Leaders,
    pub(crate) agreement: Agreement,
    pub(crate) states: States,
    pub(crate) durable: Durable,
    pub(crate) follower: Follower,
    pub(crate) once: Once,
    pub(crate) order: Order,
    pub(crate) reads: Reads,
    pub(crate) removed: Removed,
    pub(crate) watched: Watched,
}
