//! The last state on disk, for a start with nobody reachable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use weft_decide::Place;
use weft_model::Index;
use weft_proto::catalog as wire;

use super::mirror::Mirror;
use super::releases::Releases;
use super::wire as convert;

/// The format this version writes and reads.
const FORMAT: u32 = 1;

/// Why the last state could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    /// It cannot be read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// It is not what this version writes.
    #[error("it is damaged")]
    Damaged(#[source] prost::DecodeError),
    /// Another version wrote it.
    #[error("it has format {0}, this version reads {FORMAT}")]
    Format(u32),
    /// It is of another cluster.
    #[error("it is of cluster {0}")]
    Cluster(String),
}

/// Reads the last state; none if there is none yet.
pub(super) fn load(path: &Path, place: &Place) -> Result<Option<(Mirror, Releases)>, DiskError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(DiskError::Read(why)),
    };
    decode(bytes.into(), place).map(Some)
}

/// Reads the file's bytes.
pub(super) fn decode(bytes: Bytes, place: &Place) -> Result<(Mirror, Releases), DiskError> {
    let file = wire::StateFile::decode(bytes).map_err(DiskError::Damaged)?;
    if file.format != FORMAT {
        return Err(DiskError::Format(file.format));
    }
    if file.cluster != place.cluster.as_str() {
        return Err(DiskError::Cluster(file.cluster));
    }
    let mut mirror = Mirror::default();
    let items = file
        .items
        .iter()
        .map(|item| Bytes::from(item.encode_to_vec()));
    mirror.restore(Index(file.applied_index), items);
    let mut releases = Releases::default();
    for known in &file.releases {
        let service = convert::service_key(known.service.as_ref());
        let release = known.release.as_ref().map(convert::release);
        // What an older or newer version wrote and this one cannot read is left out.
        if let (Ok(service), Some(Ok(release))) = (service, release) {
            releases.restore(service, release);
        }
    }
    Ok((mirror, releases))
}

/// The file for a state.
pub(super) fn encode(mirror: &Mirror, releases: &Releases, place: &Place) -> Vec<u8> {
    let items = mirror
        .items()
        .filter_map(|item| wire::Item::decode(item.clone()).ok());
    let releases = releases
        .iter()
        .map(|(service, release)| wire::KnownRelease {
            service: Some(convert::to_service_key(service)),
            release: Some(convert::to_release(release)),
        });
    wire::StateFile {
        format: FORMAT,
        cluster: place.cluster.to_string(),
        region: place.region.to_string(),
        applied_index: mirror.applied().0,
        items: items.collect(),
        releases: releases.collect(),
    }
    .encode_to_vec()
}

/// Replaces the file at `path` as a whole: a crash leaves the old one or the
/// new one, a full disk the old one. Only its owner may read it. Blocks.
pub fn store(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let stored = write(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, path))
        .and_then(|()| match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        });
    if stored.is_err() {
        // It may take what little room there is; the error is the one returned.
        let _ = fs::remove_file(&unfinished);
    }
    stored
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One that a crash left keeps its mode: made anew, it has ours.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
