//! Developer tasks, and the rules of the house that tests hold the workspace to.
//!
//! - [`workspace`]: the workspace as `cargo metadata` and `Cargo.lock` tell it.
//! - [`arrows`]: which crate may depend on which; the table stands in the root manifest.
//! - [`house`]: what lies at the top level.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod arrows;
pub mod house;
pub mod workspace;
