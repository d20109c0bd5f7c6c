//! The API over the in-memory store.

mod entries;
mod groups;
mod raw;
mod reading;
mod refusals;
mod server;
mod settling;
mod slow;
