//! Why a task ended early, and the exit code that says so.

use std::{io, path::PathBuf};

use crate::command_line::USAGE;

/// Every way in which a task can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line makes no sense.
    #[error("{0}\n\n{USAGE}")]
    Usage(String),

    /// Something is missing here that only the user can supply.
    #[error("{what}\n  next: {next}")]
    Missing { what: String, next: String },

    /// A program we ran said no. It has told the reason itself.
    #[error("{stage} failed with exit code {code}")]
    Stage { stage: &'static str, code: u8 },

    /// Suites that did not notice what was planted are no evidence.
    #[error("planted, and no test failed: {}", .0.join(", "))]
    Unseen(Vec<&'static str>),

    #[error("tidy: {0} to put right, listed above")]
    Untidy(usize),

    #[error("{program} could not be run")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },

    /// A query whose answer we needed failed.
    #[error("`{command}` failed:\n{said}")]
    Query { command: String, said: String },

    #[error("the answer of `{command}` could not be read")]
    Answer {
        command: String,
        #[source]
        source: serde_json::Error,
    },

    #[error("{} could not be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Failure {
    /// 2 where the user has to do something first, the failed program's own code where
    /// there was one, 1 otherwise.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Missing { .. } => 2,
            Self::Stage { code, .. } => *code,
            Self::Unseen(_)
            | Self::Untidy(_)
            | Self::Start { .. }
            | Self::Query { .. }
            | Self::Answer { .. }
            | Self::Read { .. } => 1,
        }
    }
}
