//! Whether the registry is one copy of the state to whoever asks it, while everything fails.
//!
//! ```text
//! clients ─> History ─> check ─> Verdict
//! ```
//!
//! What it is: the record of what clients asked of real gateways and were told, and the judge
//! of such records. What it is not: it opens no connection and reads no clock.

mod check;
mod history;

pub use check::{Checked, Violation, check};
pub use history::{Act, Cell, End, History, Key, Operation};
