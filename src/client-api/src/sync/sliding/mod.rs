//! `POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`, which is `/v4/sync` as well: simplified sliding sync.
//! [MSC4186](https://github.com/matrix-org/matrix-spec-proposals/pull/4186).
//!
//! A client asks for windows of sorted lists of rooms, and for some rooms by id. What a connection was told of each room is kept in
//! memory: a client whose connection is not known any more is told so (`M_UNKNOWN_POS`), and begins anew.

mod bump;
mod connections;
mod encryption;
mod extensions;
mod handler;
mod lists;
mod request;
mod required;
mod room;

use axum::{Router, routing::post};
use http_kit::with_cors;

pub(super) use self::{bump::Bumps, connections::Connections};
use crate::App;

const PATHS: [&str; 2] = ["/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", "/_matrix/client/v4/sync"];

pub(super) fn router() -> Router<App> {
    PATHS.iter().fold(Router::new(), |router, path| router.route(path, with_cors(post(handler::handler))))
}
