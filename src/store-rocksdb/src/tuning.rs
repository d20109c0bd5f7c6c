//! RocksDB's settings, with what each is for.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    DataBlockIndexType, InfoLogger, LogLevel, Options, ReadOptions, ReadTier, WriteOptions, statistics::StatsLevel,
};
use store::Keyspace;

use crate::options::{MIN_WRITE_BUFFER, RocksDbOptions};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Settings of the database as a whole.
pub(crate) fn database(options: &RocksDbOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);

    durability(&mut db, options);
    threads(&mut db, options);

    db.set_max_open_files(options.max_open_files.into());
    // An iterator or a version that is dropped on an async thread leaves the unlinking of files to the background.
    db.set_avoid_unnecessary_blocking_io(true);
    db.set_bytes_per_sync(MIB as u64);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, log));
    if options.statistics {
        db.enable_statistics();
        db.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    }
    db
}

fn durability(db: &mut Options, options: &RocksDbOptions) {
    // A torn end of the last log is a write that was never acknowledged; damage before whole records is refused. This rules
    // out recycled log files (`recycle_log_file_num`): in those the end of the new part looks just like damage.
    db.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // Closed logs are listed with their sizes, so that a missing or shortened one is noticed at the next open.
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_paranoid_checks(true);
    db.set_manual_wal_flush(false);
    db.set_unordered_write(false);
    // fdatasync, not fsync: neither owner nor times of the log matter.
    db.set_use_fsync(false);
    db.set_max_total_wal_size(2 * options.write_buffer_bytes.max(MIN_WRITE_BUFFER) as u64);
    // With a sync per group there is never much to write out; without, let the kernel start early.
    db.set_wal_bytes_per_sync(if options.sync { 0 } else { 512 * KIB as u64 });
}

fn threads(db: &mut Options, options: &RocksDbOptions) {
    db.set_max_background_jobs(i32::from(options.background_jobs.max(1)));
    db.set_max_file_opening_threads(2);
    // There is one writer, the committer: a lock-free memtable, spinning or a write pipeline gain nothing.
    db.set_allow_concurrent_memtable_write(false);
    db.set_enable_write_thread_adaptive_yield(false);
    db.set_enable_pipelined_write(false);
}

fn log(level: LogLevel, text: &str) {
    let text = text.trim_end();
    match level {
        LogLevel::Error | LogLevel::Fatal => tracing::error!(target: "rocksdb", "{text}"),
        LogLevel::Warn => tracing::warn!(target: "rocksdb", "{text}"),
        _ => tracing::debug!(target: "rocksdb", "{text}"),
    }
}

/// The cache that all column families share.
pub(crate) fn cache(options: &RocksDbOptions) -> Cache {
    Cache::new_hyper_clock_cache(options.cache_bytes, 0)
}

/// The column families, with `default`, which RocksDB insists on and nothing is written to.
pub(crate) fn families(options: &RocksDbOptions, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let default = std::iter::once(ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, Options::default()));
    let keyspaces =
        Keyspace::ALL.map(|keyspace| ColumnFamilyDescriptor::new(keyspace.name(), family(keyspace, options, cache)));
    default.chain(keyspaces).collect()
}

fn family(keyspace: Keyspace, options: &RocksDbOptions, cache: &Cache) -> Options {
    let buffer = options.write_buffer_bytes.max(MIN_WRITE_BUFFER) / Keyspace::ALL.len();
    let mut family = Options::default();
    family.set_block_based_table_factory(&tables(keyspace, cache));
    family.set_write_buffer_size(buffer);
    // One is filled while another is written out; a third waits only when the disk lags.
    family.set_max_write_buffer_number(3);
    family.set_arena_block_size((buffer / 8).min(256 * KIB));

    family.set_level_compaction_dynamic_level_bytes(true);
    family.set_level_zero_file_num_compaction_trigger(4);
    family.set_max_bytes_for_level_base((4 * buffer).max(16 * MIB) as u64);
    family.set_target_file_size_base((2 * buffer).max(8 * MIB) as u64);
    // A freshly flushed file is merged away soon: compressing it would be work done twice. From the first merge on LZ4 pays
    // for itself, as there is less to write and to read at the next one.
    let mut levels = [DBCompressionType::Lz4; 7];
    levels[0] = DBCompressionType::None;
    family.set_compression_per_level(&levels);
    // No prefix extractor: keys of a keyspace have many shapes, every scan is bounded on both sides, and the total order
    // is then right without a thought.
    family
}

fn tables(keyspace: Keyspace, cache: &Cache) -> BlockBasedOptions {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(cache);
    tables.set_index_type(BlockBasedIndexType::BinarySearch);
    // Index and filter blocks count towards the budget; those of young files stay.
    tables.set_cache_index_and_filter_blocks(true);
    tables.set_cache_index_and_filter_blocks_with_high_priority(true);
    tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
    match keyspace {
        // Point reads of rows around 700 bytes.
        Keyspace::Events => {
            tables.set_block_size(8 * KIB);
            filter(&mut tables);
        }
        // Read in ranges, which filters do not help.
        Keyspace::Orders => tables.set_block_size(4 * KIB),
        // Point reads of small rows: a hash in each block finds them without a binary search.
        Keyspace::State | Keyspace::Index => {
            tables.set_block_size(4 * KIB);
            tables.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
            filter(&mut tables);
        }
    }
    tables
}

fn filter(tables: &mut BlockBasedOptions) {
    tables.set_bloom_filter(10.0, false);
    tables.set_whole_key_filtering(true);
    tables.set_optimize_filters_for_memory(true);
}

/// Reads that never touch the disk: they end with `Incomplete` where they would have to.
pub(crate) fn cached_reads() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_read_tier(ReadTier::BlockCache);
    options
}

/// Writes of the committer.
pub(crate) fn writes(options: &RocksDbOptions) -> WriteOptions {
    let mut writes = WriteOptions::default();
    writes.set_sync(options.sync);
    writes
}
