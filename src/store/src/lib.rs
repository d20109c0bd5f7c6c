//! What every durable part of CliquePay stands on: the storage trait, typed tables with order-preserving keys, the
//! committer with its sequencer and visibility frontier, the notifier, and the in-memory backend.
//!
//! A backend implements [`Store`] and passes [`conformance`]. Everything else talks to a [`Db`], which adds typed
//! tables, group commit and stream positions.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod clock;
mod committer;
pub mod conformance;
mod db;
mod error;
mod intern;
mod key;
mod memory;
mod notifier;
mod schema;
mod stats;
mod table;
mod traits;

pub use clock::{Clock, ManualClock, SystemClock};
pub use committer::{Committed, CommitterOptions, Stepper, Ticket};
pub use db::{Db, DbWrite, Page};
pub use error::{CommitError, StoreError};
pub use intern::{IdKind, Ids, InternError};
pub use key::{Key, KeyError, KeyReader, KeyWriter};
pub use memory::MemoryStore;
pub use notifier::{Notifier, Waiter, WakeKeys};
pub use schema::{Migration, MigrationFn, SCHEMA_VERSION, open_schema};
pub use stats::{StatsSnapshot, StoreStats};
pub use table::{Json, Table, Value};
pub use traits::{Commit, Keyspace, Op, Outcome, Pos, Precondition, Row, Scan, Store, check_preconditions};
