//! Questions to other servers on behalf of local users: profiles, aliases, directories, spaces, events by time.
//! [Querying for information](https://spec.matrix.org/v1.19/server-server-api/#querying-for-information).

use std::{collections::BTreeSet, time::Duration};

use engine::{Direction, Listing, RoomSummary, SpaceView};
use http::Method;
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedServerName, RoomAliasId, RoomId, ServerName, UInt,
    UserId,
    api::federation::{
        event::get_event_by_timestamp,
        query::{get_profile_information, get_room_information},
    },
    directory::Filter,
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{CallError, CallLimits, Federation};

/// What a question may cost: somebody waits for the answer.
const LIMITS: CallLimits = CallLimits { timeout: Duration::from_secs(10), max_body: 1 << 20 };
/// Servers that an alias names, at most.
const MAX_SERVERS: usize = 50;
/// Rooms of a page of another server's directory, at most.
const MAX_ROOMS: usize = 1000;

/// A page of another server's directory.
#[derive(Deserialize)]
struct PublicRooms {
    #[serde(default)]
    chunk: Vec<Box<RawValue>>,
    next_batch: Option<String>,
    prev_batch: Option<String>,
    #[serde(default)]
    total_room_count_estimate: Option<usize>,
}

impl Federation {
    /// The profile of a user of another server, or one field of it.
    ///
    /// # Errors
    /// [`CallError`]; 404 where there is no such user.
    pub async fn query_profile(&self, user_id: &UserId, field: Option<&str>) -> Result<Map<String, Value>, CallError> {
        let mut request = get_profile_information::v1::Request::new(user_id.to_owned());
        request.field = field.map(Into::into);
        let profile = self.client.send(user_id.server_name(), request, LIMITS).await?;
        Ok(profile.into_iter().filter(|(key, _)| field.is_none_or(|wanted| wanted == key)).collect())
    }

    /// The room that an alias of another server points at, and servers that are in it.
    ///
    /// # Errors
    /// [`CallError`]; 404 where there is no such alias.
    pub async fn query_directory(&self, alias: &RoomAliasId) -> Result<(OwnedRoomId, Vec<OwnedServerName>), CallError> {
        let request = get_room_information::v1::Request::new(alias.to_owned());
        let mut found = self.client.send(alias.server_name(), request, LIMITS).await?;
        found.servers.truncate(MAX_SERVERS);
        Ok((found.room_id, found.servers))
    }

    /// A page of another server's directory.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn query_public_rooms(
        &self,
        server: &ServerName,
        filter: &Filter,
        since: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Listing, CallError> {
        let mut body = json!({"filter": filter});
        if let Some(since) = since {
            body["since"] = since.into();
        }
        if let Some(limit) = limit {
            body["limit"] = limit.into();
        }
        let body = serde_json::value::to_raw_value(&body).map_err(|error| CallError::BadRequest(error.to_string()))?;
        let target = "/_matrix/federation/v1/publicRooms".to_owned();
        let page: PublicRooms = self.client.json(server, Method::POST, target, Some(&body), LIMITS).await?;
        // One room that cannot be read does not cost the others.
        let rooms = page.chunk.iter().take(MAX_ROOMS);
        let chunk: Vec<RoomSummary> = rooms.filter_map(|room| serde_json::from_str(room.get()).ok()).collect();
        let total = page.total_room_count_estimate.unwrap_or(chunk.len());
        Ok(Listing {
            chunk,
            next_batch: page.next_batch,
            prev_batch: page.prev_batch,
            total_room_count_estimate: total,
        })
    }

    /// What another server tells of a room and, where it is a space, of the rooms in it.
    ///
    /// # Errors
    /// [`CallError`]; 404 where the server does not know the room or this server may not know it.
    pub async fn query_hierarchy(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        suggested_only: bool,
    ) -> Result<SpaceView, CallError> {
        let room = encoded(room_id.as_str());
        let target = format!("/_matrix/federation/v1/hierarchy/{room}?suggested_only={suggested_only}");
        let mut view: SpaceView = self.client.json(server, Method::GET, target, None, LIMITS).await?;
        if view.room.summary.room_id != room_id {
            return Err(CallError::BadReply(format!("it is about {}, not {room_id}", view.room.summary.room_id)));
        }
        // Of other rooms it has nothing to say.
        let children: BTreeSet<&str> = view.room.children_state.iter().map(|child| child.state_key.as_str()).collect();
        view.children.retain(|child| children.contains(child.room_id.as_str()));
        view.inaccessible_children.retain(|child| children.contains(child.as_str()));
        Ok(view)
    }

    /// The event that another server knows closest to a time in Unix milliseconds, at it or after it (`Forward`) or at it or before
    /// it (`Backward`), and when it was sent.
    ///
    /// # Errors
    /// [`CallError`]; 404 where there is none.
    pub async fn query_timestamp(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        ts: u64,
        direction: Direction,
    ) -> Result<(OwnedEventId, u64), CallError> {
        let (dir, time) = (ruma_direction(direction), MilliSecondsSinceUnixEpoch(UInt::new_saturating(ts)));
        let request = get_event_by_timestamp::v1::Request::new(room_id.to_owned(), time, dir);
        let found = self.client.send(server, request, LIMITS).await?;
        let at = u64::from(found.origin_server_ts.0);
        let in_direction = match direction {
            Direction::Forward => at >= ts,
            Direction::Backward => at <= ts,
        };
        if in_direction {
            Ok((found.event_id, at))
        } else {
            Err(CallError::BadReply("it is of another time".to_owned()))
        }
    }
}

fn ruma_direction(direction: Direction) -> ruma::api::Direction {
    match direction {
        Direction::Forward => ruma::api::Direction::Forward,
        Direction::Backward => ruma::api::Direction::Backward,
    }
}

/// A segment of a path, percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
