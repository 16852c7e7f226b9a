//! Many checks of one federation: starting one takes seconds, and one failure should
//! not hide the next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Result, bail};

/// The cases of one test.
#[derive(Debug, Default)]
pub struct Cases {
    failed: Vec<&'static str>,
}

impl Cases {
    /// Runs one case, and says how it went.
    pub fn run(&mut self, name: &'static str, case: impl FnOnce() -> Result<()>) {
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(case)).unwrap_or_else(|_| {
            // The panic's own message has been printed by its hook.
            bail!("it panicked")
        });
        let took = begun.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => print(&format!("ok    {took:6.1} s  {name}")),
            Err(error) => {
                self.failed.push(name);
                print(&format!("FAIL  {took:6.1} s  {name}\n{error:?}"));
            }
        }
    }

    /// The verdict over all of them.
    ///
    /// # Errors
    /// Some failed.
    pub fn verdict(self) -> Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        bail!("{} failed: {}", self.failed.len(), self.failed.join("; "))
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the test program captures and shows it"
)]
fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_does_not_hide_the_next() {
        let mut cases = Cases::default();
        cases.run("good", || Ok(()));
        cases.run("bad", || bail!("no"));
        cases.run("worse", || panic!("no"));
        assert_eq!(
            cases.verdict().unwrap_err().to_string(),
            "2 failed: bad; worse"
        );
    }
}
