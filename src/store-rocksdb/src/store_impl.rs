use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use rocksdb::{Cache, Options, WriteBatch, WriteOptions, checkpoint::Checkpoint, statistics::Ticker};
use store::{Commit, Keyspace, Op, Outcome, Row, Scan, Store, StoreError, check_preconditions};

use tracing::warn;

use crate::{
    error::{BackupError, OpenError, backend},
    log_check::{self, Damage, Verdict},
    options::RocksDbOptions,
    read::{Database, Read, Reader, Tier, blocking, hit},
    tuning,
    usage::{self, Usage},
};

/// What a record takes in a batch beside its key and value: type, column family and two lengths.
const RECORD_OVERHEAD: usize = 12;

/// Held locked while a store is open. RocksDB leaves files alone whose names it does not know.
const LOCK_FILE: &str = "store.lock";

/// A data folder opened with RocksDB. It is locked until the store is dropped.
pub struct RocksDbStore {
    reader: Arc<Reader>,
    writes: WriteOptions,
    /// Held over a group, so that nothing comes between its preconditions and its write; true after a failed write.
    failed: Mutex<bool>,
    path: PathBuf,
    cache: Cache,
    /// Kept for its counters, where they are on.
    statistics: Option<Options>,
}

impl RocksDbStore {
    /// Opens a data folder, and makes it where there is none. Replays the log of an earlier run. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: &RocksDbOptions) -> Result<Self, OpenError> {
        let path = &options.path;
        make_folder(path).map_err(|source| OpenError::Folder { path: path.clone(), source })?;
        let lock = lock(path)?;
        check_log(path)?;
        let cache = tuning::cache(options);
        let settings = tuning::database(options);
        let db = Database::open_cf_descriptors(&settings, path, tuning::families(options, &cache))
            .map_err(|error| OpenError::from_rocksdb(path, &error))?;
        Ok(Self {
            reader: Arc::new(Reader::new(db, lock)),
            writes: tuning::writes(options),
            failed: Mutex::new(false),
            path: path.clone(),
            cache,
            statistics: options.statistics.then_some(settings),
        })
    }

    /// The folder of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all memtables out to table files, and so empties the log. Blocks.
    ///
    /// # Errors
    /// Those of RocksDB.
    pub fn flush(&self) -> Result<(), StoreError> {
        for keyspace in Keyspace::ALL {
            self.reader.db.flush_cf(self.reader.family(keyspace)?).map_err(backend)?;
        }
        Ok(())
    }

    /// Makes a consistent copy of the store in a new folder, which opens as a store. Table files are hard links where `target`
    /// is on the same file system; writes go on meanwhile. Blocks.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn checkpoint(&self, target: &Path) -> Result<(), BackupError> {
        if target.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(target.to_owned()));
        }
        Checkpoint::new(&self.reader.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(target))
            .map_err(|error| BackupError::Backend(error.to_string()))
    }

    /// Bytes that the folder takes on disk, space set aside for the log included. Blocks.
    ///
    /// # Errors
    /// Those of reading the folder.
    pub fn size_on_disk(&self) -> std::io::Result<u64> {
        usage::size_on_disk(&self.path)
    }

    /// What the store holds in memory and has yet to do.
    ///
    /// # Errors
    /// Those of RocksDB.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        usage::usage(&self.reader, &self.cache)
    }

    /// How often the log was synced since the store was opened; `None` unless [`RocksDbOptions::statistics`] is on.
    pub fn log_syncs(&self) -> Option<u64> {
        self.statistics.as_ref().map(|statistics| statistics.get_ticker_count(Ticker::WalFileSynced))
    }

    fn write(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = check_preconditions(group, |keyspace, key| self.reader.get_now(keyspace, key))?;
        let done = || group.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Done);
        let ops = || done().flat_map(|(commit, _)| &commit.ops);
        let bytes = ops().map(|op| op.size() + RECORD_OVERHEAD).sum::<usize>();
        let mut batch = WriteBatch::with_capacity_bytes(bytes + RECORD_OVERHEAD);
        for op in ops() {
            self.add(&mut batch, op)?;
        }
        if !batch.is_empty() {
            self.reader.db.write_opt(batch, &self.writes).map_err(backend)?;
        }
        Ok(outcomes)
    }

    fn add(&self, batch: &mut WriteBatch, op: &Op) -> Result<(), StoreError> {
        match op {
            Op::Put(keyspace, key, value) => batch.put_cf(self.reader.family(*keyspace)?, key, value),
            Op::Delete(keyspace, key) => batch.delete_cf(self.reader.family(*keyspace)?, key),
            // RocksDB takes an upside-down range for an error.
            Op::DeleteRange(_, from, to) if from >= to => {}
            Op::DeleteRange(keyspace, from, to) => batch.delete_range_cf(self.reader.family(*keyspace)?, from, to),
        }
        Ok(())
    }
}

impl std::fmt::Debug for RocksDbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksDbStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Reads look into memory when they are called, not when they are first polled; see the crate's documentation. A scan is one
/// view of the store; the answers of one `multi_get` are each the newest at their moment.
impl Store for RocksDbStore {
    fn get<'a>(&'a self, keyspace: Keyspace, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        match self.reader.get(keyspace, key, Tier::Memory) {
            Ok(Read::Hit(value)) => std::future::ready(Ok(value)).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
            Ok(Read::Miss) => {
                let key = Bytes::copy_from_slice(key);
                blocking(&self.reader, move |reader| reader.get_now(keyspace, &key)).boxed()
            }
        }
    }

    fn multi_get<'a>(&'a self, keys: &'a [(Keyspace, Bytes)]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        match self.reader.multi_get_cached(keys) {
            Err(error) => std::future::ready(Err(error)).boxed(),
            Ok(answers) if answers.iter().any(|answer| matches!(answer, Read::Miss)) => {
                let keys = keys.to_vec();
                blocking(&self.reader, move |reader| reader.multi_get(&keys, answers)).boxed()
            }
            Ok(answers) => std::future::ready(answers.into_iter().map(hit).collect()).boxed(),
        }
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        match self.reader.scan(scan, Tier::Memory) {
            Ok(Read::Hit(rows)) => std::future::ready(Ok(rows)).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
            // From the start: a page is one view of the store.
            Ok(Read::Miss) => {
                let scan = scan.clone();
                blocking(&self.reader, move |reader| hit(reader.scan(&scan, Tier::Disk)?)).boxed()
            }
        }
    }

    fn commit_group(&self, group: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let mut failed = self.failed.lock();
        if *failed {
            return Err(StoreError::Stopped);
        }
        let outcomes = self.write(group);
        *failed = outcomes.is_err();
        outcomes
    }

    fn get_blocking(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.reader.get_now(keyspace, key)
    }
}

/// Takes the folder for this store. RocksDB has a lock of its own, but the log is looked at before RocksDB is.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let unusable = |source| OpenError::Folder { path: folder.to_owned(), source };
    let path = folder.join(LOCK_FILE);
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::AlreadyOpen(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Cuts a torn end off the log; refuses one with a hole.
fn check_log(folder: &Path) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Folder { path: folder.to_owned(), source };
    match log_check::check(folder).map_err(unusable)? {
        Verdict::Whole => Ok(()),
        Verdict::Torn(damage) => {
            let bytes = log_check::cut(&damage).map_err(unusable)?;
            warn!(log = %damage.log.display(), bytes, "the log ended in an unfinished group, which was dropped");
            Ok(())
        }
        Verdict::Hole(Damage { log, offset }) => Err(OpenError::damaged(
            folder,
            format!("{} is damaged at byte {offset}, and later groups follow", log.display()),
        )),
    }
}

/// Makes the folder readable for its owner only: it holds keys and tokens.
fn make_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
