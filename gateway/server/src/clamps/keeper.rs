//! Clamps in memory and on disk.
//!
//! A clamp counts at once, since it lowers; whoever asked for one is told it is made once it is on
//! disk, where it outlives a crash. What a disk did not take, and what a peer tells of, is written
//! as soon as it can be.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weft_model::{Clamp, ClampId, ClusterName, Federation, GatewayName, RegionName};
use weft_plan::release::{ClampRefused, Clamps};

use super::ClampSource;
use super::file::{self, ClampFileError};

/// A disk that has no room is tried again after this long.
const RETRY: Duration = Duration::from_secs(3);

/// Why a clamp was not made.
#[derive(Debug, thiserror::Error)]
pub enum ClampError {
    /// There are too many.
    #[error(transparent)]
    Refused(#[from] ClampRefused),
    /// It is in force, and the disk did not take it: it would not outlive this process.
    #[error("clamp {id} is in force, but not on disk")]
    Unkept {
        /// Which.
        id: ClampId,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// The clamps. Clones share them.
#[derive(Debug, Clone)]
pub struct ClampKeeper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// None: they are kept in memory alone.
    path: Option<PathBuf>,
    known: Mutex<Arc<Clamps>>,
    /// What weighs releases reads them there.
    source: ClampSource,
    /// Held while the file is replaced, so that an older list never replaces a newer one.
    writing: tokio::sync::Mutex<()>,
}

impl ClampKeeper {
    /// Reads the file at `path`, without which none are in force, and tells `source`. Blocks.
    pub fn open(path: PathBuf, source: ClampSource) -> Result<Self, ClampFileError> {
        let known = file::load(&path)?;
        Ok(Self::new(Some(path), known, source))
    }

    /// Without a disk.
    pub fn in_memory() -> Self {
        Self::new(None, Clamps::default(), ClampSource::default())
    }

    fn new(path: Option<PathBuf>, known: Clamps, source: ClampSource) -> Self {
        source.store(known.iter().cloned().collect());
        Self(Arc::new(Inner {
            path,
            known: Mutex::new(Arc::new(known)),
            source,
            writing: tokio::sync::Mutex::new(()),
        }))
    }

    /// Those known now; some of them may be lifted.
    pub fn known(&self) -> Arc<Clamps> {
        Arc::clone(&self.lock())
    }

    /// Where those are read that weigh releases; wakes who must act on a change.
    pub fn source(&self) -> &ClampSource {
        &self.0.source
    }

    /// Makes a clamp: in force, then on disk. One that lowers as much already is answered instead.
    pub async fn make(&self, clamp: Clamp, federation: &Federation) -> Result<Clamp, ClampError> {
        let mut made = Ok(clamp.clone());
        self.change(|clamps| {
            if let Some(like) = clamps.like(&clamp, federation) {
                made = Ok(like.clone());
                return false;
            }
            clamps.prune(federation);
            if let Err(why) = clamps.make(clamp.clone()) {
                made = Err(why);
                return false;
            }
            true
        });
        let made = made?;
        // Also of one that was there: it may be one that found no room.
        let written = self.keep_once().await;
        let id = made.id;
        written.map_err(|source| ClampError::Unkept { id, source })?;
        Ok(made)
    }

    /// Takes in what gateway `peer`, whose cluster is in `region`, says to gateway `own`. What it
    /// may not say is left out.
    pub fn hear(
        &self,
        own: (&ClusterName, &GatewayName),
        peer: (&ClusterName, &GatewayName),
        region: &RegionName,
        said: Vec<Clamp>,
    ) {
        self.change(|clamps| {
            let mut news = false;
            for clamp in said {
                let id = clamp.id;
                match clamps.hear(own, peer, region, clamp) {
                    Ok(new) => news |= new,
                    Err(why) => {
                        let (cluster, gateway) = peer;
                        tracing::warn!(%cluster, %gateway, clamp = %id, %why, "left out a clamp");
                    }
                }
            }
            news
        });
    }

    /// The log has moved on: forgets what it did away with.
    pub fn follow(&self, federation: &Federation) {
        self.change(|clamps| clamps.prune(federation));
    }

    /// Keeps the file up to date for as long as it is polled.
    pub async fn keep(self) {
        let mut changed = self.source().changed();
        let mut failing = false;
        while changed.changed().await.is_ok() {
            while let Err(why) = self.keep_once().await {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%why, "clamps are not kept on disk; trying again");
                }
                tokio::time::sleep(RETRY).await;
            }
            if std::mem::take(&mut failing) {
                tracing::info!("clamps are kept on disk again");
            }
        }
    }

    async fn keep_once(&self) -> std::io::Result<()> {
        let _writing = self.0.writing.lock().await;
        let known = Clamps::clone(&self.known());
        self.store(known).await
    }

    async fn store(&self, clamps: Clamps) -> std::io::Result<()> {
        let Some(path) = self.0.path.clone() else {
            return Ok(());
        };
        let written = tokio::task::spawn_blocking(move || file::store(&path, &clamps)).await;
        written.unwrap_or_else(|ended| Err(std::io::Error::other(ended)))
    }

    /// Readers keep what they have; those who wait are told if `change` says so.
    fn change(&self, change: impl FnOnce(&mut Clamps) -> bool) {
        let mut known = self.lock();
        let mut next = Clamps::clone(&known);
        if change(&mut next) {
            // Under the lock, so that an older list never follows a newer one.
            self.0.source.store(next.iter().cloned().collect());
            *known = Arc::new(next);
        }
    }

    /// A panic elsewhere leaves nothing in it that could not be used.
    fn lock(&self) -> MutexGuard<'_, Arc<Clamps>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
