//! `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`

use axum::extract::State;
use engine::SpaceRoom;
use http_kit::{MatrixError, RawJson, Requester, Ruma};
use ruma::api::client::space::get_hierarchy::v1::Request;
use serde::Serialize;

use super::walk::Walk;
use crate::{ApiError, App};

/// Rooms of a page, where the client says nothing, and at most.
const PAGE: usize = 50;
const PAGE_MAX: usize = 100;
/// How deep it goes, at most.
const MAX_DEPTH: u32 = 50;

#[derive(Serialize)]
struct Page {
    rooms: Vec<SpaceRoom>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let limit = body.limit.map_or(PAGE, |limit| usize::try_from(limit).unwrap_or(PAGE_MAX)).min(PAGE_MAX);
    if limit == 0 {
        return Err(MatrixError::invalid_param("limit", "must be greater than 0").into());
    }
    let mut walk = app.walk_of(&body, &requester)?;
    let rooms = app.walk_on(&requester, &mut walk, limit).await?;
    if rooms.is_empty() && body.from.is_none() {
        return Err(MatrixError::forbidden("You cannot look into this room, or there is no such room").into());
    }
    let next_batch = (!walk.is_over()).then(|| app.keep_walk(walk));
    let page = serde_json::to_vec(&Page { rooms, next_batch }).map_err(MatrixError::internal)?;
    Ok(RawJson(page.into()))
}

impl App {
    /// The walk that the request goes on with, or a new one.
    fn walk_of(&self, body: &Request, requester: &Requester) -> Result<Walk, ApiError> {
        let depth = body.max_depth.map(|depth| u32::try_from(depth).unwrap_or(MAX_DEPTH).min(MAX_DEPTH));
        let Some(from) = &body.from else {
            let depth = depth.unwrap_or(MAX_DEPTH);
            return Ok(Walk::new(requester.user, &body.room_id, body.suggested_only, depth));
        };
        let walk = self.walks.get(from).filter(|walk| walk.is_of(requester.user, &body.room_id));
        let walk = walk.ok_or_else(|| MatrixError::invalid_param("from", "not a token of this space"))?;
        if walk.suggested_only != body.suggested_only || depth.is_some_and(|depth| depth != walk.max_depth) {
            let why = "suggested_only and max_depth cannot change from page to page";
            return Err(MatrixError::invalid_param("from", why).into());
        }
        Ok(Walk::clone(&walk))
    }
}
