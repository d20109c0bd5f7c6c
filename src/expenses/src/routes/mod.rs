//! The routes of `spec/api.md`.

use axum::{
    Router,
    extract::{OriginalUri, Path, Query, State},
    routing::{get, post, put},
};
use bytes::Bytes;
use engine::EventNum;
use http_kit::{Authenticated, JsonBody, MatrixError, RawJson, with_cors};
use ledger::{Invalid, NewEntry};
use ruma::OwnedRoomId;
use serde::Deserialize;
use serde_json::{Value, json};
use store::Page;

use crate::{
    Api,
    error::RouteError,
    group::NewGroup,
    index::ENTRIES,
    write::Request,
};

const BASE: &str = "/_matrix/client/unstable/com.cliquepay/v1";

/// Entries of a page where the client names no limit, and at most.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 200;

type Answer = Result<RawJson, RouteError>;

/// All routes of the ledger.
pub fn router() -> Router<Api> {
    let path = |tail: &str| format!("{BASE}{tail}");
    Router::new()
        .route(&path("/groups"), with_cors(get(groups)))
        .route(&path("/groups/{txn_id}"), with_cors(put(create_group)))
        .route(&path("/rooms/{room_id}/ledger"), with_cors(get(ledger)))
        .route(&path("/rooms/{room_id}/ledger/{txn_id}"), with_cors(put(open)))
        .route(&path("/rooms/{room_id}/ledger/preview"), with_cors(post(preview)))
        .route(&path("/rooms/{room_id}/ledger/entries"), with_cors(get(entries)))
        .route(&path("/rooms/{room_id}/ledger/entries/{id}"), with_cors(get(entry).put(add_entry)))
}

fn answer(value: &Value) -> Answer {
    Ok(RawJson(Bytes::from(value.to_string())))
}

fn room_id(text: &str) -> Result<OwnedRoomId, RouteError> {
    OwnedRoomId::try_from(text).map_err(|_| Invalid::new("roomId", "is not a room id").into())
}

async fn groups(State(api): State<Api>, Authenticated(requester): Authenticated) -> Answer {
    answer(&api.groups(requester.user, &requester.user_id).await?)
}

async fn create_group(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    OriginalUri(uri): OriginalUri,
    JsonBody(new): JsonBody<NewGroup>,
) -> Answer {
    let request = Request { requester: &requester, path: uri.path() };
    let (room_id, root) = api.create_group(request, &new).await?;
    answer(&json!({"room_id": room_id, "ledger": root}))
}

async fn open(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    Path((room, _)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    JsonBody(content): JsonBody<Value>,
) -> Answer {
    let room = api.joined_room(&room_id(&room)?, &requester).await?;
    let root = api.open(&room, Request { requester: &requester, path: uri.path() }, &content).await?;
    answer(&json!({"room_id": room.id, "ledger": root}))
}

async fn ledger(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    Path(room): Path<String>,
) -> Answer {
    let room = api.joined_room(&room_id(&room)?, &requester).await?;
    let people = api.people(&room).await?;
    let folded = api.ledger(&room).await?;
    answer(&api.ledger_json(&room, &folded.ledger, &people).await?)
}

#[derive(Debug, Deserialize)]
struct Draft {
    #[serde(rename = "type")]
    kind: String,
    content: Value,
}

async fn preview(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    Path(room): Path<String>,
    JsonBody(draft): JsonBody<Draft>,
) -> Answer {
    let room = api.joined_room(&room_id(&room)?, &requester).await?;
    let people = api.people(&room).await?;
    let folded = api.ledger(&room).await?;
    let new = NewEntry { kind: &draft.kind, content: &draft.content };
    let composed = api.compose(&room, &requester, &folded.ledger, &people, &new).await?;
    answer(&json!({"content": composed.content}))
}

async fn add_entry(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    Path((room, _)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    JsonBody(draft): JsonBody<Draft>,
) -> Answer {
    let room = api.joined_room(&room_id(&room)?, &requester).await?;
    let request = Request { requester: &requester, path: uri.path() };
    let event_id = api.add_entry(&room, request, &draft.kind, &draft.content).await?;
    let folded = api.ledger(&room).await?;
    let missing = || RouteError::NoEntry("The entry was made and is no longer there".to_owned());
    let entry = api.entry_json(&room, &folded.ledger, event_id.as_str()).await?.ok_or_else(missing)?;
    let mut out = json!({"event_id": event_id, "uid": entry["content"]["uid"]});
    if let Some(line) = entry.get("line_event_id") {
        out["line_event_id"] = line.clone();
    }
    out["entry"] = entry;
    answer(&out)
}

async fn entry(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    Path((room, event_id)): Path<(String, String)>,
) -> Answer {
    let room = api.joined_room(&room_id(&room)?, &requester).await?;
    let folded = api.ledger(&room).await?;
    match api.entry_json(&room, &folded.ledger, &event_id).await? {
        Some(entry) => answer(&entry),
        None => Err(RouteError::NoEntry("There is no such entry in this ledger".to_owned())),
    }
}

#[derive(Debug, Deserialize)]
struct Paging {
    limit: Option<usize>,
    from: Option<String>,
    dir: Option<String>,
}

async fn entries(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    Path(room): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<RawJson, MatrixError> {
    let room = api.joined_room(&room_id(&room)?, &requester).await?;
    let folded = api.ledger(&room).await?;
    let backward = match paging.dir.as_deref() {
        None | Some("b") => true,
        Some("f") => false,
        Some(_) => return Err(MatrixError::invalid_param("dir", "is neither b nor f")),
    };
    let from = match paging.from.as_deref() {
        None => None,
        Some(text) => {
            let number = text.strip_prefix('e').and_then(|digits| digits.parse::<EventNum>().ok());
            Some(number.ok_or_else(|| MatrixError::invalid_param("from", "not a token of this server"))?)
        }
    };
    let limit = paging.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let range = match (backward, from) {
        (true, from) => (0, from.unwrap_or(EventNum::MAX)),
        (false, from) => (from.unwrap_or(0), EventNum::MAX),
    };
    let page = Page { limit: limit + 1, reverse: backward };
    let rows = api
        .engine
        .db
        .scan(&ENTRIES, &(room.num, range.0), &(room.num, range.1), page)
        .await
        .map_err(RouteError::from)?;
    let nums: Vec<EventNum> = rows.iter().map(|((_, num), ())| *num).collect();
    let mut out = Vec::new();
    let shown = nums.get(..limit.min(nums.len())).unwrap_or_default();
    for (_, row) in api.engine.events(room.num, shown).await.map_err(RouteError::from)? {
        out.extend(api.entry_json(&room, &folded.ledger, row.event_id()).await?);
    }
    let mut body = json!({"entries": out});
    // A page goes on with the first one that it left out (forwards, inclusive) or behind its last (backwards, exclusive).
    if nums.len() > limit {
        let next = if backward { shown.last() } else { nums.get(limit) };
        body["next_batch"] = json!(next.map(|num| format!("e{num}")));
    }
    Ok(RawJson(Bytes::from(body.to_string())))
}
