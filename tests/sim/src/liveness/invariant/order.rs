//! A stream's words come in the order in which they were said, none twice and none left out:
//! positions grow, and whoever has read all holds the same set, by its hash.

use weft_plan::catalog::HashMismatch;

/// How far one stream has come.
#[derive(Debug, Default)]
pub(crate) struct Order {
    position: u64,
}

impl Order {
    pub(crate) fn read(&mut self, position: u64) -> Result<(), String> {
        let before = std::mem::replace(&mut self.position, position);
        match position > before {
            true => Ok(()),
            false => Err(format!("word {position} came after word {before}")),
        }
    }

    pub(crate) fn caught_up(&self, held: Result<(), HashMismatch>) -> Result<(), String> {
        held.map_err(|mismatch| format!("at word {}: {mismatch}", self.position))
    }
}
