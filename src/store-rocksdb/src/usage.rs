use std::{fs, io, path::Path};

use rocksdb::{Cache, properties, properties::PropName};
use store::{Keyspace, StoreError};

use crate::{error::backend, read::Reader};

/// What the store holds and has yet to do: for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of all memtables, those being written out included.
    pub memtable_bytes: u64,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Of these, bytes that are in use and cannot be dropped.
    pub cache_pinned_bytes: u64,
    /// Bytes that open table files hold outside of the cache.
    pub table_reader_bytes: u64,
    /// Bytes of all table files in use.
    pub table_bytes: u64,
    /// Bytes that compaction has yet to rewrite, roughly.
    pub pending_compaction_bytes: u64,
    /// Whether writes are held back for compaction to catch up.
    pub write_stalled: bool,
    /// Failed flushes and compactions.
    pub background_errors: u64,
}

pub(crate) fn usage(reader: &Reader, cache: &Cache) -> Result<Usage, StoreError> {
    let sum = |property: &PropName| -> Result<u64, StoreError> {
        let mut sum = 0;
        for keyspace in Keyspace::ALL {
            sum += reader.db.property_int_value_cf(reader.family(keyspace)?, property).map_err(backend)?.unwrap_or(0);
        }
        Ok(sum)
    };
    let whole = |property: &PropName| -> Result<u64, StoreError> {
        Ok(reader.db.property_int_value(property).map_err(backend)?.unwrap_or(0))
    };
    Ok(Usage {
        memtable_bytes: sum(properties::SIZE_ALL_MEM_TABLES)?,
        cache_bytes: cache.get_usage() as u64,
        cache_pinned_bytes: cache.get_pinned_usage() as u64,
        table_reader_bytes: sum(properties::ESTIMATE_TABLE_READERS_MEM)?,
        table_bytes: sum(properties::LIVE_SST_FILES_SIZE)?,
        pending_compaction_bytes: sum(properties::ESTIMATE_PENDING_COMPACTION_BYTES)?,
        write_stalled: whole(properties::IS_WRITE_STOPPED)? > 0 || whole(properties::ACTUAL_DELAYED_WRITE_RATE)? > 0,
        background_errors: whole(properties::BACKGROUND_ERRORS)?,
    })
}

pub(crate) fn size_on_disk(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        // RocksDB removes files as it pleases; one that is gone takes no space.
        match entry?.metadata() {
            Ok(data) if data.is_file() => bytes += allocated(&data),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(unix)]
fn allocated(data: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(data) * 512
}

#[cfg(not(unix))]
fn allocated(data: &fs::Metadata) -> u64 {
    data.len()
}
