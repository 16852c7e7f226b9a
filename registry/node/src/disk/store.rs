//! The state folder: one redb file, or the same in memory.

mod examine;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableTable, StorageBackend, TableDefinition,
};
use weft_model::{FederationDomain, NodeId};
use weft_proto::log;

use super::archive::{self, Archive, Bounds, IMAGES, ROWS};
use super::batch::{Batch, Change, Meta, Stored, founding_batch};
use super::error::DiskError;
use super::file::{self, Patient};
use super::record::{self, Damage};
use super::room::{self, Gauge};

#[cfg(test)]
pub(super) use examine::examine_bytes;
use examine::{contained, examine, load};

const FILE_NAME: &str = "registry.redb";

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The format of the folder as this build writes it.
const FORMAT: u32 = 1;

/// Pages kept in memory, in bytes: the log is read only at start, so little is needed.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Tells one folder from every other, even of the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreId(pub [u8; 16]);

/// Whether `dir` holds a registry.
pub fn exists(dir: &Path) -> bool {
    dir.join(FILE_NAME).exists()
}

/// Reads a folder that no process has open, and changes nothing in it.
pub(crate) fn read_only(dir: &Path) -> Result<(Folder, Stored), DiskError> {
    let path = dir.join(FILE_NAME);
    if !exists(dir) {
        return Err(DiskError::Empty { path });
    }
    let (folder, _, stored) = contained(&path, || examine(&path))?;
    Ok((folder, stored))
}

/// Whose state a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The federation.
    pub domain: FederationDomain,
    /// The node.
    pub node: NodeId,
}

/// An open state folder.
#[derive(Debug)]
pub struct Store {
    database: Arc<Database>,
    path: PathBuf,
    folder: Folder,
    id: StoreId,
    gauge: Arc<Gauge>,
    /// The fault to have, for the simulation to catch.
    #[cfg(feature = "bugs")]
    pub(super) bug: Option<crate::driver::Bug>,
}

impl Store {
    /// A store in memory, for a node that keeps nothing on a disk.
    pub fn in_memory(folder: Folder, id: StoreId) -> Result<Self, DiskError> {
        let gauge = Arc::new(Gauge::boundless());
        let mut store = Self::over(InMemoryBackend::new(), folder, gauge)?;
        store.id = id;
        store.begin(None)?;
        Ok(store)
    }

    /// A store on any bytes, new or old, for the simulation and for tests of what
    /// happens when a write fails. It takes the caller's word for whose it is.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn on(backend: impl StorageBackend, folder: Folder) -> Result<Self, DiskError> {
        let gauge = Arc::new(Gauge::new(&std::env::temp_dir()));
        Self::over(backend, folder, gauge)
    }

    fn over(
        backend: impl StorageBackend,
        folder: Folder,
        gauge: Arc<Gauge>,
    ) -> Result<Self, DiskError> {
        let path = PathBuf::from("memory");
        let backend = Patient::new(backend, gauge.clone());
        let database = contained(&path, || {
            let opened = builder().create_with_backend(backend);
            opened.map_err(|error| damaged(&path, record::damage("file", error)))
        })?;
        Ok(Self {
            database: Arc::new(database),
            path,
            folder,
            id: StoreId([0; 16]),
            gauge,
            #[cfg(feature = "bugs")]
            bug: None,
        })
    }

    /// The same store with a fault.
    #[cfg(feature = "bugs")]
    pub(super) fn with(self, bug: Option<crate::driver::Bug>) -> Self {
        Self { bug, ..self }
    }

    /// Makes a folder for a node that has no state yet. `first` is what a founder begins with.
    pub fn create(
        dir: &Path,
        folder: Folder,
        id: StoreId,
        first: Option<&Stored>,
    ) -> Result<Self, DiskError> {
        let path = dir.join(FILE_NAME);
        let open = |source| unopened(&path, source);
        fs::create_dir_all(dir).map_err(open)?;
        if path.exists() {
            let found = Self::open(dir, None)?.folder;
            return Err(DiskError::Occupied { path, found });
        }
        // Written aside and renamed, so that a crash never leaves half a folder.
        let draft = dir.join(format!("{FILE_NAME}.new"));
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(open(error)),
            _ => {}
        }
        let gauge = Arc::new(Gauge::new(dir));
        let store = Self {
            database: Arc::new(open_database(&draft, Presence::New, |file| {
                Ok(Patient::new(file, gauge.clone()))
            })?),
            path: draft.clone(),
            folder: folder.clone(),
            id,
            gauge,
            #[cfg(feature = "bugs")]
            bug: None,
        };
        store.begin(first)?;
        drop(store);
        fs::rename(&draft, &path).map_err(open)?;
        fs::File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(open)?;
        Self::open(dir, Some(&folder))
    }

    /// The first transaction: whose it is, and what a founder begins with.
    pub(super) fn begin(&self, first: Option<&Stored>) -> Result<(), DiskError> {
        let folder = record::folder(&folder_record(&self.folder, self.id));
        let mut changes = vec![Change::Meta(Meta::Folder, folder)];
        changes.extend(
            first
                .iter()
                .flat_map(|stored| founding_batch(stored).changes()),
        );
        self.commit(changes)
    }

    /// Opens a folder that has state, and checks whose it is and that all of it reads.
    /// Nothing in a folder that is refused has been changed.
    pub fn open(dir: &Path, expected: Option<&Folder>) -> Result<Self, DiskError> {
        let path = dir.join(FILE_NAME);
        if !exists(dir) {
            return Err(DiskError::Empty { path });
        }
        let (folder, id, _) = contained(&path, || examine(&path))?;
        if let Some(expected) = expected.filter(|expected| **expected != folder) {
            return Err(DiskError::Foreign {
                path,
                found: folder,
                expected: expected.clone(),
            });
        }
        let gauge = Arc::new(Gauge::new(dir));
        let database = contained(&path, || {
            open_database(&path, Presence::Existing, |file| {
                Ok(Patient::new(file, gauge.clone()))
            })
        })?;
        Ok(Self {
            database: Arc::new(database),
            path,
            folder,
            id,
            gauge,
            #[cfg(feature = "bugs")]
            bug: None,
        })
    }

    /// Whose state it is.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Which folder it is.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// The room on its disk.
    pub(crate) fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    /// Its history, which is read beside what is written. It does not keep the folder open.
    pub(crate) fn archive(&self) -> Archive {
        Archive::new(&self.database)
    }

    /// Reads everything but history, of which only the ends.
    pub fn load(&self) -> Result<Stored, DiskError> {
        contained(&self.path, || {
            load(&self.database).map_err(|damage| damaged(&self.path, damage))
        })
    }

    /// Writes batches in one transaction and returns once they are on the disk.
    pub fn write(&self, batches: &[Batch]) -> Result<(), DiskError> {
        #[cfg(feature = "bugs")]
        if self.bug == Some(crate::driver::Bug::SplitTransaction) {
            let changes = batches.iter().flat_map(Batch::changes);
            let (meta, log) = changes.partition(|change| matches!(change, Change::Meta(..)));
            self.commit(log)?;
            return self.commit(meta);
        }
        self.commit(batches.iter().flat_map(Batch::changes).collect())
    }

    pub(super) fn commit(&self, changes: Vec<Change>) -> Result<(), DiskError> {
        carry_out(&self.database, changes, self.durability()).map_err(|error| match error {
            redb::Error::Io(source) if room::is_full(&source) => DiskError::Full {
                path: self.path.clone(),
                source,
            },
            error => DiskError::Write(Box::new(error)),
        })
    }
}

impl Store {
    #[cfg(not(feature = "bugs"))]
    fn durability(&self) -> Durability {
        Durability::Immediate
    }

    #[cfg(feature = "bugs")]
    fn durability(&self) -> Durability {
        match self.bug {
            Some(crate::driver::Bug::SkipSync) => Durability::None,
            _ => Durability::Immediate,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    New,
    Existing,
}

fn open_database<B: StorageBackend>(
    path: &Path,
    presence: Presence,
    backend: impl FnOnce(FileBackend) -> io::Result<B>,
) -> Result<Database, DiskError> {
    let opened = file::open(path, presence == Presence::New);
    let file = opened.map_err(|source| unopened(path, source))?;
    let length = file.metadata().map_err(|source| unopened(path, source))?;
    if presence == Presence::Existing && length.len() == 0 {
        // The store would take it for a new one, and forget that there was another.
        return Err(damaged(path, record::damage("file", "it is empty")));
    }
    let opened = FileBackend::new(file)
        .and_then(|file| Ok(backend(file).map_err(redb::StorageError::Io)?))
        .and_then(|backend| builder().create_with_backend(backend));
    opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => DiskError::InUse { path: path.into() },
        DatabaseError::Storage(redb::StorageError::Io(source))
            if source.kind() != io::ErrorKind::InvalidData
                && source.kind() != io::ErrorKind::UnexpectedEof =>
        {
            unopened(path, source)
        }
        other => damaged(path, record::damage("file", other)),
    })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn unopened(path: &Path, source: io::Error) -> DiskError {
    let path = path.into();
    match room::is_full(&source) {
        true => DiskError::Full { path, source },
        false => DiskError::Open { path, source },
    }
}

fn carry_out(
    database: &Database,
    changes: Vec<Change>,
    durability: Durability,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability)?;
    {
        let mut log = transaction.open_table(LOG)?;
        let mut meta = transaction.open_table(META)?;
        let mut rows = transaction.open_table(ROWS)?;
        let mut images = transaction.open_table(IMAGES)?;
        for change in changes {
            match change {
                Change::DropFrom(first) => log.retain_in(first.., |_, _| false)?,
                Change::DropThrough(last) => log.retain_in(..=last, |_, _| false)?,
                Change::Put(index, value) => {
                    log.insert(index, &value[..])?;
                }
                Change::Meta(key, value) => {
                    meta.insert(key.key(), &value[..])?;
                }
                Change::Begin(after) => {
                    rows.retain(|_, _| false)?;
                    images.retain(|_, _| false)?;
                    meta.insert(Meta::History.key(), &record::start(after, 0)[..])?;
                }
                Change::Row(index, value) => {
                    rows.insert(index, &value[..])?;
                }
                Change::Archive { index, rows_bytes } => {
                    let snapshot = meta.get(Meta::Snapshot.key())?;
                    let archived =
                        snapshot.and_then(|value| record::archived(value.value(), rows_bytes).ok());
                    if let Some(value) = archived {
                        images.insert(index, &value[..])?;
                    }
                }
                Change::Trim { newest, bounds } => {
                    if let Some(after) = forgotten(&images, newest, bounds)? {
                        images.retain_in(..after, |_, _| false)?;
                        rows.retain_in(..=after, |_, _| false)?;
                        meta.insert(Meta::History.key(), &record::start(after, 0)[..])?;
                    }
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Where history is to begin; none if it stays as it is.
fn forgotten(
    images: &redb::Table<'_, u64, &'static [u8]>,
    newest: u64,
    bounds: Bounds,
) -> Result<Option<u64>, redb::Error> {
    let mut sizes = Vec::new();
    for item in images.iter()? {
        let (index, value) = item?;
        // A damaged one is said to be so when it is read.
        let bytes = record::archived_bytes(index.value(), value.value()).unwrap_or(0);
        sizes.push((index.value(), bytes));
    }
    Ok(archive::forget(&sizes, newest, bounds))
}

fn folder_record(folder: &Folder, id: StoreId) -> log::Folder {
    log::Folder {
        format: FORMAT,
        domain: folder.domain.to_string(),
        node: folder.node.0,
        store: Bytes::copy_from_slice(&id.0),
    }
}

fn damaged(path: &Path, damage: Damage) -> DiskError {
    DiskError::Damaged {
        path: path.into(),
        what: damage.what,
        problem: damage.problem,
    }
}
