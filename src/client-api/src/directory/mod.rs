//! Room aliases and the directory of published rooms.
//! [Room aliases](https://spec.matrix.org/v1.19/client-server-api/#room-aliases),
//! [Published room directory](https://spec.matrix.org/v1.19/client-server-api/#published-room-directory).

mod create_alias;
mod delete_alias;
mod get_alias;
mod get_aliases;
mod get_visibility;
mod permission;
mod public_rooms;
mod public_rooms_filtered;
mod published;
mod set_visibility;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .ruma(create_alias::handler)
        .ruma(get_alias::handler)
        .ruma(delete_alias::handler)
        .ruma(get_aliases::handler)
        .ruma(get_visibility::handler)
        .ruma(set_visibility::handler)
        .ruma(public_rooms::handler)
        .ruma(public_rooms_filtered::handler)
}
