//! The embedded storage backend: RocksDB behind [`store::Store`].
//!
//! One column family per [`store::Keyspace`], one write-ahead log for all of them, so a commit is atomic across keyspaces
//! and a group of commits costs one `fdatasync`. This is the only crate that links RocksDB and knows its tuning: the
//! reasons for each setting stand in the `tuning` module.
//!
//! # Reads
//! A read first asks memtables and the block cache on the calling thread, which takes microseconds. Only what is not there
//! is read again on tokio's blocking pool, so a slow disk never holds up an async thread. Without a tokio runtime
//! the second read happens on the calling thread.
//!
//! # Failures
//! After any error from [`store::Store::commit_group`] the store refuses every later write with
//! [`store::StoreError::Stopped`]: what an interrupted write or a failed sync left behind is known only after the next
//! open, which replays the log into freshly written and synced files. Reads go on.
//!
//! # Recovery
//! The log may end in a torn group: with syncing on, that group was never acknowledged, and it is dropped. Damage with a later
//! group behind it is never skipped: opening fails with [`OpenError::Damaged`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod crc;
mod error;
mod log_check;
mod options;
mod read;
mod store_impl;
mod tuning;
mod usage;

pub use error::{BackupError, OpenError};
pub use options::RocksDbOptions;
pub use store_impl::RocksDbStore;
pub use usage::Usage;
