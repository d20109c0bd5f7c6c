//! `POST /_matrix/client/v3/user/{userId}/filter`

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::api::client::filter::{
    FilterDefinition, RoomEventFilter,
    create_filter::v3::{Request, Response},
};
use serde_json::value::RawValue;

use crate::{ApiError, App, filter::Relations, own::only_own};

/// Entries of one list of a filter, at most: every event of a sync is held against them.
const MAX_ENTRIES: usize = 1000;
/// A pattern of a type, in bytes, at most: types themselves are no longer.
const MAX_TYPE: usize = 255;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, json_body, .. } = request;
    only_own(&requester, &body.user_id)?;
    check(&body.filter)?;
    let relations = Relations::of_timelines(&String::from_utf8_lossy(&json_body))
        .map_err(|error| MatrixError::bad_json(error.error))?;
    check_len("room.timeline", relations.longest())?;
    // Kept as it was sent: it comes back with whatever it has that is not known here.
    let text: &RawValue =
        serde_json::from_slice(&json_body).map_err(|error| MatrixError::not_json(error.to_string()))?;
    Ok(Response::new(app.users.filters.upload(requester.user, text).await?))
}

fn check(filter: &FilterDefinition) -> Result<(), ApiError> {
    let room = &filter.room;
    let lists = [
        ("room.rooms", room.rooms.as_ref().map_or(0, Vec::len)),
        ("room.not_rooms", room.not_rooms.len()),
        ("event_fields", filter.event_fields.as_ref().map_or(0, Vec::len)),
    ];
    lists.into_iter().try_for_each(|(name, len)| check_len(name, len))?;
    let events = [
        ("room.timeline", &room.timeline),
        ("room.state", &room.state),
        ("room.ephemeral", &room.ephemeral),
        ("room.account_data", &room.account_data),
    ];
    events.into_iter().try_for_each(|(name, events)| check_events(name, events))?;
    for (name, part) in [("presence", &filter.presence), ("account_data", &filter.account_data)] {
        check_types(name, part.types.as_deref(), &part.not_types)?;
        check_len(name, part.senders.as_ref().map_or(0, Vec::len).max(part.not_senders.len()))?;
    }
    Ok(())
}

fn check_events(name: &str, events: &RoomEventFilter) -> Result<(), ApiError> {
    check_types(name, events.types.as_deref(), &events.not_types)?;
    let lists = [
        events.senders.as_ref().map_or(0, Vec::len),
        events.not_senders.len(),
        events.rooms.as_ref().map_or(0, Vec::len),
        events.not_rooms.len(),
    ];
    lists.into_iter().try_for_each(|len| check_len(name, len))
}

fn check_types(name: &str, types: Option<&[String]>, not_types: &[String]) -> Result<(), ApiError> {
    let types = types.unwrap_or_default();
    check_len(name, types.len().max(not_types.len()))?;
    if types.iter().chain(not_types).any(|pattern| pattern.len() > MAX_TYPE) {
        return Err(MatrixError::invalid_param(name, "a type is longer than 255 bytes").into());
    }
    Ok(())
}

fn check_len(name: &str, len: usize) -> Result<(), ApiError> {
    if len > MAX_ENTRIES {
        return Err(MatrixError::invalid_param(name, "a list of more than 1000 entries").into());
    }
    Ok(())
}
