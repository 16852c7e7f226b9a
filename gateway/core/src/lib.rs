//! Control-plane decisions: the catalog of live endpoints, liveness verdicts,
//! leases, DNS answers, tunnel path choice, weights of releases, sums of traffic. Pure.
//!
//! What it is: state machines and functions over snapshots. What happened and
//! when goes in, decisions and their reasons come out.
//! What it is not: no clock, socket, runtime, random number or wire type.

pub mod catalog;
pub mod detour;
pub mod dns;
mod lease;
mod liveness;
mod moment;
mod outlook;
pub mod release;
pub mod traffic;

pub use lease::{LEASE_LENGTH, LEASE_RENEWAL, Lease, LeaseTable};
pub use liveness::{Path, Presence, Traffic, Verdict, Why, judge};
pub use moment::Moment;
pub use outlook::{Outlook, Sight};
