//! What is wrong with a state folder.

use std::io;
use std::path::PathBuf;

use super::store::Folder;

/// Why a state folder cannot be used, or stopped being usable.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The folder cannot be made or its file not be opened.
    #[error("cannot open the state folder {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the state folder {path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// There is no state where some was expected.
    #[error("the state folder {path} holds no state")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// There is state where none was expected.
    #[error("the state folder {path} holds the state of node {} of {} already", .found.node, .found.domain)]
    Occupied {
        /// The file.
        path: PathBuf,
        /// Whose.
        found: Folder,
    },
    /// The state is another federation's or node's.
    #[error(
        "the state folder {path} belongs to node {} of {}, not to node {} of {}",
        .found.node, .found.domain, .expected.node, .expected.domain
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: Folder,
        /// Whose it should be.
        expected: Folder,
    },
    /// A newer build wrote it.
    #[error("the state folder {path} has format {found}, this build knows up to {known}")]
    Format {
        /// The file.
        path: PathBuf,
        /// As written.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// What it holds is damaged.
    #[error("the state folder {path} is damaged: {what}: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which value.
        what: String,
        /// How.
        problem: String,
    },
    /// The disk has no room for what a start has to write.
    #[error("the disk under the state folder {path} is full")]
    Full {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A write was not confirmed. Nothing after it may be acknowledged.
    #[error("writing the registry's log failed")]
    Write(#[source] Box<redb::Error>),
}
