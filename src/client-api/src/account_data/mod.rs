//! What clients keep on the server, and tags.
//! [Client Config](https://spec.matrix.org/v1.19/client-server-api/#client-config),
//! [Room Tagging](https://spec.matrix.org/v1.19/client-server-api/#room-tagging).

mod delete;
mod delete_tag;
mod get_global;
mod get_in_room;
mod get_tags;
mod set_global;
mod set_in_room;
mod set_tag;

use axum::{Router, routing};
use bytes::Bytes;
use http::StatusCode;
use http_kit::{MatrixError, RawJson, RumaRouter, with_cors};
use serde_json::value::RawValue;

use crate::{ApiError, App};

/// Where items are removed.
const REMOVE: &str = "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/account_data/{type}";
const REMOVE_IN_ROOM: &str =
    "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/rooms/{room_id}/account_data/{type}";

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route(REMOVE, with_cors(routing::delete(delete::global)))
        .route(REMOVE_IN_ROOM, with_cors(routing::delete(delete::in_room)))
        .ruma(get_global::handler)
        .ruma(set_global::handler)
        .ruma(get_in_room::handler)
        .ruma(set_in_room::handler)
        .ruma(get_tags::handler)
        .ruma(set_tag::handler)
        .ruma(delete_tag::handler)
}

/// 405 for types that have an endpoint of their own. Either is refused in both places: clients that mix them up would
/// otherwise believe that something was set.
fn refuse_managed(event_type: &str) -> Result<(), ApiError> {
    if !users::account_data::is_server_managed(false, event_type)
        && !users::account_data::is_server_managed(true, event_type)
    {
        return Ok(());
    }
    let error = format!("{event_type} cannot be set through this endpoint");
    Err(MatrixError::new(StatusCode::METHOD_NOT_ALLOWED, "M_BAD_JSON", error).into())
}

fn answer(content: Option<Box<RawValue>>) -> Result<RawJson, ApiError> {
    let content = content.ok_or_else(|| MatrixError::not_found("Account data not found"))?;
    Ok(RawJson(Bytes::from(String::from(Box::<str>::from(content)))))
}
