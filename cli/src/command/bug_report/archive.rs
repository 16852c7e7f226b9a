//! The report as a folder or a file, readable by its owner alone.

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use weft_model::{WallTime, code};

use super::Report;
use crate::problem::Problem;

/// Where the report goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A folder of files.
    Folder(PathBuf),
    /// A `.tar.gz`.
    File(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(f)
    }
}

impl Target {
    fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::File(path) => path,
        }
    }

    /// Nothing that exists is written over.
    pub(super) fn is_free(&self) -> Result<(), Problem> {
        match self.path().exists() {
            false => Ok(()),
            true => Err(Problem::new(code::USAGE, format!("{self} exists already"))
                .next("Name another file or folder.")),
        }
    }

    pub(super) fn write(&self, reports: &[Report], now: WallTime) -> io::Result<()> {
        match self {
            Self::Folder(folder) => {
                for report in reports {
                    let path = folder.join(&report.name);
                    let parent = path.parent().unwrap_or(folder);
                    DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(parent)?;
                    create(&path)?.write_all(report.text.as_bytes())?;
                }
                Ok(())
            }
            Self::File(path) => {
                let zip = GzEncoder::new(create(path)?, Compression::default());
                let mut archive = tar::Builder::new(zip);
                for report in reports {
                    let mut header = tar::Header::new_gnu();
                    header.set_size(report.text.len() as u64);
                    header.set_mode(0o600);
                    header.set_mtime(now.0 / 1000);
                    let name = Path::new("weft-bug-report").join(&report.name);
                    archive.append_data(&mut header, name, report.text.as_bytes())?;
                }
                archive.into_inner()?.finish()?.sync_all()
            }
        }
    }
}

fn create(path: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}
