//! `POST /_matrix/client/v3/knock/{roomIdOrAlias}`

use axum::extract::State;
use http_kit::{Group, Ruma};
use ruma::{
    api::client::knock::knock_room::v3::{Request, Response},
    events::room::member::MembershipState,
};

use super::change::{Change, Step, refused};
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    requester.not_suspended()?;
    app.limits.check(Group::Joins, &requester)?;
    let (room_id, via) = app.resolve(&body.room_id_or_alias, body.via).await?;
    let change = Change::new(&requester.user_id, MembershipState::Knock, body.reason.as_deref());
    let Some(room) = app.room_here(&room_id).await? else {
        let knock = app.remote_membership(&room_id, &via, &change).await?;
        app.remote.knock(knock).await?;
        return Ok(Response::new(room_id));
    };
    let step = |membership| match membership {
        MembershipState::Join => Err(refused("You are in this room already")),
        MembershipState::Invite => Err(refused("You are invited to this room: join it")),
        MembershipState::Ban => Err(refused("You are banned from this room")),
        _ => Ok(Step::Send),
    };
    app.change_membership(&room, &requester, change, step).await?;
    Ok(Response::new(room_id))
}
