//! Rooms on the servers of a world: made, written to, and looked at whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::{EVENTS, EngineError, EventRow, HEADS, Names, NewEvent, NewRoom, Preset, Room, RoomPlan, Verdict};
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId, events::TimelineEventType};
use serde_json::{Map, Value, json};

use super::server::TestServer;

/// A room's state: (type, state key) to event id.
pub type State = BTreeMap<(String, String), String>;

/// An event to send, by a user of the server.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Who sends it.
    pub sender: &'a UserId,
    /// Its type.
    pub kind: &'a str,
    /// Its state key, for a state event.
    pub state_key: Option<&'a str>,
    /// Its content.
    pub content: Value,
    /// For a redaction.
    pub redacts: Option<&'a EventId>,
}

impl TestServer {
    /// A public room of a user's, and its id.
    pub async fn create_room(&self, creator: &UserId, version: RoomVersionId) -> OwnedRoomId {
        self.create_room_by(creator, version, |_| {}).await
    }

    /// A room of a user's by a changed plan, and its id.
    pub async fn create_room_by(
        &self,
        creator: &UserId,
        version: RoomVersionId,
        change: impl FnOnce(&mut RoomPlan<'_>),
    ) -> OwnedRoomId {
        let engine = self.engine();
        let mut plan = RoomPlan {
            creator,
            names: Names::default(),
            version,
            preset: Preset::Public,
            creation_content: Map::new(),
            power_levels: Map::new(),
            alias: None,
            initial_state: Vec::new(),
            name: None,
            topic: None,
            invite: Vec::new(),
            is_direct: false,
        };
        change(&mut plan);
        let first = plan.first_events().unwrap();
        let nth = self.next_room();
        let new = NewRoom {
            creator,
            creator_num: engine.user_num(creator).await.unwrap(),
            version: plan.version.clone(),
            create: first.create,
            room_id: OwnedRoomId::try_from(format!("!r{nth}:{}", self.name)).unwrap(),
            events: first.events,
            alias: plan.alias.clone(),
            public: false,
        };
        engine.create_room(new, None).await.unwrap().room.id.clone()
    }

    /// The room with an id.
    pub async fn room(&self, id: &RoomId) -> Arc<Room> {
        self.engine().room(id).await.unwrap()
    }

    /// Sends an event as its local sender.
    ///
    /// # Errors
    /// As [`engine::Engine::send`].
    pub async fn send(&self, room: &RoomId, event: Event<'_>) -> Result<OwnedEventId, EngineError> {
        let engine = self.engine();
        let room = engine.room(room).await?;
        let content = event.content.to_string();
        let new = NewEvent {
            sender: event.sender,
            sender_num: engine.user_num(event.sender).await?,
            event_type: TimelineEventType::from(event.kind),
            state_key: event.state_key,
            content: &content,
            redacts: event.redacts,
            origin_server_ts: None,
            device: None,
            txn_id: None,
        };
        engine.send(&room, new, None).await
    }

    /// Sends a text message.
    pub async fn say(&self, room: &RoomId, sender: &UserId, text: &str) -> OwnedEventId {
        let content = json!({"msgtype": "m.text", "body": text});
        let event = Event { sender, kind: "m.room.message", state_key: None, content, redacts: None };
        self.send(room, event).await.unwrap()
    }

    /// Sends a state event.
    ///
    /// # Errors
    /// As [`engine::Engine::send`].
    pub async fn set(
        &self,
        room: &RoomId,
        sender: &UserId,
        kind: &str,
        key: &str,
        content: Value,
    ) -> Result<OwnedEventId, EngineError> {
        self.send(room, Event { sender, kind, state_key: Some(key), content, redacts: None }).await
    }

    /// Changes a membership, without asking another server.
    ///
    /// # Errors
    /// As [`engine::Engine::send`].
    pub async fn member(
        &self,
        room: &RoomId,
        sender: &UserId,
        of: &UserId,
        membership: &str,
    ) -> Result<OwnedEventId, EngineError> {
        self.set(room, sender, "m.room.member", of.as_str(), json!({"membership": membership})).await
    }

    /// The current state.
    pub async fn state(&self, room: &RoomId) -> State {
        let (engine, room) = (self.engine(), self.room(room).await);
        let mut state = State::new();
        for (kind, key, num) in engine.current_state(room.num).await.unwrap() {
            let row = engine.event(room.num, num).await.unwrap();
            state.insert((kind, key), row.event_id().to_owned());
        }
        state
    }

    /// The content of an entry of the current state, `null` where there is none.
    pub async fn content(&self, room: &RoomId, kind: &str, key: &str) -> Value {
        let room = self.room(room).await;
        let found = self.engine().current_event(room.num, kind, key).await.unwrap();
        found.map_or(Value::Null, |row| serde_json::from_str(row.content()).unwrap())
    }

    /// Every event of the room that is here in any form, in the order in which this server got them.
    pub async fn rows(&self, room: &RoomId) -> Vec<EventRow> {
        let (engine, room) = (self.engine(), self.room(room).await);
        let rows = engine.db.scan_all(&EVENTS, &room.num).await.unwrap();
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// The ids of the events that are part of the room.
    pub async fn accepted(&self, room: &RoomId) -> BTreeSet<String> {
        let rows = self.rows(room).await;
        let part = rows.iter().filter(|row| row.verdict() == Verdict::Accepted && !row.outlier());
        part.map(|row| row.event_id().to_owned()).collect()
    }

    /// The texts of the messages that are part of the room, in the order in which this server got them.
    pub async fn texts(&self, room: &RoomId) -> Vec<String> {
        let rows = self.rows(room).await;
        let part = rows.iter().filter(|row| row.verdict() == Verdict::Accepted && !row.outlier());
        let content = part.map(|row| serde_json::from_str::<Value>(row.content()).unwrap());
        content.filter_map(|content| Some(content["body"].as_str()?.to_owned())).collect()
    }

    /// Where the room's graph ends.
    pub async fn extremities(&self, room: &RoomId) -> BTreeSet<String> {
        let (engine, room) = (self.engine(), self.room(room).await);
        let head = engine.db.get(&HEADS, &room.num).await.unwrap().unwrap();
        head.extremities.iter().map(|end| end.event_id.to_string()).collect()
    }

    /// A user of this server by localpart, whether registered or not.
    pub fn user_id(&self, localpart: &str) -> OwnedUserId {
        OwnedUserId::try_from(format!("@{localpart}:{}", self.name)).unwrap()
    }
}
