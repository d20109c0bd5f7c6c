//! `POST /_matrix/client/v3/rooms/{roomId}/join` and `POST /_matrix/client/v3/join/{roomIdOrAlias}`

use std::sync::Arc;

use axum::extract::State;
use engine::Room;
use http::StatusCode;
use http_kit::{MatrixError, Requester, Ruma};
use ruma::{
    api::client::membership::{ThirdPartySigned, join_room_by_id, join_room_by_id_or_alias},
    events::room::member::MembershipState,
};

use super::change::{Change, Step};
use crate::{ApiError, App};

pub(super) async fn by_id(
    State(app): State<App>,
    request: Ruma<join_room_by_id::v3::Request>,
) -> Result<join_room_by_id::v3::Response, ApiError> {
    let Ruma { body, requester, json_body, .. } = request;
    refuse_third_party(body.third_party_signed.as_ref())?;
    let room = app.room(&body.room_id).await?;
    let change = Change::new(&requester.user_id, MembershipState::Join, body.reason.as_deref());
    app.join(&room, &requester, change.with_fields_of(&json_body)).await?;
    Ok(join_room_by_id::v3::Response::new(room.id.clone()))
}

pub(super) async fn by_id_or_alias(
    State(app): State<App>,
    request: Ruma<join_room_by_id_or_alias::v3::Request>,
) -> Result<join_room_by_id_or_alias::v3::Response, ApiError> {
    let Ruma { body, requester, json_body, .. } = request;
    refuse_third_party(body.third_party_signed.as_ref())?;
    let room = app.room_by_id_or_alias(&body.room_id_or_alias).await?;
    let change = Change::new(&requester.user_id, MembershipState::Join, body.reason.as_deref());
    app.join(&room, &requester, change.with_fields_of(&json_body)).await?;
    Ok(join_room_by_id_or_alias::v3::Response::new(room.id.clone()))
}

fn refuse_third_party(signed: Option<&ThirdPartySigned>) -> Result<(), ApiError> {
    if signed.is_none() {
        return Ok(());
    }
    let why = "This server takes no invitations by e-mail address or phone number";
    Err(MatrixError::new(StatusCode::FORBIDDEN, "M_THREEPID_DENIED", why).into())
}

impl App {
    async fn join(&self, room: &Arc<Room>, requester: &Requester, mut change: Change<'_>) -> Result<(), ApiError> {
        let place = self.engine.user_rooms().get(requester.user, room.num).await?;
        change.authorised_by = self.authorise_join(room, requester, place.map(|place| place.membership)).await?;
        let step = |membership| Ok(if membership == MembershipState::Join { Step::Already } else { Step::Send });
        self.change_membership(room, requester, change, step).await?;
        self.carry_over(room, requester).await;
        Ok(())
    }
}
