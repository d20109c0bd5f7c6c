//! New rooms: all first events in one commit.

use std::sync::Arc;

use ruma::{OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, UserId, events::TimelineEventType};
use store::{IdKind, Precondition};

use crate::{
    engine::Engine,
    error::EngineError,
    head::{Head, HeadRow},
    room::{Room, RoomInfo},
    tables::{TRANSACTIONS, UserNum},
    writer::{NewEvent, RoomWriter, TxnKey},
};

/// A first event of a room, after the create event.
#[derive(Debug, Clone)]
pub struct FirstEvent {
    /// Its type.
    pub event_type: TimelineEventType,
    /// Its state key.
    pub state_key: String,
    /// Its content: the text of a JSON object.
    pub content: String,
}

impl FirstEvent {
    /// A state event.
    pub fn new(
        event_type: impl Into<TimelineEventType>,
        state_key: impl Into<String>,
        content: impl Into<String>,
    ) -> Self {
        Self { event_type: event_type.into(), state_key: state_key.into(), content: content.into() }
    }
}

/// What a room starts with.
#[derive(Debug, Clone)]
pub struct NewRoom<'a> {
    /// Who creates it.
    pub creator: &'a UserId,
    /// The creator's number.
    pub creator_num: UserNum,
    /// Its version.
    pub version: RoomVersionId,
    /// The content of `m.room.create`: the text of a JSON object.
    pub create: String,
    /// Before version 12: the id, whose opaque part the caller chose at random.
    pub room_id: OwnedRoomId,
    /// What follows, in order; the creator's own join is among them.
    pub events: Vec<FirstEvent>,
    /// An alias to point at the room in the same commit.
    pub alias: Option<String>,
    /// Whether to list it in the public directory.
    pub public: bool,
}

/// A room that was made.
#[derive(Debug, Clone)]
pub struct CreatedRoom {
    /// The room.
    pub room: Arc<Room>,
    /// The ids of its first events, the create event's first.
    pub event_ids: Vec<OwnedEventId>,
}

impl Engine {
    /// Makes a room. All its first events, its alias and its place in the directory land together or not at all. With a
    /// transaction key that remembers the create event, one room is made with it at most.
    ///
    /// # Errors
    /// [`EngineError::AliasTaken`], [`EngineError::Conflict`] where a room was made with the key before (and there is no alias),
    /// and whatever makes one of the events impossible.
    pub async fn create_room(&self, new: NewRoom<'_>, txn: Option<TxnKey<'_>>) -> Result<CreatedRoom, EngineError> {
        let rules = Self::rules(&new.version)?;
        let nameless = rules.authorization.room_create_event_id_as_room_id;
        let create = NewEvent {
            sender: new.creator,
            sender_num: new.creator_num,
            event_type: TimelineEventType::RoomCreate,
            state_key: Some(""),
            content: &new.create,
            redacts: None,
            origin_server_ts: Some(self.unique_now()),
            device: None,
            txn_id: None,
        };
        let room_id = if nameless { self.id_of_create(&create, &rules)? } else { new.room_id.clone() };
        let num = self.ids.number(IdKind::Room, room_id.as_str()).await?;
        let head = Head::new(HeadRow::empty(), None, RoomInfo::empty());
        let room = Arc::new(Room::new(num, room_id, new.version.clone(), rules, head));
        let mut writer = RoomWriter::of_new_room(self, &room).await?;
        let mut event_ids = vec![writer.append(create).await?.event_id];
        for event in &new.events {
            let event = NewEvent {
                sender: new.creator,
                sender_num: new.creator_num,
                event_type: event.event_type.clone(),
                state_key: Some(&event.state_key),
                content: &event.content,
                redacts: None,
                origin_server_ts: None,
                device: None,
                txn_id: None,
            };
            event_ids.push(writer.append(event).await?.event_id);
        }
        self.stage_directory(&mut writer, &new, &room.id);
        if let (Some(txn), Some(create)) = (&txn, event_ids.first()) {
            writer.record_transaction(txn, create);
            let key = TRANSACTIONS.key(&(txn.user, txn.device.to_owned(), txn.path.to_owned()));
            writer.require(Precondition::Absent(TRANSACTIONS.keyspace, key));
        }
        let taken = new.alias.is_some();
        self.announce(&room);
        if let Err(error) = writer.commit().await {
            self.withdraw(&room);
            return Err(match error {
                EngineError::Conflict if taken => EngineError::AliasTaken,
                other => other,
            });
        }
        self.register(&room);
        Ok(CreatedRoom { room, event_ids })
    }

    /// In version 12 a room's id is the hash of its create event, so that the event's id has to be known before its room is.
    fn id_of_create(
        &self,
        create: &NewEvent<'_>,
        rules: &::room::RoomVersionRules,
    ) -> Result<OwnedRoomId, EngineError> {
        let draft = ::room::EventDraft {
            room_id: None,
            sender: create.sender,
            event_type: &create.event_type,
            state_key: create.state_key,
            content: create.content,
            origin_server_ts: ruma::MilliSecondsSinceUnixEpoch(ruma::UInt::new_saturating(
                create.origin_server_ts.unwrap_or_default(),
            )),
            depth: 1,
            prev_events: &[],
            auth_events: &[],
            redacts: None,
            legacy: None,
        };
        let signed = ::room::build::sign(&draft, rules, &self.identity.server_name, &self.identity.key)?;
        Ok(signed.pdu.room_id)
    }

    fn stage_directory(&self, writer: &mut RoomWriter<'_>, new: &NewRoom<'_>, room_id: &RoomId) {
        if let Some(alias) = &new.alias {
            self.stage_alias(writer, alias, room_id, new.creator);
        }
        if new.public {
            writer.op(crate::tables::PUBLIC_ROOMS.put(&writer.room.num, &()));
        }
    }
}
