//! Whether the registry is one copy of the state to whoever asks it, while everything fails.
//!
//! ```text
//! Plan ─> Nemesis ─> World: five gateways in namespaces, a wire between each two
//!                      │ gRPC, mTLS
//! clients (Operator) ──┴─> History ─> check ─> Report
//!
//! Trio: three gateways on loopback, to kill while clients write
//! ```
//!
//! What it is: real gateways, clients that keep a record of what they asked and were told, a
//! nemesis that breaks things on a seed, and the judge of the record. What it is not: it looks
//! into no gateway, and no client repeats a write.

mod check;
mod clients;
mod coverage;
mod failover;
mod history;
mod nemesis;
mod operator;
mod plan;
mod site;
mod timeline;
mod trio;
mod world;

pub use check::{Checked, Violation, check};
pub use clients::{Clients, Seen};
pub use coverage::Coverage;
pub use failover::{AFTERMATH, failover};
pub use history::{Act, Cell, End, History, Key, Operation};
pub use nemesis::Nemesis;
pub use operator::{Credentials, Operator, Reading, Told};
pub use plan::{Fault, Pace, Plan, Shape, Step, Victim};
pub use timeline::{Series, Timeline};
pub use trio::{Access, GATEWAYS, Trio, cluster};
pub use world::World;
