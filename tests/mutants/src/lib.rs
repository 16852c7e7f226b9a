//! What every decoder of foreign bytes must stand: valid bytes, changed.
//!
//! ```text
//! samples (the real encoder) ─> mutate (a seed) ─> the real decoder ─> read, or refused
//! ```
//!
//! What it is: the changes, and a table's judge. A panic, more memory than the bytes can ask for,
//! a sample that is not read, and a table that finds nothing to refuse or nothing to read, each
//! fail. What it is not: it knows no format, and no coverage guides it.

mod decoder;
mod fields;
mod memory;
mod mutate;
mod varint;

pub use decoder::{Decoder, check};
pub use memory::held;
pub use mutate::mutate;

use std::ops::Range;

/// How many mutants; `cargo xtask mutants` sets it.
const MUTANTS: &str = "WEFT_MUTANTS";

/// A seed for each mutant, so that one that fails is found again: so many as `WEFT_MUTANTS` says,
/// else `ordinary`.
///
/// # Panics
/// `WEFT_MUTANTS` is no number.
pub fn seeds(ordinary: u64) -> Range<u64> {
    0..long().unwrap_or(ordinary)
}

fn long() -> Option<u64> {
    let chosen = std::env::var(MUTANTS).ok()?;
    Some(chosen.parse().expect("WEFT_MUTANTS is a number"))
}
