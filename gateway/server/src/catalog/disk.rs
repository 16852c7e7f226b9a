//! The last view on disk, for a start with nobody reachable, and what has changed since.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use weft_model::{ClusterName, Digest, Endpoint, EndpointId};
use weft_plan::Moment;
use weft_plan::catalog::{CatalogView, Freshness, Interest, ViewChanges};
use weft_proto::catalog as wire;
use weft_proxy::catalog::replace_file;
use weft_proxy::catalog::wire::{self as convert, WireError};

use super::changes::ChangeFile;
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

/// What a view, and the changes after it, left on disk.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) endpoints: Endpoints,
    /// Other clusters, and how long ago each was heard.
    pub(super) clusters: Vec<Told>,
    /// The last change in the view.
    change: u64,
}

type Endpoints = BTreeMap<(ClusterName, EndpointId), Endpoint>;

/// What was known of another cluster besides its endpoints.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) cluster: ClusterName,
    pub(super) ago: Duration,
    pub(super) covered: Interest,
    pub(super) digest: Digest,
}

/// The files. Everything blocks.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    changes: Mutex<ChangeFile>,
    /// Views that were written as a whole, or are, from which no change was told since.
    wholes: Mutex<Vec<Arc<CatalogView>>>,
}

impl Disk {
    /// Reads the last view and what has changed since. One that cannot be used is said, and then
    /// the start is one without.
    pub(super) fn open(path: &Path, cluster: &ClusterName) -> (Self, Loaded) {
        let mut loaded = load(path, cluster).unwrap_or_else(|why| {
            tracing::warn!(path = %path.display(), %why, "starting without the last view");
            Loaded::default()
        });
        let (changes, later) = ChangeFile::open(beside(path), loaded.change);
        later.iter().for_each(|change| loaded.apply(change));
        let disk = Self {
            path: path.to_owned(),
            changes: Mutex::new(changes),
            wholes: Mutex::default(),
        };
        (disk, loaded)
    }

    /// Whether there is a view that changes can be added to.
    pub(super) fn has_begun(&self) -> bool {
        self.changes().has_begun()
    }

    /// Replaces the view by the one that is newest now, with the moment it is of; returns its
    /// generation. Changes may be added meanwhile.
    pub(super) fn store(
        &self,
        newest: impl FnOnce() -> (Arc<CatalogView>, Moment),
    ) -> io::Result<u64> {
        // In this order: all changes up to this one are in the view.
        let change = self.changes().last();
        let (view, now) = {
            // Whoever does not find it among them has found no newer one before.
            let mut wholes = self.lock_wholes();
            let (view, now) = newest();
            wholes.push(Arc::clone(&view));
            (view, now)
        };
        let file = encode(&view, change, now);
        let stored = replace_file(&self.path, &file.encode_to_vec());
        // Which of the two is on the disk now.
        let is_there = |whole: &Arc<CatalogView>| Arc::ptr_eq(whole, &view) == stored.is_ok();
        self.lock_wholes().retain(is_there);
        stored?;
        if let Err(why) = self.changes().cut(change) {
            tracing::debug!(%why, "changes that are in the view stay beside it");
        }
        Ok(view.generation())
    }

    /// The views that were written as a whole, or are, since changes led to `stored`.
    pub(super) fn wholes(&self, stored: &CatalogView) -> Vec<Arc<CatalogView>> {
        let mut wholes = self.lock_wholes();
        wholes.retain(|whole| whole.generation() > stored.generation());
        wholes.clone()
    }

    fn lock_wholes(&self) -> MutexGuard<'_, Vec<Arc<CatalogView>>> {
        self.wholes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the view what is other by now.
    pub(super) fn add(&self, changes: &ViewChanges, now: Moment) -> io::Result<()> {
        let gone = changes.gone.iter().map(|(cluster, id)| wire::GoneEndpoint {
            cluster: cluster.to_string(),
            id: id.0.to_vec().into(),
        });
        let covered = changes.covered.iter().map(|(name, freshness, covered)| {
            let heard = match freshness {
                Freshness::Live => Duration::ZERO,
                Freshness::Stale(since) => now.since(*since),
            };
            wire::LastHeard {
                cluster: name.to_string(),
                heard_ms: millis_before_now(heard),
                covered: Some(to_interest(covered)),
                digest: None,
            }
        });
        let put = changes.put.iter();
        self.changes().append(wire::ViewChange {
            put: put.map(|endpoint| convert::to_endpoint(endpoint)).collect(),
            gone: gone.collect(),
            covered: covered.collect(),
            ..wire::ViewChange::default()
        })
    }

    /// The view still says how things are. Takes no room on the disk.
    pub(super) fn touch(&self) -> io::Result<()> {
        let file = fs::File::options().write(true).open(&self.path)?;
        file.set_modified(SystemTime::now())
    }

    fn changes(&self) -> MutexGuard<'_, ChangeFile> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the changes of the view at `path` are.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-changes.pb");
    path.with_file_name(name)
}

/// Reads the last view; nothing if there is none yet.
fn load(path: &Path, cluster: &ClusterName) -> Result<Loaded, DiskError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
        Err(why) => return Err(DiskError::Read(why)),
    };
    let touched = fs::metadata(path).and_then(|meta| meta.modified());
    decode(&bytes, cluster, touched.map_err(DiskError::Read)?)
}

/// Reads the file's bytes; a cluster that was live then was heard when it was last touched.
pub(super) fn decode(
    bytes: &[u8],
    cluster: &ClusterName,
    touched: SystemTime,
) -> Result<Loaded, DiskError> {
    let file = wire::ViewFile::decode(bytes).map_err(DiskError::Damaged)?;
    if file.format != FORMAT {
        return Err(DiskError::Format(file.format));
    }
    if file.cluster != cluster.as_str() {
        return Err(DiskError::Cluster(file.cluster));
    }
    let mut loaded = Loaded {
        change: file.change,
        ..Loaded::default()
    };
    loaded.put(&file.endpoints);
    let told = file.last_heard.iter().map(|last| told(last, touched));
    loaded.clusters = told.filter_map(Result::ok).collect();
    Ok(loaded)
}

impl Loaded {
    /// What another version wrote and this one cannot read is left out.
    fn put(&mut self, endpoints: &[wire::Endpoint]) {
        let read = endpoints.iter().map(convert::endpoint);
        for endpoint in read.filter_map(Result::ok) {
            let at = (endpoint.cluster.clone(), endpoint.id);
            self.endpoints.insert(at, endpoint);
        }
    }

    fn apply(&mut self, change: &wire::ViewChange) {
        self.put(&change.put);
        for gone in &change.gone {
            let cluster = convert::parse::<ClusterName>("cluster", &gone.cluster);
            if let (Ok(cluster), Some(id)) = (cluster, EndpointId::from_slice(&gone.id)) {
                self.endpoints.remove(&(cluster, id));
            }
        }
        let told = change.covered.iter().map(|it| told(it, SystemTime::now()));
        for new in told.filter_map(Result::ok) {
            let known = self.clusters.iter_mut().find(|k| k.cluster == new.cluster);
            match known {
                Some(known) => known.covered = new.covered,
                None => self.clusters.push(new),
            }
        }
    }
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

fn encode(view: &CatalogView, change: u64, now: Moment) -> wire::ViewFile {
    let services = view.services().flat_map(|(_, service)| &service.endpoints);
    let others = view.clusters().filter(|(name, _)| *name != view.cluster());
    wire::ViewFile {
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
        change,
    }
}

fn millis_before_now(ago: Duration) -> u64 {
    let at = SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH);
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    // 0 stands for something else.
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1)
}
