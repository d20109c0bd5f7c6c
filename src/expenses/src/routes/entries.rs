//! `GET …/ledger/entries`

use axum::extract::{Query, State, rejection::QueryRejection};
use bytes::Bytes;
use engine::EventNum;
use http_kit::{Authenticated, MatrixError, RawJson};
use serde::Deserialize;
use serde_json::json;
use store::Page;

use super::{At, RoomPath, room_id};
use crate::{Api, error::RouteError, index::ENTRIES, show::Judged};

/// Entries of a page where the client names no limit, and at most.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    limit: Option<String>,
    from: Option<String>,
    dir: Option<String>,
}

impl Paging {
    fn backward(&self) -> Result<bool, MatrixError> {
        match self.dir.as_deref() {
            None | Some("b") => Ok(true),
            Some("f") => Ok(false),
            Some(_) => Err(MatrixError::invalid_param("dir", "is neither b nor f")),
        }
    }

    fn from(&self) -> Result<Option<EventNum>, MatrixError> {
        let Some(text) = &self.from else { return Ok(None) };
        let number = text.strip_prefix('e').and_then(|digits| digits.parse().ok());
        number.map(Some).ok_or_else(|| MatrixError::invalid_param("from", "is not a token of this server"))
    }

    fn limit(&self) -> Result<usize, MatrixError> {
        let Some(text) = &self.limit else { return Ok(LIMIT) };
        let number: usize = text.parse().map_err(|_| MatrixError::invalid_param("limit", "is not a number"))?;
        Ok(number.clamp(1, LIMIT_MAX))
    }
}

pub(super) async fn entries(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    At(path): At<RoomPath>,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<RawJson, MatrixError> {
    let room = api.joined_room(&room_id(&path.room_id)?, &requester).await?;
    let Query(paging) = paging.map_err(|error| MatrixError::invalid_param("query", error.body_text()))?;
    let (backward, from, limit) = (paging.backward()?, paging.from()?, paging.limit()?);
    let range = match (backward, from) {
        (true, from) => (0, from.unwrap_or(EventNum::MAX)),
        (false, from) => (from.unwrap_or(0), EventNum::MAX),
    };
    let page = Page { limit: limit + 1, reverse: backward };
    let rows = api.engine.db.scan(&ENTRIES, &(room.num, range.0), &(room.num, range.1), page).await;
    let nums: Vec<EventNum> = rows.map_err(RouteError::from)?.iter().map(|((_, num), ())| *num).collect();
    let shown = nums.get(..limit.min(nums.len())).unwrap_or_default();
    let events = api.engine.events(room.num, shown).await.map_err(RouteError::from)?;
    let judged: Vec<Judged> = {
        // Entries of another ledger in the room are no part of this one.
        let folded = api.ledger(&room).await?;
        events.iter().filter_map(|(_, row)| Judged::of(&folded.ledger, row.event_id())).collect()
    };
    let mut out = Vec::with_capacity(judged.len());
    for judged in judged {
        out.extend(api.entry_json(&room, judged).await?);
    }
    let mut body = json!({"entries": out});
    // A page goes on with the first one that it left out (forwards, inclusive) or behind its last (backwards, exclusive).
    if nums.len() > limit {
        let next = if backward { shown.last() } else { nums.get(limit) };
        body["next_batch"] = json!(next.map(|num| format!("e{num}")));
    }
    Ok(RawJson(Bytes::from(body.to_string())))
}
