//! Application services: what is sent to them and asked of them, and what they may ask for that no client can.
//! [Application Service API](https://spec.matrix.org/v1.19/application-service-api/).
//!
//! Their registrations, and whom they act as, are in `auth::appservices`.
//!
//! | module | what it does |
//! | --- | --- |
//! | `delivery` | transactions: events, and what is ephemeral, once each and in their order |
//! | `interest` | what a service is told of |
//! | `link` | one request to one service |
//! | `queries` | whether a user or an alias that nobody knows is to be made; third-party networks |
//! | `published` | their own directories of rooms |
//! | `routes` | the endpoints |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod delivery;
mod interest;
mod link;
mod published;
mod queries;
mod routes;
mod services;
mod tables;
#[cfg(test)]
mod tests;

pub use delivery::DeliveryError;
pub use link::CallError;
pub use queries::Known;
pub use routes::router;
pub use services::{Api, Services, ServicesParts};
