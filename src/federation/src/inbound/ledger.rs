//! `GET /_matrix/federation/unstable/com.cliquepay/v1/ledger/{roomId}`: the ledger of a room in bulk, for servers that came late.

use axum::extract::State;
use bytes::Bytes;
use engine::{EngineError, EventNum, EventRow, Room, Verdict};
use http::StatusCode;
use http_kit::{MatrixError, RawJson, route_error};
use ruma::{
    OwnedEventId, OwnedRoomId, RoomId, ServerName,
    api::{
        IncomingRequest,
        error::DeserializationError,
        federation::{authentication::ServerSignatures, backfill::get_backfill::v1 as backfill},
    },
    metadata,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::reads::MAX_ANSWER;
use crate::{Api, inbound::Signed};

metadata! {
    method: GET,
    rate_limited: false,
    authentication: ServerSignatures,
    path: "/_matrix/federation/unstable/com.cliquepay/v1/ledger/{room_id}",
}

/// A page of a room's ledger.
#[derive(Debug)]
pub(super) struct Request {
    room_id: OwnedRoomId,
    /// `next` of the page before.
    from: Option<EventNum>,
}

/// Entries, in the order in which the server got them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    /// The entries that are part of the room, as PDUs; those that were redacted without their content.
    pub(crate) pdus: Vec<Box<RawValue>>,
    /// The redactions of these, as PDUs.
    #[serde(default)]
    pub(crate) redactions: Vec<Box<RawValue>>,
    /// The events that allow them, as PDUs.
    pub(crate) auth_chain: Vec<Box<RawValue>>,
    /// Where the next page begins; none on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<EventNum>,
}

impl IncomingRequest for Request {
    type EndpointError = <backfill::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = backfill::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let room_id = OwnedRoomId::try_from(path_args.first().copied().unwrap_or_default())?;
        let from = request.uri().query().and_then(|query| query.strip_prefix("from="));
        Ok(Self { room_id, from: from.and_then(|from| from.parse().ok()) })
    }
}

/// The path and query of a page of a room's ledger.
pub(crate) fn target(room_id: &RoomId, from: Option<EventNum>) -> String {
    let from = from.map(|from| format!("?from={from}")).unwrap_or_default();
    let room_id = room_id.as_str().replace('%', "%25").replace('?', "%3F").replace('#', "%23").replace('/', "%2F");
    format!("/_matrix/federation/unstable/com.cliquepay/v1/ledger/{room_id}{from}")
}

/// Entries on a page, at most.
const ENTRIES: usize = 200;
/// Bytes of entries on a page, about.
const PAGE_BYTES: usize = 4 << 20;

/// Why a ledger is not given.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("This server does not know the room, or yours takes no part in it")]
    NotInRoom,
    #[error("The room's access control list does not let your server in")]
    Denied,
    #[error("The page would be larger than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NotInRoom | RouteError::Denied | RouteError::Engine(EngineError::UnknownRoom) => {
                Self::forbidden(error.to_string())
            }
            RouteError::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", error.to_string()),
            RouteError::Json(error) => Self::internal(error),
            RouteError::Engine(error) => Self::internal(error),
        }
    }
}
route_error!(RouteError);

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let Signed { body, origin, .. } = request;
    let room = api.engine.room(&body.room_id).await?;
    if !api.engine.acl_allows(&room, &origin).await? {
        return Err(RouteError::Denied);
    }
    if !api.engine.takes_part(&room, &origin).await? {
        return Err(RouteError::NotInRoom);
    }
    let _place = api.large_answer().await;
    let page = api.ledger_page(&room, &origin, body.from.unwrap_or_default()).await?;
    Ok(RawJson(Bytes::from(serde_json::to_vec(&page)?)))
}

impl Api {
    async fn ledger_page(&self, room: &Room, origin: &ServerName, after: EventNum) -> Result<Page, RouteError> {
        let (rows, more) = self.engine.listed_events(room.num, after, ENTRIES).await?;
        let (mut pdus, mut bytes, mut shown, mut cut) = (Vec::new(), 0, Vec::new(), None);
        let mut redactions = Vec::new();
        for (num, row) in rows {
            if bytes > PAGE_BYTES {
                cut = Some(num.saturating_sub(1));
                break;
            }
            if self.may_have(room, origin, &row).await? {
                bytes += row.json().len();
                pdus.push(self.engine.pdu_for(room, origin, &row).await?);
                shown.push(num);
                if let Some(by) = row.redacted_by()
                    && let Some(by) = self.engine.find_event(room.num, by).await?
                {
                    let redaction = self.engine.event(room.num, by).await?;
                    redactions.push(self.engine.pdu_for(room, origin, &redaction).await?);
                    shown.push(by);
                }
            }
        }
        let chain = self.engine.auth_chain(room, &shown).await?;
        let mut auth_chain = Vec::with_capacity(chain.len());
        for batch in chain.chunks(ENTRIES) {
            for (_, row) in self.engine.events(room.num, batch).await? {
                bytes += row.json().len();
                if bytes > MAX_ANSWER {
                    return Err(RouteError::TooLarge);
                }
                // Whole, like all state: many of these are known by reference only.
                auth_chain.push(row.pdu()?);
            }
        }
        Ok(Page { pdus, redactions, auth_chain, next: cut.or(more) })
    }

    async fn may_have(&self, room: &Room, origin: &ServerName, row: &EventRow) -> Result<bool, EngineError> {
        Ok(row.verdict() == Verdict::Accepted && self.engine.server_can_see(room, origin, row).await?)
    }
}

/// What entries refer to: their ledger's root, the heads that their author had seen, and the entries that they are about.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Cites {
    open: Option<serde_json::Value>,
    prev: Option<serde_json::Value>,
    target: Option<serde_json::Value>,
    over: Option<serde_json::Value>,
    answers: Option<serde_json::Value>,
}

impl Cites {
    /// The event ids in the content of an entry. Whatever else stands there is not looked at.
    pub(crate) fn of(content: &str) -> impl Iterator<Item = OwnedEventId> {
        let Self { open, prev, target, over, answers } = serde_json::from_str(content).unwrap_or_default();
        let values = [open, prev, target, over, answers].into_iter().flatten();
        let flat = values.flat_map(|value| match value {
            serde_json::Value::Array(values) => values.into_iter().take(MAX_CITES).collect(),
            other => vec![other],
        });
        flat.filter_map(|value| OwnedEventId::try_from(value.as_str()?).ok())
    }
}

/// Ids in one field of an entry that are looked at, at most.
const MAX_CITES: usize = 64;
