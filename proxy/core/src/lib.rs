//! Data-plane decisions: which service a request means, which endpoint gets it,
//! which endpoints sit out. Pure.
//!
//! What it is: immutable tables that a shell swaps in, and functions of
//! (table, request, now, seed). The hot path, `explain` and a simulation call
//! the same ones, so an explanation cannot drift from what happens.
//! What it is not: it has no socket, clock, runtime, thread or ambient chance;
//! [`Tick`] and [`Rng`] are arguments.
//!
//! ```text
//! catalog ─> ServiceTable ──┐
//! RequestHead ──> find ─────┴─> Route ──> Backend, Lane ──> Balancer::pick ──> EndpointId
//!                                                               ^                  │
//!                                                           on_response <── outcome, latency
//! ```

#[cfg(test)]
mod agreement;
mod balance;
mod budget;
mod find;
#[cfg(test)]
mod fixture;
mod health;
mod lane;
mod pulse;
mod reason;
mod rng;
mod rules;
mod table;
mod tick;

pub use balance::{Balancer, Demand, Ejected, Outcome, OutlierConfig};
pub use budget::RetryBudget;
pub use find::{
    Authority, Backend, Decision, HeaderList, HeaderView, Host, NO_HEADERS, RequestHead, Route,
    Scope, find, find_service, rules_of,
};
pub use health::{HealthGate, ProbeResult};
pub use lane::{Bucket, Lane, OutsideReason, ReleaseView, Standing};
pub use pulse::{Pulse, Vital};
pub use reason::Reason;
pub use rng::Rng;
pub use rules::{MatchRefusal, Matched, RouteSource, Rule, RuleTable};
pub use table::{
    ClusterView, EndpointRefusal, EndpointView, Level, LevelMembers, Locality, PathState, Place,
    PortRoutes, ServiceRoutes, ServiceSpec, ServiceTable,
};
pub use tick::Tick;
