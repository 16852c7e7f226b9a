//! A run's trace as one number, and its last lines for the eye.

use std::collections::VecDeque;
use std::fmt;

/// Hashes every line (FNV-1a); keeps the last ones.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    last: VecDeque<String>,
    echo: bool,
}

const KEPT: usize = 200;

impl Trace {
    pub(crate) fn new(echo: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            last: VecDeque::new(),
            echo,
        }
    }

    /// Notes what happened: numbers always, words only where somebody reads them.
    pub(crate) fn note(&mut self, numbers: &[u64], words: impl FnOnce() -> String) {
        for number in numbers {
            for byte in number.to_le_bytes() {
                self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        if self.echo {
            if self.last.len() == KEPT {
                self.last.pop_front();
            }
            self.last.push_back(words());
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.last.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
