//! `DELETE /_matrix/client/v3/directory/room/{roomAlias}`

use std::sync::Arc;

use axum::extract::State;
use engine::{EngineError, NewEvent, Room};
use http_kit::{MatrixError, Requester, Ruma};
use ruma::{
    RoomId,
    api::client::alias::delete_alias::v3::{Request, Response},
    events::TimelineEventType,
};
use serde_json::{Map, Value};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let alias = body.room_alias.as_str();
    let missing = || ApiError::from(MatrixError::not_found(format!("Room alias {alias} not found")));
    let row = app.engine.alias(alias).await?.ok_or_else(missing)?;
    if requester.appservice.is_none() {
        // What a service has for itself only the service removes.
        app.may_have_alias(&requester, &body.room_alias)?;
    }
    let room_id = <&RoomId>::try_from(row.room_id.as_str()).map_err(MatrixError::internal)?;
    let room = app.engine.room(room_id).await?;
    let is_own = row.creator == requester.user_id.as_str() || app.is_own_alias(&requester, &body.room_alias);
    if !is_own && !app.may_publish(&room, &requester).await? {
        return Err(MatrixError::forbidden("Only its maker and the room's moderators can remove an alias").into());
    }
    match app.engine.remove_alias(alias).await {
        Err(EngineError::UnknownRoom) => return Err(missing()),
        other => other?,
    }
    app.unname(&room, &requester, alias).await?;
    Ok(Response::new())
}

impl App {
    /// Takes an alias that is gone out of `m.room.canonical_alias`, where the requester may; the alias is gone either way.
    async fn unname(&self, room: &Arc<Room>, requester: &Requester, alias: &str) -> Result<(), ApiError> {
        let mut writer = self.engine.write(room).await?;
        let Some(pdu) = writer.state("m.room.canonical_alias", "").await? else { return Ok(()) };
        let Ok(mut content) = serde_json::from_str::<Map<String, Value>>(pdu.content.get()) else { return Ok(()) };
        if !without(&mut content, alias) {
            return Ok(());
        }
        let content = Value::Object(content).to_string();
        let event = NewEvent {
            sender: &requester.user_id,
            sender_num: requester.user,
            event_type: TimelineEventType::RoomCanonicalAlias,
            state_key: Some(""),
            content: &content,
            redacts: None,
            origin_server_ts: None,
            device: None,
            txn_id: None,
        };
        match writer.append(event).await {
            Err(EngineError::Forbidden(_)) => return Ok(()),
            other => other?,
        };
        match writer.commit().await {
            Err(EngineError::Policy(_)) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Takes an alias out of the content, and says whether it was in it.
fn without(content: &mut Map<String, Value>, alias: &str) -> bool {
    let mut found = false;
    if content.get("alias").and_then(Value::as_str) == Some(alias) {
        content.remove("alias");
        found = true;
    }
    if let Some(Value::Array(others)) = content.get_mut("alt_aliases") {
        let before = others.len();
        others.retain(|other| other.as_str() != Some(alias));
        found |= others.len() != before;
    }
    found
}
