//! `GET /_matrix/client/v3/rooms/{roomId}/joined_members`

use axum::extract::State;
use engine::Membership;
use http_kit::Ruma;
use ruma::{
    UserId,
    api::client::membership::joined_members::v3::{Request, Response, RoomMember},
};
use serde::Deserialize;

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (room, viewer) = app.room_of(&body.room_id, &requester).await?;
    if viewer.place.is_none_or(|place| place.membership != Membership::Join) {
        return Err(ApiError::not_in_room());
    }
    let members = app.engine.members(room.num).await?;
    let nums: Vec<_> =
        members.iter().filter(|member| member.membership == Membership::Join).map(|member| member.num).collect();
    let mut joined = std::collections::BTreeMap::new();
    for (_, row) in app.engine.events(room.num, &nums).await? {
        let Some(user_id) = row.state_key().and_then(|id| UserId::parse(id.as_ref()).ok()) else { continue };
        joined.insert(user_id, shown(row.content()));
    }
    Ok(Response::new(joined))
}

/// What others may have put into their content is not always a text.
fn shown(content: &str) -> RoomMember {
    #[derive(Deserialize)]
    struct Content {
        displayname: Option<serde_json::Value>,
        avatar_url: Option<serde_json::Value>,
    }
    let mut member = RoomMember::new();
    if let Ok(content) = serde_json::from_str::<Content>(content) {
        let text = |value: Option<serde_json::Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        member.display_name = text(content.displayname);
        member.avatar_url = text(content.avatar_url).map(Into::into);
    }
    member
}
