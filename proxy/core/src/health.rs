//! When probe results turn an endpoint's health. Pure.

/// One check's verdict, turned by enough equal results in a row.
///
/// Not ready before the first success: an app that is still starting gets no work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthGate {
    failures: u32,
    successes: u32,
    ready: bool,
    against: u32,
}

/// The result of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// It answered as it should, in time.
    Success,
    /// It did not.
    Failure,
}

impl HealthGate {
    /// A gate that `failures` in a row close and `successes` in a row open; at least 1 each.
    pub fn new(failures: u32, successes: u32) -> Self {
        Self {
            failures: failures.max(1),
            successes: successes.max(1),
            ready: false,
            against: 0,
        }
    }

    /// Whether it is open.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Takes a result in; whether it is open now, if that changed.
    pub fn observe(&mut self, result: ProbeResult) -> Option<bool> {
        let agrees = self.ready == (result == ProbeResult::Success);
        if agrees {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if self.ready {
            self.failures
        } else {
            self.successes
        };
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.ready = !self.ready;
        Some(self.ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` and `-` are results; capitals show where the gate turns.
    fn check(failures: u32, successes: u32, results: &str, expect: &str) {
        let mut gate = HealthGate::new(failures, successes);
        let turns = results.chars().map(|result| {
            let result = match result {
                '+' => ProbeResult::Success,
                _ => ProbeResult::Failure,
            };
            match gate.observe(result) {
                Some(true) => 'R',
                Some(false) => 'N',
                None => '.',
            }
        });
        assert_eq!(
            turns.collect::<String>(),
            expect,
            "{failures} {successes} {results}"
        );
    }

    #[test]
    fn turns_after_enough_equal_results_in_a_row() {
        check(2, 1, "--+-+--+", "..R...NR");
        check(2, 2, "+-++-+-++--", "...R......N");
        check(0, 0, "+-+", "RNR");
        check(3, 1, "+------", "R..N...");
    }
}
