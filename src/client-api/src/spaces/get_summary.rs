//! `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`

use axum::extract::State;
use engine::{EngineError, Membership, RoomSummary};
use http_kit::{MatrixError, RawJson, Requester, Ruma};
use ruma::{
    OwnedRoomId, OwnedServerName, RoomAliasId, RoomId, RoomOrAliasId, api::client::room::get_summary::v1::Request,
};
use serde::Serialize;
use store::IdKind;

use crate::{ApiError, App};

/// Servers asked, at most.
const MAX_VIA: usize = 5;

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    summary: RoomSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
}

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (room_id, mut via) = app.find_room(&body.room_id_or_alias, requester.is_some()).await?;
    via.extend(body.via);
    via.truncate(MAX_VIA);
    let summary = app.summary_for(requester.as_ref(), &room_id, &via).await?.ok_or_else(not_found)?;
    let membership = match &requester {
        None => None,
        Some(requester) => Some(app.membership_in(requester, &room_id).await?.as_str()),
    };
    let answer = serde_json::to_vec(&Answer { summary, membership }).map_err(MatrixError::internal)?;
    Ok(RawJson(answer.into()))
}

fn not_found() -> ApiError {
    MatrixError::not_found("There is no such room, or you may not look into it").into()
}

impl App {
    /// The room that is meant, and servers to ask about it. Other servers are asked for those who have an account here alone.
    async fn find_room(
        &self,
        room: &RoomOrAliasId,
        known: bool,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), ApiError> {
        if let Ok(room_id) = <&RoomId>::try_from(room) {
            return Ok((room_id.to_owned(), room_id.server_name().map(ToOwned::to_owned).into_iter().collect()));
        }
        let alias = <&RoomAliasId>::try_from(room).map_err(|_| not_found())?;
        if !known && alias.server_name() != self.engine.identity.server_name {
            return Err(not_found());
        }
        self.resolve_alias(alias).await
    }

    /// The summary of a room that the user, or anybody, may look into.
    async fn summary_for(
        &self,
        requester: Option<&Requester>,
        room_id: &RoomId,
        via: &[OwnedServerName],
    ) -> Result<Option<RoomSummary>, ApiError> {
        let local = match self.engine.room(room_id).await {
            Err(EngineError::UnknownRoom) => None,
            other => Some(other?),
        };
        if let Some(requester) = requester
            && local.as_ref().is_none_or(|room| !self.engine.is_current(room))
            && let Ok(view) = self.remotes.hierarchy(&self.others(via), room_id, false).await
        {
            let summary = view.room.summary;
            return Ok(self.may_look_into(requester, &summary).await?.then_some(summary));
        }
        let Some(room) = local else { return Ok(None) };
        let summary = self.engine.summary(&room).await?;
        let allowed = match requester {
            None => summary.open_to_all(),
            Some(requester) => self.engine.may_preview(&room, requester.user).await?,
        };
        Ok(allowed.then_some(summary))
    }

    async fn membership_in(&self, requester: &Requester, room_id: &RoomId) -> Result<Membership, ApiError> {
        let Some(num) = self.engine.ids.find(IdKind::Room, room_id.as_str()).await? else {
            return Ok(Membership::Leave);
        };
        let place = self.engine.user_rooms().get(requester.user, num).await?;
        Ok(place.map_or(Membership::Leave, |place| place.membership))
    }
}
