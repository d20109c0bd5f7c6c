//! `GET /_matrix/client/v3/rooms/{roomId}/joined_members`

use axum::extract::State;
use engine::Membership;
use http_kit::{RawJson, Ruma};
use ruma::api::client::membership::joined_members::v3::Request;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{ApiError, App, access::PATIENCE};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (room, viewer) = app.room_of(&body.room_id, &requester).await?;
    let is_in = viewer.place.is_some_and(|place| place.membership == Membership::Join);
    if !is_in && !app.is_in_by_service(&requester, &room).await? {
        return Err(ApiError::not_in_room());
    }
    app.engine.whole(&room, PATIENCE).await?;
    let members = app.engine.members(room.num).await?;
    let nums: Vec<_> =
        members.iter().filter(|member| member.membership == Membership::Join).map(|member| member.num).collect();
    let mut joined = Map::new();
    for (_, row) in app.engine.events(room.num, &nums).await? {
        let user_id = row.state_key().unwrap_or_default().into_owned();
        joined.insert(user_id, shown(row.content()));
    }
    Ok(RawJson(json!({"joined": joined}).to_string().into()))
}

/// Both fields are always there: clients in use expect `null` for what is not set. What others may have put into their
/// content is not always a text.
fn shown(content: &str) -> Value {
    #[derive(Default, Deserialize)]
    struct Content {
        displayname: Option<Value>,
        avatar_url: Option<Value>,
    }
    let content: Content = serde_json::from_str(content).unwrap_or_default();
    let text = |value: Option<Value>| value.filter(Value::is_string);
    json!({"display_name": text(content.displayname), "avatar_url": text(content.avatar_url)})
}
