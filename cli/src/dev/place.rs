//! Where a user's `weft dev` is found: a small folder with a lock and a control socket.
//!
//! `$XDG_RUNTIME_DIR/weft-dev`, or `/tmp/weft-dev-UID`. The lock is the kernel's
//! (flock), so that one whose owner was killed is free again. The socket is here and
//! not in the federation's own folder, whose path may be too long for a socket.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weft_model::code;

use super::{folder, sys};
use crate::problem::Problem;

/// A user's place.
#[derive(Debug, Clone)]
pub(super) struct Place {
    folder: PathBuf,
}

/// What the lock file says of its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner {
    pub(super) pid: u32,
    pub(super) dir: PathBuf,
    /// Whether the folder goes when its owner does.
    pub(super) temporary: bool,
}

/// The lock, held while this lives.
#[derive(Debug)]
pub(super) struct Claim {
    file: File,
}

impl Place {
    /// This user's place, made if it is not there.
    pub(super) fn of_user() -> Result<Self, Problem> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute() && path.is_dir());
        Self::at(match runtime {
            Some(runtime) => runtime.join("weft-dev"),
            None => Path::new("/tmp").join(format!("weft-dev-{}", sys::user_id())),
        })
    }

    /// The place at that path. In `/tmp` anybody could have made it first, so that it
    /// is taken only if it is this user's and nobody else may enter.
    fn at(folder: PathBuf) -> Result<Self, Problem> {
        let failed = |why: String| {
            Problem::new(
                code::FILE_UNREADABLE,
                format!("cannot use {}", folder.display()),
            )
            .detail(why)
        };
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(failed(error.to_string()));
            }
            _ => {}
        }
        let found = fs::symlink_metadata(&folder).map_err(|error| failed(error.to_string()))?;
        let private = found.is_dir()
            && found.uid() == sys::user_id()
            && found.permissions().mode() & 0o077 == 0;
        if !private {
            return Err(failed("it is not a folder that only you may enter".into())
                .next("Remove it, or set XDG_RUNTIME_DIR to a folder of your own."));
        }
        Ok(Self { folder })
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// `ALREADY_RUNNING` names who has it.
    pub(super) fn claim(&self) -> Result<Claim, Problem> {
        let mut file = self.open()?;
        match file.try_lock() {
            Ok(()) => {
                forget_leftovers(&mut file);
                Ok(Claim { file })
            }
            Err(TryLockError::WouldBlock) => Err(already_running(read_owner(&mut file))),
            Err(TryLockError::Error(error)) => Err(self.failed(error)),
        }
    }

    /// Where its owner listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("control")
    }

    fn open(&self) -> Result<File, Problem> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.folder.join("lock"))
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: std::io::Error) -> Problem {
        Problem::new(
            code::FILE_UNREADABLE,
            format!("cannot use {}", self.folder.display()),
        )
        .detail(error)
    }
}

impl Claim {
    /// Writes down who has it.
    pub(super) fn sign(&mut self, owner: &Owner) -> Result<(), Problem> {
        let text = serde_json::to_string(owner).expect("an owner is plain values");
        self.replace(&text).map_err(|error| {
            Problem::new(code::FILE_UNREADABLE, "cannot write the lock file").detail(error)
        })
    }

    fn replace(&mut self, text: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _stays_until_the_next_claim = self.replace("");
    }
}

fn read_owner(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Removes the temporary folder of an owner that was killed.
fn forget_leftovers(file: &mut File) {
    let Some(owner) = read_owner(file).filter(|owner| owner.temporary) else {
        return;
    };
    let ours = owner.dir.parent() == Some(std::env::temp_dir().as_path())
        && owner
            .dir
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(folder::PREFIX));
    if ours {
        let _gone_already = fs::remove_dir_all(&owner.dir);
    }
}

fn already_running(owner: Option<Owner>) -> Problem {
    let what = match &owner {
        Some(owner) => format!(
            "weft dev is running already: process {}, in {}",
            owner.pid,
            owner.dir.display()
        ),
        None => "weft dev is starting or stopping already".to_owned(),
    };
    Problem::new(code::ALREADY_RUNNING, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(dir: &Path) -> Owner {
        Owner {
            pid: 7,
            dir: dir.to_owned(),
            temporary: true,
        }
    }

    #[test]
    fn the_second_claim_hears_where_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(folder.path().join("place")).unwrap();
        let mut first = place.claim().unwrap();
        first.sign(&owner(Path::new("/somewhere"))).unwrap();
        let refused = place.claim().unwrap_err();
        assert_eq!(refused.code, code::ALREADY_RUNNING);
        assert!(
            refused.what.contains("process 7, in /somewhere"),
            "{}",
            refused.what
        );
        drop(first);
        place.claim().unwrap();
    }

    #[test]
    fn a_killed_owner_leaves_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(folder.path().join("place")).unwrap();
        let left = tempfile::Builder::new()
            .prefix(folder::PREFIX)
            .tempdir()
            .unwrap()
            .keep();
        let text = serde_json::to_string(&owner(&left)).unwrap();
        fs::write(folder.path().join("place/lock"), text).unwrap();
        place.claim().unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_place_that_others_may_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("place");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Place::at(path).unwrap_err().code, code::FILE_UNREADABLE);
    }
}
