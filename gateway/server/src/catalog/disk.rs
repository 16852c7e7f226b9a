//! The last view on disk, for a start with nobody reachable.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use weft_model::{ClusterName, Digest, Endpoint};
use weft_plan::Moment;
use weft_plan::catalog::{CatalogView, Freshness, Interest};
use weft_proto::catalog as wire;
use weft_proxy::catalog::wire::{self as convert, WireError};

use super::link::frame::{read_digest, to_digest, to_interest};
use super::session::interest;

/// The format this version writes and reads.
const FORMAT: u32 = 1;

/// Why the last view could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Read(io::Error),
    /// It is not what this version writes.
    #[error("it is damaged: {0}")]
    Damaged(prost::DecodeError),
    /// Another version wrote it.
    #[error("it has format {0}, this version reads {FORMAT}")]
    Format(u32),
    /// It is of another cluster.
    #[error("it is of cluster {0}")]
    Cluster(String),
}

/// What a view left on disk.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) endpoints: Vec<Endpoint>,
    /// Other clusters, and how long ago each was heard.
    pub(super) clusters: Vec<Told>,
}

/// What was known of another cluster besides its endpoints.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) cluster: ClusterName,
    pub(super) ago: Duration,
    pub(super) covered: Interest,
    pub(super) digest: Digest,
}

/// Reads the last view; nothing if there is none yet.
pub(super) fn load(path: &Path, cluster: &ClusterName) -> Result<Loaded, DiskError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
        Err(why) => return Err(DiskError::Read(why)),
    };
    let file = wire::ViewFile::decode(&*bytes).map_err(DiskError::Damaged)?;
    if file.format != FORMAT {
        return Err(DiskError::Format(file.format));
    }
    if file.cluster != cluster.as_str() {
        return Err(DiskError::Cluster(file.cluster));
    }
    let touched = fs::metadata(path).and_then(|meta| meta.modified());
    let touched = touched.map_err(DiskError::Read)?;
    // What another version wrote and this one cannot read is left out.
    let endpoints = file.endpoints.iter().map(convert::endpoint);
    let told = file.last_heard.iter().map(|last| told(last, touched));
    Ok(Loaded {
        endpoints: endpoints.filter_map(Result::ok).collect(),
        clusters: told.filter_map(Result::ok).collect(),
    })
}

fn told(last: &wire::LastHeard, touched: SystemTime) -> Result<Told, WireError> {
    let heard = match last.heard_ms {
        0 => touched,
        millis => UNIX_EPOCH + Duration::from_millis(millis),
    };
    Ok(Told {
        cluster: convert::parse("cluster", &last.cluster)?,
        ago: SystemTime::now().duration_since(heard).unwrap_or_default(),
        covered: interest(last.covered.as_ref())?,
        digest: read_digest(&last.digest.clone().unwrap_or_default())?,
    })
}

/// Replaces the file by this view, as it is at `now`.
pub(super) fn store(path: &Path, view: &CatalogView, now: Moment) -> io::Result<()> {
    let services = view.services().flat_map(|(_, service)| &service.endpoints);
    let others = view.clusters().filter(|(name, _)| *name != view.cluster());
    let file = wire::ViewFile {
        format: FORMAT,
        cluster: view.cluster().to_string(),
        endpoints: services
            .map(|endpoint| convert::to_endpoint(endpoint))
            .collect(),
        last_heard: others
            .map(|(name, liveness)| wire::LastHeard {
                cluster: name.to_string(),
                heard_ms: match liveness.freshness {
                    Freshness::Live => 0,
                    Freshness::Stale(since) => millis_before_now(now.since(since)),
                },
                covered: Some(to_interest(&liveness.covered)),
                digest: Some(to_digest(&liveness.digest)),
            })
            .collect(),
    };
    weft_proxy::catalog::replace_file(path, &file.encode_to_vec())
}

/// The file still says how things are. Takes no room on the disk.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    file.set_modified(SystemTime::now())
}

fn millis_before_now(ago: Duration) -> u64 {
    let at = SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH);
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    // 0 stands for something else.
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1)
}
