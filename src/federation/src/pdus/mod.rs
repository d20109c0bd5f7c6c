//! Events of other servers on their way into the engine: their keys are fetched, their signatures checked, what they follow and cite is
//! asked for. [PDUs](https://spec.matrix.org/v1.19/server-server-api/#pdus).
//!
//! | module | what it does |
//! | --- | --- |
//! | [`check`] | size, form, signatures, hash |
//! | [`receive`] | one event into the engine, with what it needs |
//! | [`gap`] | what one gap in a room's history may cost, and the requests that fill it |
//! | [`fill`] | the events of a gap in their order |
//! | [`state_at`] | the state where a gap cannot be closed |
//! | [`backfill`] | older history for those who read back |
//! | [`order`] | events in the order in which they follow each other |

mod backfill;
pub(crate) mod check;
mod error;
mod fill;
mod gap;
mod order;
mod receive;
mod state_at;
#[cfg(test)]
mod tests;

pub use error::PduError;
pub(crate) use gap::{Gap, missing};
pub(crate) use receive::PduState;
