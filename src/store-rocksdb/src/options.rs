use std::path::PathBuf;

/// Smallest budget for memtables that makes sense: four of 1 MiB.
pub(crate) const MIN_WRITE_BUFFER: usize = 4 << 20;

/// How to open the embedded store.
#[derive(Debug, Clone)]
pub struct RocksDbOptions {
    /// The folder that holds the data; made, with its parents, where it is missing. Nothing else may live in it.
    pub path: PathBuf,
    /// Whether a group of commits is on stable storage before it is acknowledged. Without it a crash of the machine
    /// (not of the process) may lose the last acknowledged writes; what is kept is still a prefix of them.
    pub sync: bool,
    /// Bytes of the block cache: data, index and filter blocks of all keyspaces share it.
    pub cache_bytes: usize,
    /// Bytes of the memtables of all keyspaces together. They are taken as writes come, not at the start. The log on disk is
    /// bounded to twice this, and with it the time that opening after a crash takes.
    pub write_buffer_bytes: usize,
    /// Table files held open at a time.
    pub max_open_files: u16,
    /// Threads for flushes and compactions together.
    pub background_jobs: u8,
    /// Count what RocksDB does inside, such as [`crate::RocksDbStore::log_syncs`]: for benchmarks and tests, at a small cost
    /// on every operation.
    pub statistics: bool,
}

impl RocksDbOptions {
    /// The defaults for a small server: synced, 32 MiB of cache, 32 MiB of memtables.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            sync: true,
            cache_bytes: 32 << 20,
            write_buffer_bytes: 32 << 20,
            max_open_files: 512,
            background_jobs: 2,
            statistics: false,
        }
    }
}
