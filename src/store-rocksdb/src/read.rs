//! Reading: from memory on the calling thread, and what is not in memory on the blocking pool.

use std::{fs::File, sync::Arc};

use bytes::Bytes;
use rocksdb::{DBWithThreadMode, ErrorKind, ReadOptions, SingleThreaded};
use store::{Keyspace, Row, Scan, StoreError};
use tokio::runtime::Handle;

use crate::{error::backend, tuning};

pub(crate) type Database = DBWithThreadMode<SingleThreaded>;

/// An answer, or `Miss` where only the disk has it.
pub(crate) enum Read<T> {
    Hit(T),
    Miss,
}

/// Where a read may look.
#[derive(Clone, Copy)]
pub(crate) enum Tier {
    Memory,
    Disk,
}

/// An open database with its prepared read options.
pub(crate) struct Reader {
    pub(crate) db: Database,
    cached: ReadOptions,
    any: ReadOptions,
    /// Released after the database is closed, by the order of the fields.
    _lock: File,
}

impl Reader {
    pub(crate) fn new(db: Database, lock: File) -> Self {
        Self { db, cached: tuning::cached_reads(), any: ReadOptions::default(), _lock: lock }
    }

    pub(crate) fn family(&self, keyspace: Keyspace) -> Result<&rocksdb::ColumnFamily, StoreError> {
        self.db.cf_handle(keyspace.name()).ok_or_else(|| backend(format_args!("no keyspace {}", keyspace.name())))
    }

    fn options(&self, tier: Tier) -> &ReadOptions {
        match tier {
            Tier::Memory => &self.cached,
            Tier::Disk => &self.any,
        }
    }

    pub(crate) fn get(&self, keyspace: Keyspace, key: &[u8], tier: Tier) -> Result<Read<Option<Bytes>>, StoreError> {
        match self.db.get_pinned_cf_opt(self.family(keyspace)?, key, self.options(tier)) {
            Ok(value) => Ok(Read::Hit(value.map(|value| Bytes::copy_from_slice(&value)))),
            Err(error) => miss_or_fail(&error),
        }
    }

    /// The value of a key, from wherever it is.
    pub(crate) fn get_now(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        hit(self.get(keyspace, key, Tier::Disk)?)
    }

    /// The answers that are in memory. One by one: RocksDB's batched look-up reads from disk whatever tier it is told.
    pub(crate) fn multi_get_cached(&self, keys: &[(Keyspace, Bytes)]) -> Result<Vec<Read<Option<Bytes>>>, StoreError> {
        keys.iter().map(|(keyspace, key)| self.get(*keyspace, key, Tier::Memory)).collect()
    }

    /// Adds the answers that are on disk.
    pub(crate) fn multi_get(
        &self,
        keys: &[(Keyspace, Bytes)],
        mut answers: Vec<Read<Option<Bytes>>>,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        for keyspace in Keyspace::ALL {
            let mut missing: Vec<_> = keys
                .iter()
                .zip(&mut answers)
                .filter(|((found_in, _), answer)| *found_in == keyspace && matches!(answer, Read::Miss))
                .collect();
            if missing.is_empty() {
                continue;
            }
            let wanted = missing.iter().map(|((_, key), _)| &key[..]);
            let found = self.db.batched_multi_get_cf_opt(self.family(keyspace)?, wanted, false, &self.any);
            for ((_, answer), found) in missing.iter_mut().zip(found) {
                **answer = Read::Hit(found.map_err(backend)?.map(|value| Bytes::copy_from_slice(&value)));
            }
        }
        answers.into_iter().map(hit).collect()
    }

    pub(crate) fn scan(&self, scan: &Scan, tier: Tier) -> Result<Read<Vec<Row>>, StoreError> {
        if scan.limit == 0 || scan.from >= scan.to {
            return Ok(Read::Hit(Vec::new()));
        }
        let mut options = match tier {
            Tier::Memory => tuning::cached_reads(),
            Tier::Disk => ReadOptions::default(),
        };
        options.set_iterate_lower_bound(&scan.from[..]);
        options.set_iterate_upper_bound(&scan.to[..]);
        let mut cursor = self.db.raw_iterator_cf_opt(self.family(scan.keyspace)?, options);
        if scan.reverse {
            cursor.seek_to_last();
        } else {
            cursor.seek_to_first();
        }
        let mut rows = Vec::new();
        while let Some((key, value)) = cursor.item() {
            rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            if rows.len() == scan.limit {
                return Ok(Read::Hit(rows));
            }
            if scan.reverse {
                cursor.prev();
            } else {
                cursor.next();
            }
        }
        match cursor.status() {
            Ok(()) => Ok(Read::Hit(rows)),
            Err(error) => miss_or_fail(&error),
        }
    }
}

fn miss_or_fail<T>(error: &rocksdb::Error) -> Result<Read<T>, StoreError> {
    match error.kind() {
        ErrorKind::Incomplete => Ok(Read::Miss),
        _ => Err(backend(error)),
    }
}

/// The answer of a read that was allowed to go to the disk.
pub(crate) fn hit<T>(read: Read<T>) -> Result<T, StoreError> {
    match read {
        Read::Hit(answer) => Ok(answer),
        Read::Miss => Err(backend("a read from disk came back incomplete")),
    }
}

/// Runs a read that may block: on the blocking pool, or right here where there is no tokio runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    reader: &Arc<Reader>,
    read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match Handle::try_current() {
        Ok(runtime) => {
            let reader = Arc::clone(reader);
            runtime.spawn_blocking(move || read(&reader)).await.map_err(backend)?
        }
        Err(_) => read(reader),
    }
}
