//! What has to have happened for a run to mean anything.

use std::collections::BTreeMap;
use std::fmt;

use crate::plan::{FAULTS, Fault};

/// What a run went through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// How often which fault was.
    pub faults: BTreeMap<Fault, usize>,
    /// Times a leader was cut off with a minority, and another was elected meanwhile.
    pub leaders_in_minority: usize,
    /// Snapshots that took the place of a gateway's state.
    pub snapshots: u64,
    /// Times the voters changed while a partition stood.
    pub voters_changed_in_partition: usize,
    /// Times a gateway's own log showed that its clock had jumped.
    pub clocks_seen_to_jump: usize,
}

impl Coverage {
    /// One more.
    pub fn count(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// What is missing; the run counts only if nothing is.
    pub fn missing(&self) -> Vec<String> {
        let absent = FAULTS
            .iter()
            .filter(|fault| !self.faults.contains_key(*fault));
        let mut missing: Vec<String> = absent.map(|fault| format!("{fault:?}")).collect();
        let needed = [
            (self.leaders_in_minority == 0, "a leader in a minority"),
            (self.snapshots == 0, "a snapshot installed"),
            (
                self.voters_changed_in_partition == 0,
                "voters that change during a partition",
            ),
            (self.clocks_seen_to_jump == 0, "a clock seen to jump"),
        ];
        let lacking = needed.into_iter().filter(|(lacks, _)| *lacks);
        missing.extend(lacking.map(|(_, what)| what.to_owned()));
        missing
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (fault, times) in &self.faults {
            writeln!(f, "  {times:>3} × {fault:?}")?;
        }
        writeln!(
            f,
            "  {:>3} leaders in a minority, replaced",
            self.leaders_in_minority
        )?;
        writeln!(f, "  {:>3} snapshots installed", self.snapshots)?;
        writeln!(
            f,
            "  {:>3} changes of voters during a partition",
            self.voters_changed_in_partition
        )?;
        write!(f, "  {:>3} clocks seen to jump", self.clocks_seen_to_jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_one_of_them_does_not_count() {
        let mut whole = Coverage {
            leaders_in_minority: 1,
            snapshots: 1,
            voters_changed_in_partition: 1,
            clocks_seen_to_jump: 1,
            ..Coverage::default()
        };
        for fault in FAULTS {
            assert!(!whole.missing().is_empty());
            whole.count(fault);
        }
        assert_eq!(whole.missing(), [""; 0]);
        whole.snapshots = 0;
        assert_eq!(whole.missing(), ["a snapshot installed"]);
    }
}
