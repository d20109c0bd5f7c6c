//! One event ("persistent data unit"), parsed.

use std::{borrow::Cow, sync::Arc};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId,
    OwnedUserId, RoomId, UInt, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::{EventsReferenceFormatVersion, RoomVersionRules},
    state_res::Event,
};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

/// A parsed event, shared.
pub type SharedPdu = Arc<Pdu>;

/// An event as the rules of its room read it. The bytes it was parsed from stay the truth; `unsigned`, hashes and signatures are
/// not kept here.
#[derive(Debug, Clone)]
pub struct Pdu {
    /// The id: given by the sender's server in versions 1 and 2, `$` and the reference hash from version 3 on.
    pub event_id: OwnedEventId,
    /// `room_id` as on the wire: absent in the `m.room.create` event of version 12.
    pub wire_room_id: Option<OwnedRoomId>,
    /// The room the event belongs to: the wire's `room_id`, or for a version 12 create event `!` and its reference hash.
    pub room_id: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// Its type.
    pub event_type: TimelineEventType,
    /// Its state key, if it is a state event.
    pub state_key: Option<String>,
    /// The sender's server's clock, milliseconds since the Unix epoch. Untrusted.
    pub origin_server_ts: MilliSecondsSinceUnixEpoch,
    /// One more than the greatest depth among its predecessors, as claimed by the sender's server.
    pub depth: u64,
    /// The events it follows.
    pub prev_events: Vec<OwnedEventId>,
    /// The state events that are said to allow it.
    pub auth_events: Vec<OwnedEventId>,
    /// Its content.
    pub content: Box<RawValue>,
    /// For an `m.room.redaction` event: what it redacts (top level before version 11, in the content from then on).
    pub redacts: Option<OwnedEventId>,
    /// Whether it failed the authorisation rules. Set by the caller from the stored verdict.
    pub rejected: bool,
}

/// Why bytes are not an event of this room version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// A field is missing or has the wrong form.
    #[error("malformed event: {0}")]
    Malformed(String),
    /// Versions 1 and 2: the id in the event is not the one it was looked up by.
    #[error("the event calls itself {found}, not {expected}")]
    WrongEventId {
        /// The id asked for.
        expected: OwnedEventId,
        /// The id in the event.
        found: String,
    },
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    event_id: Option<Cow<'a, str>>,
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    state_key: Option<String>,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    depth: UInt,
    #[serde(borrow)]
    prev_events: &'a RawValue,
    #[serde(borrow)]
    auth_events: &'a RawValue,
    content: Box<RawValue>,
    // A foreign value of any shape may stand here; only a valid event id counts.
    #[serde(borrow)]
    redacts: Option<&'a RawValue>,
}

impl Pdu {
    /// Parses an event printed as JSON, as stored or received. Sizes are not checked here: see [`crate::check`].
    ///
    /// # Errors
    /// [`PduError`] if a field that the rules read is missing or malformed.
    pub fn from_json(json: &str, event_id: OwnedEventId, rules: &RoomVersionRules) -> Result<Self, PduError> {
        let wire: Wire<'_> = serde_json::from_str(json).map_err(malformed)?;
        check_event_id(wire.event_id.as_deref(), &event_id, rules)?;
        let event_type = TimelineEventType::from(&*wire.event_type);
        let redacts = if event_type != TimelineEventType::RoomRedaction {
            None
        } else if rules.redaction.content_field_redacts {
            redacts_in_content(&wire.content)
        } else {
            wire.redacts.and_then(|raw| serde_json::from_str(raw.get()).ok())
        };
        Ok(Self {
            room_id: effective_room_id(wire.room_id.as_deref(), &event_type, &event_id, rules)?,
            event_id,
            wire_room_id: wire.room_id,
            sender: wire.sender,
            event_type,
            state_key: wire.state_key,
            origin_server_ts: wire.origin_server_ts,
            depth: wire.depth.into(),
            prev_events: references(wire.prev_events, rules)?,
            auth_events: references(wire.auth_events, rules)?,
            content: wire.content,
            redacts,
            rejected: false,
        })
    }

    /// The same from UTF-8 bytes.
    ///
    /// # Errors
    /// As [`Pdu::from_json`].
    pub fn from_slice(json: &[u8], event_id: OwnedEventId, rules: &RoomVersionRules) -> Result<Self, PduError> {
        let json = std::str::from_utf8(json).map_err(|error| PduError::Malformed(error.to_string()))?;
        Self::from_json(json, event_id, rules)
    }

    /// The same from an object that is already parsed.
    ///
    /// # Errors
    /// As [`Pdu::from_json`].
    pub fn from_object(
        object: &CanonicalJsonObject,
        event_id: OwnedEventId,
        rules: &RoomVersionRules,
    ) -> Result<Self, PduError> {
        check_event_id(object.get("event_id").and_then(CanonicalJsonValue::as_str), &event_id, rules)?;
        let wire_room_id = match object.get("room_id") {
            None | Some(CanonicalJsonValue::Null) => None,
            Some(_) => Some(RoomId::parse(text(object, "room_id")?).map_err(malformed)?),
        };
        let event_type = TimelineEventType::from(text(object, "type")?);
        let content = object.get("content").ok_or_else(|| missing("content"))?;
        let redacts = (event_type == TimelineEventType::RoomRedaction)
            .then(|| if rules.redaction.content_field_redacts { content.as_object() } else { Some(object) })
            .flatten()
            .and_then(|holder| holder.get("redacts"))
            .and_then(CanonicalJsonValue::as_str)
            .and_then(|id| EventId::parse(id).ok());
        let ts = UInt::try_from(integer(object, "origin_server_ts")?).map_err(malformed)?;
        Ok(Self {
            room_id: effective_room_id(wire_room_id.as_deref(), &event_type, &event_id, rules)?,
            event_id,
            wire_room_id,
            sender: UserId::parse(text(object, "sender")?).map_err(malformed)?,
            event_type,
            state_key: match object.get("state_key") {
                None | Some(CanonicalJsonValue::Null) => None,
                Some(_) => Some(text(object, "state_key")?.to_owned()),
            },
            origin_server_ts: MilliSecondsSinceUnixEpoch(ts),
            depth: u64::try_from(integer(object, "depth")?).map_err(malformed)?,
            prev_events: references_of_object(object, "prev_events", rules)?,
            auth_events: references_of_object(object, "auth_events", rules)?,
            content: to_raw_value(content).map_err(malformed)?,
            redacts,
            rejected: false,
        })
    }

    /// Its place in the room's state: type and state key; `None` for a message-like event.
    pub fn state_slot(&self) -> Option<(StateEventType, String)> {
        Some((StateEventType::from(self.event_type.to_string()), self.state_key.clone()?))
    }

    /// Whether it is the state event of this type with this state key.
    pub fn is_state(&self, event_type: &TimelineEventType, state_key: &str) -> bool {
        self.event_type == *event_type && self.state_key.as_deref() == Some(state_key)
    }

    /// For an `m.room.member` event, the `membership` in its content.
    pub fn membership(&self) -> Option<ruma::events::room::member::MembershipState> {
        if self.event_type != TimelineEventType::RoomMember {
            return None;
        }
        ruma::state_res::events::RoomMemberEvent::new(self).membership().ok()
    }
}

impl Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    // The rules compare what is on the wire: a version 12 create event must not carry a room id.
    fn room_id(&self) -> Option<&RoomId> {
        self.wire_room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

/// The room id that a version 12 create event with this id gives its room.
pub(crate) fn room_id_of_create(create: &EventId) -> Result<OwnedRoomId, PduError> {
    let hash = create.as_str().strip_prefix('$').unwrap_or_default();
    RoomId::new_v2(hash).map_err(malformed)
}

fn effective_room_id(
    wire: Option<&RoomId>,
    event_type: &TimelineEventType,
    event_id: &EventId,
    rules: &RoomVersionRules,
) -> Result<OwnedRoomId, PduError> {
    match wire {
        Some(room_id) => Ok(room_id.to_owned()),
        None if rules.authorization.room_create_event_id_as_room_id && *event_type == TimelineEventType::RoomCreate => {
            room_id_of_create(event_id)
        }
        None => Err(missing("room_id")),
    }
}

fn check_event_id(found: Option<&str>, expected: &EventId, rules: &RoomVersionRules) -> Result<(), PduError> {
    if !rules.event_format.require_event_id || found == Some(expected.as_str()) {
        return Ok(());
    }
    Err(PduError::WrongEventId { expected: expected.to_owned(), found: found.unwrap_or_default().to_owned() })
}

fn redacts_in_content(content: &RawValue) -> Option<OwnedEventId> {
    #[derive(Deserialize)]
    struct Redaction {
        redacts: OwnedEventId,
    }
    serde_json::from_str::<Redaction>(content.get()).ok().map(|content| content.redacts)
}

fn references(raw: &RawValue, rules: &RoomVersionRules) -> Result<Vec<OwnedEventId>, PduError> {
    if rules.events_reference_format != EventsReferenceFormatVersion::V1 {
        return serde_json::from_str(raw.get()).map_err(malformed);
    }
    let pairs: Vec<(OwnedEventId, serde::de::IgnoredAny)> = serde_json::from_str(raw.get()).map_err(malformed)?;
    Ok(pairs.into_iter().map(|(id, _hashes)| id).collect())
}

pub(crate) fn references_of_object(
    object: &CanonicalJsonObject,
    field: &'static str,
    rules: &RoomVersionRules,
) -> Result<Vec<OwnedEventId>, PduError> {
    let items = object.get(field).and_then(CanonicalJsonValue::as_array).ok_or_else(|| missing(field))?;
    let with_hashes = rules.events_reference_format == EventsReferenceFormatVersion::V1;
    items
        .iter()
        .map(|item| match item {
            CanonicalJsonValue::Array(pair) if with_hashes && pair.len() == 2 => pair.first(),
            other => Some(other).filter(|_| !with_hashes),
        })
        .map(|id| {
            let id = id.and_then(CanonicalJsonValue::as_str).ok_or_else(|| missing(field))?;
            EventId::parse(id).map_err(malformed)
        })
        .collect()
}

fn text<'a>(object: &'a CanonicalJsonObject, field: &'static str) -> Result<&'a str, PduError> {
    object.get(field).and_then(CanonicalJsonValue::as_str).ok_or_else(|| missing(field))
}

fn integer(object: &CanonicalJsonObject, field: &'static str) -> Result<i64, PduError> {
    object.get(field).and_then(CanonicalJsonValue::as_integer).map(i64::from).ok_or_else(|| missing(field))
}

fn missing(field: &'static str) -> PduError {
    PduError::Malformed(format!("missing or invalid `{field}`"))
}

fn malformed(error: impl std::fmt::Display) -> PduError {
    PduError::Malformed(error.to_string())
}
