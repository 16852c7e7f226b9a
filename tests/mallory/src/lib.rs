//! A member cluster that is hostile: what Mallory can do with all that one cluster owns.
//!
//! ```text
//! Loot ── a member's state folder: CA, gateway identity, signing key
//!   ├─ Node ── tunnels, a replica of the log ─> Raft, calls, catalog and relay streams
//!   ├─ door ── gRPC with any certificate she can make, or none
//!   └─ raw ─── a QUIC handshake and a hello of her own wording
//! Victims ── what the other clusters hold, to compare before and after
//! ```
//!
//! What it is: the attacker's program, and the eyes of the judge. It speaks the wires that
//! gateways speak, with weft's own code where that is honest enough, and by itself where not.
//! What it is not: the attempts, which are in `tests/`, a file each.

pub mod door;
mod loot;
mod node;
pub mod raw;
mod victims;

pub use loot::Loot;
pub use node::{Node, Taken};
pub use victims::{
    CLUSTER, GATEWAYS, Seen, Victims, binding, configure, founder, join, operator, token,
};

/// Seconds for which her load is measured, if it is.
pub const LOAD: &str = "WEFT_MALLORY_LOAD";

/// This thread does her work: where her load is measured it runs when nobody else of this machine
/// wants to (nice(2)). Hers would be another machine; what weft does for her is what others pay.
pub fn step_back() {
    if std::env::var_os(LOAD).is_some() {
        // Refused nowhere: anybody may be nicer than before.
        let _niceness = rustix::process::nice(19);
    }
}
