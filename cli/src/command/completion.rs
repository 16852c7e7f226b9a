//! `weft completion bash`.

use clap::CommandFactory;

use super::Outcome;
use crate::args::Args;
use crate::output;
use crate::problem::Exit;

/// Prints a completion script: `source <(weft completion bash)`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completion {
    /// The shell.
    shell: clap_complete::Shell,
}

impl Completion {
    pub(crate) fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Args::command(), "weft", &mut script);
        output::data(&String::from_utf8_lossy(&script));
        Ok(Exit::Done)
    }
}
