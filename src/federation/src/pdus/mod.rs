//! Events of other servers on their way into the engine: their keys are fetched, their signatures checked, what they follow and cite is
//! asked for. [PDUs](https://spec.matrix.org/v1.19/server-server-api/#pdus).

mod check;
mod error;

pub use error::PduError;

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct PduState {}
