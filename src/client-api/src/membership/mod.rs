//! Who is in a room. [Room membership](https://spec.matrix.org/v1.19/client-server-api/#room-membership).

mod authorise_join;
mod ban_user;
mod change;
mod forget_room;
mod get_members;
mod invite_user;
mod join_room;
mod joined_members;
mod joined_rooms;
mod kick_user;
mod knock_room;
mod leave_room;
mod mutual_rooms;
mod remote;
mod unban_user;

use axum::Router;
use http_kit::RumaRouter;

pub use self::remote::{NoRemoteRooms, RemoteFuture, RemoteInvitation, RemoteJoined, RemoteMembership, RemoteRooms};
use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .ruma(join_room::by_id)
        .ruma(join_room::by_id_or_alias)
        .ruma(invite_user::handler)
        .ruma(leave_room::handler)
        .ruma(kick_user::handler)
        .ruma(ban_user::handler)
        .ruma(unban_user::handler)
        .ruma(forget_room::handler)
        .ruma(knock_room::handler)
        .ruma(get_members::handler)
        .ruma(joined_members::handler)
        .ruma(joined_rooms::handler)
        .ruma(mutual_rooms::handler)
        .ruma(mutual_rooms::before)
}
