//! The folder of one federation: configurations, state and logs.
//!
//! ```text
//! DIR/federation.json             the options it was founded with
//! DIR/us-east-1/exports.yaml
//! DIR/us-east-1/gw-1/             gateway.yaml, state/
//! DIR/us-east-1/checkout-v1/      sidecar.yaml, token, state/
//! DIR/samples/checkout-v2.yaml    a release to try
//! DIR/logs/                       one file per process
//! ```

use std::cell::Cell;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use weft_model::{ClusterName, code};

use super::options::Options;
use super::plan::{GatewayPlan, WorkloadPlan};
use crate::problem::Problem;

/// What a temporary folder's name begins with.
pub(super) const PREFIX: &str = "weft-dev-";
/// Written last when a federation has been founded.
const MARK: &str = "federation.json";

/// A folder that only its user may enter. Dropping it deletes it, unless it stays.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    stays: Cell<bool>,
}

impl Folder {
    /// Makes a temporary folder.
    pub(super) fn temporary() -> Result<Self, Problem> {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| unwritable(&std::env::temp_dir(), error))?;
        Ok(Self {
            root: folder.keep(),
            stays: Cell::new(false),
        })
    }

    /// Takes a folder that the user named: an empty one, or one that was kept.
    pub(super) fn named(path: &Path) -> Result<Self, Problem> {
        let failed = |error| unwritable(path, error);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let root = path.canonicalize().map_err(failed)?;
        let folder = Self {
            root,
            stays: Cell::new(true),
        };
        let empty = fs::read_dir(&folder.root).map_err(failed)?.next().is_none();
        if empty || folder.root.join(MARK).exists() {
            return Ok(folder);
        }
        Err(Problem::new(
            code::USAGE,
            format!("{} holds other things", path.display()),
        )
        .detail("it is not empty, and weft dev did not finish making it")
        .next("Name an empty folder, or one that `weft dev --keep` left."))
    }

    /// Lets the folder stay when this ends.
    pub(super) fn keep(&self) {
        self.stays.set(true);
    }

    /// Whether it will stay.
    pub(super) fn stays(&self) -> bool {
        self.stays.get()
    }

    /// The folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The options of the federation that was founded here, if one was.
    pub(super) fn founded(&self) -> Result<Option<Options>, Problem> {
        let path = self.root.join(MARK);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| {
                Problem::new(
                    code::CORRUPT_STATE,
                    format!("{} does not parse", path.display()),
                )
                .detail(error)
                .next("Remove the folder, or name another one.")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unwritable(&path, error)),
        }
    }

    /// Records that the federation has been founded, with these options.
    pub(super) fn mark(&self, options: &Options) -> Result<(), Problem> {
        let text = serde_json::to_string_pretty(options).expect("options are plain values");
        self.write(&self.root.join(MARK), &(text + "\n"))
    }

    /// A release to try.
    pub(super) fn sample_release(&self) -> PathBuf {
        self.root.join("samples/checkout-v2.yaml")
    }

    /// A gateway's folder.
    pub(super) fn gateway(&self, gateway: &GatewayPlan) -> PathBuf {
        self.root
            .join(gateway.cluster.as_str())
            .join(gateway.name.as_str())
    }

    /// A workload's folder.
    pub(super) fn workload(&self, workload: &WorkloadPlan) -> PathBuf {
        self.root
            .join(workload.cluster.as_str())
            .join(workload.short_name())
    }

    /// A cluster's exports.
    pub(super) fn exports(&self, cluster: &ClusterName) -> PathBuf {
        self.root.join(cluster.as_str()).join("exports.yaml")
    }

    /// A process's log.
    pub(super) fn log(&self, process: &str) -> PathBuf {
        self.logs().join(process.replace('/', ".") + ".log")
    }

    /// All logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Makes a folder in it.
    pub(super) fn make(&self, path: &Path) -> Result<(), Problem> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| unwritable(path, error))
    }

    /// Writes a file in it that only its user may read.
    pub(super) fn write(&self, path: &Path, text: &str) -> Result<(), Problem> {
        if let Some(parent) = path.parent() {
            self.make(parent)?;
        }
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| unwritable(path, error))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.stays.get()
            && let Err(error) = fs::remove_dir_all(&self.root)
        {
            tracing::warn!(%error, folder = %self.root.display(), "cannot remove");
        }
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> Problem {
    Problem::new(
        code::FILE_UNREADABLE,
        format!("cannot use {}", path.display()),
    )
    .detail(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_user_may_enter_and_nothing_stays() {
        let folder = Folder::temporary().unwrap();
        let root = folder.root().to_owned();
        assert_eq!(
            fs::metadata(&root).unwrap().permissions().mode() & 0o777,
            0o700
        );
        folder.write(&root.join("a/b"), "text").unwrap();
        assert_eq!(
            fs::metadata(root.join("a/b")).unwrap().permissions().mode() & 0o777,
            0o600
        );
        drop(folder);
        assert!(!root.exists());
    }

    #[test]
    fn a_folder_with_other_things_is_refused_and_a_kept_one_taken() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("mine");
        let folder = Folder::named(&path).unwrap();
        assert_eq!(folder.founded().unwrap(), None);
        fs::write(path.join("letter"), "").unwrap();
        assert_eq!(Folder::named(&path).unwrap_err().code, code::USAGE);
        folder.mark(&Options::default()).unwrap();
        assert_eq!(
            Folder::named(&path).unwrap().founded().unwrap(),
            Some(Options::default())
        );
    }
}
