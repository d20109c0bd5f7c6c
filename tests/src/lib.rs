//! Whole servers as processes, real clients, real browsers.
//!
//! What is here drives any Matrix homeserver over HTTP on loopback; only [`server`] knows the `cliquepay` binary.
//!
//! - [`http`]: one kept-alive connection, and the refusal of every address that is not loopback.
//! - [`client`]: a small Matrix client for the integration tests.
//! - [`model`]: a Matrix client's memory, fed by `/sync` and `/messages`.
//! - [`server`]: starts, kills and restarts the real binary; asks the file system and the kernel for trouble.
//! - [`strace`]: reads system-call traces.
//! - [`load`]: the load generator behind the `loadtest` binary.

pub mod client;
pub mod http;
pub mod load;
pub mod model;
pub mod server;
pub mod strace;
