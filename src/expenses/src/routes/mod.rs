//! The routes of `spec/api.md`.

mod entries;

use axum::{
    Router,
    extract::{FromRequestParts, OriginalUri, Path, State},
    routing::{get, post, put},
};
use bytes::Bytes;
use http::request::Parts;
use http_kit::{Authenticated, Group, JsonBody, MatrixError, RawJson, with_cors};
use ledger::{Invalid, NewEntry};
use ruma::OwnedRoomId;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use self::entries::entries;
use crate::{Api, error::RouteError, group::NewGroup, write::Request};

const BASE: &str = "/_matrix/client/unstable/com.cliquepay/v1";

type Answer = Result<RawJson, RouteError>;

/// All routes of the ledger.
pub fn router() -> Router<Api> {
    let path = |tail: &str| format!("{BASE}{tail}");
    Router::new()
        .route(&path("/groups"), with_cors(get(groups)))
        .route(&path("/groups/{txn_id}"), with_cors(put(create_group)))
        .route(&path("/rooms/{room_id}/ledger"), with_cors(get(ledger)))
        .route(&path("/rooms/{room_id}/ledger/{txn_id}"), with_cors(put(open)))
        // These two are transaction ids as well.
        .route(&path("/rooms/{room_id}/ledger/preview"), with_cors(post(preview).put(open)))
        .route(&path("/rooms/{room_id}/ledger/entries"), with_cors(get(entries).put(open)))
        .route(&path("/rooms/{room_id}/ledger/entries/{id}"), with_cors(get(entry).put(add_entry)))
}

fn answer(value: &Value) -> Answer {
    Ok(RawJson(Bytes::from(value.to_string())))
}

/// A path that names a room. Whatever stands behind it is the transaction id, which counts as part of the path.
#[derive(Debug, Deserialize)]
struct RoomPath {
    room_id: String,
}

/// A path that names an entry.
#[derive(Debug, Deserialize)]
struct EntryPath {
    room_id: String,
    id: String,
}

/// The arguments of a path; what is wrong with them is a Matrix error.
struct At<T>(T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, MatrixError> {
        let found = Path::<T>::from_request_parts(parts, state).await;
        found.map(|Path(path)| Self(path)).map_err(|error| MatrixError::invalid_param("path", error.body_text()))
    }
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
    api.may_write(Group::Rooms, &requester)?;
    let request = Request { requester: &requester, path: uri.path() };
    let (room_id, root) = api.create_group(request, &new).await?;
    answer(&json!({"room_id": room_id, "ledger": root}))
}

async fn open(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    At(path): At<RoomPath>,
    OriginalUri(uri): OriginalUri,
    JsonBody(content): JsonBody<Value>,
) -> Answer {
    api.may_write(Group::Messages, &requester)?;
    let room = api.joined_room(&room_id(&path.room_id)?, &requester).await?;
    let root = api.open(&room, Request { requester: &requester, path: uri.path() }, &content).await?;
    answer(&json!({"room_id": room.id, "ledger": root}))
}

async fn ledger(State(api): State<Api>, Authenticated(requester): Authenticated, At(path): At<RoomPath>) -> Answer {
    let room = api.joined_room(&room_id(&path.room_id)?, &requester).await?;
    let people = api.people(&room).await?;
    let folded = api.ledger(&room).await?;
    answer(&api.ledger_json(&room, folded, &people).await?)
}

#[derive(Debug, Deserialize)]
struct Draft {
    #[serde(rename = "type")]
    kind: String,
    content: Value,
}

impl Draft {
    fn as_new(&self) -> NewEntry<'_> {
        NewEntry { kind: &self.kind, content: &self.content }
    }
}

async fn preview(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    At(path): At<RoomPath>,
    JsonBody(draft): JsonBody<Draft>,
) -> Answer {
    let room = api.joined_room(&room_id(&path.room_id)?, &requester).await?;
    let ready = api.prepare(&room, &requester.user_id, &draft.as_new()).await?;
    answer(&json!({"content": ready.content}))
}

async fn add_entry(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    At(path): At<RoomPath>,
    OriginalUri(uri): OriginalUri,
    JsonBody(draft): JsonBody<Draft>,
) -> Answer {
    api.may_write(Group::Messages, &requester)?;
    let room = api.joined_room(&room_id(&path.room_id)?, &requester).await?;
    let request = Request { requester: &requester, path: uri.path() };
    let event_id = api.add_entry(&room, request, &draft.as_new()).await?;
    let missing = || RouteError::NoEntry("The entry was made, and this is another ledger now".to_owned());
    let entry = api.entry(&room, event_id.as_str()).await?.ok_or_else(missing)?;
    let mut out = json!({"event_id": event_id});
    for (name, found) in [("uid", entry["content"].get("uid")), ("line_event_id", entry.get("line_event_id"))] {
        if let Some(value) = found {
            out[name] = value.clone();
        }
    }
    out["entry"] = entry;
    answer(&out)
}

async fn entry(State(api): State<Api>, Authenticated(requester): Authenticated, At(path): At<EntryPath>) -> Answer {
    let room = api.joined_room(&room_id(&path.room_id)?, &requester).await?;
    match api.entry(&room, &path.id).await? {
        Some(entry) => answer(&entry),
        None => Err(RouteError::NoEntry("There is no such entry in this ledger".to_owned())),
    }
}
