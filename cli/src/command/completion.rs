//! `weft completion bash`.

use weft_model::code;

use super::Outcome;
use crate::complete;
use crate::output;
use crate::problem::{Exit, Problem};

const EXAMPLES: &str = "\
bash:  source <(weft completion bash)                  in ~/.bashrc
zsh:   source <(weft completion zsh)                   in ~/.zshrc, after compinit
fish:  weft completion fish | source                   in ~/.config/fish/config.fish";

/// Prints a completion script. Have the shell read it as it starts: it asks the program that is
/// installed then.
///
/// Commands and flags come from the program; names (services, clusters, gateways, resources)
/// from the federation of the selected context, which has half a second to answer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completion {
    /// The shell.
    shell: clap_complete::Shell,
}

impl Completion {
    pub(crate) fn run(self) -> Outcome {
        let script = complete::script(self.shell)
            .map_err(|error| Problem::new(code::USAGE, error.to_string()))?;
        output::data(&script);
        Ok(Exit::Done)
    }
}
