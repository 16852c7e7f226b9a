//! Completion of what is typed in a shell: commands and flags from the command line's own
//! definition, names from the federation that the context names.
//!
//! The shell calls this program with `WEFT_COMPLETE` set (`weft completion bash` prints how);
//! clap's engine finds out which argument is being typed and asks its candidates, which are the
//! functions here. They have half a second, and say nothing when nobody answers.

mod live;
mod names;
mod words;

use std::io;

use clap::CommandFactory;
use clap_complete::env::{CompleteEnv, Shells};

use crate::args::Args;

pub(crate) use names::{
    clusters, codes, contexts, dns_names, gateways, kind_names, kinds, namespaces, releases,
    resources, services,
};

/// Set by the shell's function; names the shell.
const VARIABLE: &str = "WEFT_COMPLETE";

/// Answers the shell and ends the process, if it is the shell that asks.
pub(crate) fn answer_shell() {
    CompleteEnv::with_factory(Args::command)
        .var(VARIABLE)
        .complete();
}

/// What makes a shell ask.
pub(crate) fn script(shell: clap_complete::Shell) -> io::Result<String> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells
        .completer(&name)
        .ok_or_else(|| io::Error::other(format!("no completion for {name}")))?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "weft", "weft", "weft", &mut script)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}
