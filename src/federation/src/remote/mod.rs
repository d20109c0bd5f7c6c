//! What local users want of rooms, profiles and directories that live on other servers.

mod by_time;
mod ledger;
mod queries;

pub use self::ledger::FetchedLedger;
