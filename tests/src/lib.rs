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

/// The folder of this crate, with the scripts. It is as cargo says when it runs a test: a build that is kept may be from where the
/// project was before. Without cargo it is the working directory.
#[must_use]
pub fn folder() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default().into()
}
