//! From a draft to a hashed, signed, printed event.
//!
//! The content is parsed once and printed once; the event's three canonical forms (for the content hash, for the signature and
//! the reference hash, and for the wire) are put together from pieces in key order, without building an object of the whole event.
//! The result is what ruma's `hash_and_sign_event` and `reference_hash` give, byte for byte.

use std::{collections::HashMap, fmt::Write as _};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, ServerName,
    UserId,
    canonical_json::redact_content_in_place,
    events::TimelineEventType,
    room_version_rules::{EventIdFormatVersion, EventsReferenceFormatVersion, RoomVersionRules},
    signatures::KeyPair,
};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use crate::{
    canonical::{JsonError, MAX_CONTENT_DEPTH, parse_object, push_string},
    pdu::{Pdu, PduError, room_id_of_create},
};

/// Largest event, in bytes of its signed canonical form.
/// [Size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits).
pub const MAX_EVENT_BYTES: usize = 65_536;
/// Longest `sender`, `room_id`, `state_key`, `type` or `event_id`, in bytes.
pub const MAX_FIELD_BYTES: usize = 255;
/// Most entries in `prev_events`.
pub const MAX_PREV_EVENTS: usize = 20;
/// Most entries in `auth_events`.
pub const MAX_AUTH_EVENTS: usize = 10;
/// Greatest depth that canonical JSON can carry.
pub const MAX_DEPTH: u64 = (1 << 53) - 1;

/// What the sender decides about a new event.
#[derive(Debug, Clone)]
pub struct EventDraft<'a> {
    /// The room; `None` exactly for the `m.room.create` event of version 12, whose hash becomes the room's id.
    pub room_id: Option<&'a RoomId>,
    /// Who sends it.
    pub sender: &'a UserId,
    /// Its type.
    pub event_type: &'a TimelineEventType,
    /// Its state key, for a state event.
    pub state_key: Option<&'a str>,
    /// Its content: the text of a JSON object.
    pub content: &'a str,
    /// The time, milliseconds since the Unix epoch.
    pub origin_server_ts: MilliSecondsSinceUnixEpoch,
    /// See [`crate::pdu::Pdu::depth`].
    pub depth: u64,
    /// The room's forward extremities, at most [`MAX_PREV_EVENTS`].
    pub prev_events: &'a [OwnedEventId],
    /// The state events that allow it, at most [`MAX_AUTH_EVENTS`].
    pub auth_events: &'a [OwnedEventId],
    /// For an `m.room.redaction` event: its target. Written at the top level or into the content as the version wants it.
    pub redacts: Option<&'a EventId>,
    /// What versions 1 and 2 need besides; ignored from version 3 on.
    pub legacy: Option<LegacyIds<'a>>,
}

/// Versions 1 and 2 name events freely and add hashes to references.
#[derive(Debug, Clone, Copy)]
pub struct LegacyIds<'a> {
    /// The id of the new event, `$opaque:server`.
    pub event_id: &'a EventId,
    /// The reference hash (unpadded Base64, see [`SignedEvent::reference_hash`]) of every event referred to; empty where it is not known
    /// and not said.
    pub hashes: &'a HashMap<OwnedEventId, String>,
}

/// A new event, ready to be stored and sent.
#[derive(Debug, Clone)]
pub struct SignedEvent {
    /// Its canonical JSON, signed.
    pub json: String,
    /// The same, parsed.
    pub pdu: Pdu,
    /// Its reference hash, unpadded Base64 in the alphabet of the version's event ids.
    pub reference_hash: String,
}

/// Why a draft cannot become an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The event would be larger than [`MAX_EVENT_BYTES`]. (`M_TOO_LARGE`)
    #[error("the event has {0} bytes; {MAX_EVENT_BYTES} are allowed")]
    TooLarge(usize),
    /// A field is longer than [`MAX_FIELD_BYTES`]. (`M_TOO_LARGE`)
    #[error("`{field}` has {bytes} bytes; {MAX_FIELD_BYTES} are allowed")]
    FieldTooLong {
        /// The field's name.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The content is not a canonical JSON object. (`M_BAD_JSON`)
    #[error(transparent)]
    Content(#[from] JsonError),
    /// More entries than allowed in `prev_events` or `auth_events`.
    #[error("too many entries in `{0}`")]
    TooManyReferences(&'static str),
    /// The depth exceeds [`MAX_DEPTH`].
    #[error("depth out of range")]
    Depth,
    /// The room id is missing, or present on a version 12 create event.
    #[error("wrong `room_id` for this event")]
    RoomId,
    /// Versions 1 and 2: no event id was given, or the hash of a referenced event is missing.
    #[error("this room version needs an event id and the hashes of referenced events")]
    Legacy,
    /// The parts do not make a valid event.
    #[error(transparent)]
    Malformed(#[from] PduError),
}

impl BuildError {
    /// Whether the event or one of its fields is too large, rather than malformed.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge(_) | Self::FieldTooLong { .. })
    }
}

/// Hashes, signs and prints `draft` for a room of these rules, as `server` with `key`.
///
/// # Errors
/// [`BuildError`] if a limit is exceeded or the content is not canonical JSON.
pub fn sign<K: KeyPair>(
    draft: &EventDraft<'_>,
    rules: &RoomVersionRules,
    server: &ServerName,
    key: &K,
) -> Result<SignedEvent, BuildError> {
    check_limits(draft, rules)?;
    let frame = Frame::new(draft, rules)?;
    let content = Content::parse(draft, &frame.event_type, rules)?;

    let mut buffer = String::with_capacity(content.full.get().len() + 1024);
    frame.print(&mut buffer, content.full.get(), frame.redacts, None, None);
    let content_hash = STANDARD_NO_PAD.encode(Sha256::digest(&buffer));

    // What is signed and what is hashed for reference is the same text.
    buffer.clear();
    frame.print(&mut buffer, &content.redacted, None, Some(&content_hash), None);
    let reference_hash = encode_reference(&Sha256::digest(&buffer), rules);
    let signature = key.sign(buffer.as_bytes());
    let signature = Signature { server, key_id: signature.id(), base64: signature.base64() };

    buffer.clear();
    frame.print(&mut buffer, content.full.get(), frame.redacts, Some(&content_hash), Some(&signature));
    if buffer.len() > MAX_EVENT_BYTES {
        return Err(BuildError::TooLarge(buffer.len()));
    }
    let pdu = parsed(draft, rules, content, &reference_hash)?;
    Ok(SignedEvent { json: buffer, pdu, reference_hash })
}

/// The id an event with this reference hash has from version 3 on.
pub(crate) fn event_id_of_hash(reference_hash: &str) -> Result<OwnedEventId, PduError> {
    EventId::new_v2_or_v3(reference_hash).map_err(|error| PduError::Malformed(error.to_string()))
}

fn encode_reference(digest: &[u8], rules: &RoomVersionRules) -> String {
    match rules.event_id_format {
        EventIdFormatVersion::V1 | EventIdFormatVersion::V2 => STANDARD_NO_PAD.encode(digest),
        _ => URL_SAFE_NO_PAD.encode(digest),
    }
}

fn check_limits(draft: &EventDraft<'_>, rules: &RoomVersionRules) -> Result<(), BuildError> {
    // Cheap refusal of what cannot fit, before any work is spent on it. (Canonical form can be shorter than the input only by
    // its white space and escapes; six bytes of input a byte is the worst ratio.)
    if draft.content.len() > 6 * MAX_EVENT_BYTES {
        return Err(BuildError::TooLarge(draft.content.len()));
    }
    let is_v12_create =
        rules.authorization.room_create_event_id_as_room_id && *draft.event_type == TimelineEventType::RoomCreate;
    if draft.room_id.is_some() == is_v12_create {
        return Err(BuildError::RoomId);
    }
    short("sender", draft.sender.as_str())?;
    short("room_id", draft.room_id.map(RoomId::as_str).unwrap_or_default())?;
    short("state_key", draft.state_key.unwrap_or_default())?;
    if draft.prev_events.len() > MAX_PREV_EVENTS {
        return Err(BuildError::TooManyReferences("prev_events"));
    }
    if draft.auth_events.len() > MAX_AUTH_EVENTS {
        return Err(BuildError::TooManyReferences("auth_events"));
    }
    if draft.depth > MAX_DEPTH {
        return Err(BuildError::Depth);
    }
    Ok(())
}

fn short(field: &'static str, value: &str) -> Result<(), BuildError> {
    let bytes = value.len();
    if bytes > MAX_FIELD_BYTES { Err(BuildError::FieldTooLong { field, bytes }) } else { Ok(()) }
}

/// The content in both forms.
struct Content {
    full: Box<RawValue>,
    redacted: String,
    redacts: Option<OwnedEventId>,
}

impl Content {
    fn parse(draft: &EventDraft<'_>, event_type: &str, rules: &RoomVersionRules) -> Result<Self, BuildError> {
        let mut object = parse_object(draft.content, MAX_CONTENT_DEPTH)?;
        let is_redaction = *draft.event_type == TimelineEventType::RoomRedaction;
        if let Some(target) = draft.redacts.filter(|_| is_redaction && rules.redaction.content_field_redacts) {
            object.insert("redacts".to_owned(), CanonicalJsonValue::String(target.to_string()));
        }
        let redacts = is_redaction.then(|| Self::target(&object, draft, rules)).flatten();
        let full = to_raw_value(&object).map_err(|error| PduError::Malformed(error.to_string()))?;
        redact_content_in_place(&mut object, &rules.redaction, event_type);
        let redacted = if object.is_empty() { "{}".to_owned() } else { crate::canonical::print_object(&object) };
        Ok(Self { full, redacted, redacts })
    }

    fn target(object: &CanonicalJsonObject, draft: &EventDraft<'_>, rules: &RoomVersionRules) -> Option<OwnedEventId> {
        if !rules.redaction.content_field_redacts {
            return draft.redacts.map(ToOwned::to_owned);
        }
        EventId::parse(object.get("redacts")?.as_str()?).ok()
    }
}

struct Signature<'a> {
    server: &'a ServerName,
    key_id: String,
    base64: String,
}

/// Everything of the event that is the same in all its forms, printed.
struct Frame<'a> {
    draft: &'a EventDraft<'a>,
    event_type: String,
    auth_events: String,
    prev_events: String,
    event_id: Option<&'a EventId>,
    redacts: Option<&'a EventId>,
}

impl<'a> Frame<'a> {
    fn new(draft: &'a EventDraft<'a>, rules: &RoomVersionRules) -> Result<Self, BuildError> {
        let event_type = draft.event_type.to_string();
        short("type", &event_type)?;
        let event_id = match draft.legacy {
            Some(legacy) if rules.event_format.require_event_id => Some(legacy.event_id),
            None if rules.event_format.require_event_id => return Err(BuildError::Legacy),
            _ => None,
        };
        short("event_id", event_id.map(EventId::as_str).unwrap_or_default())?;
        let at_top = *draft.event_type == TimelineEventType::RoomRedaction && !rules.redaction.content_field_redacts;
        Ok(Self {
            draft,
            event_type,
            auth_events: print_references(draft.auth_events, draft, rules)?,
            prev_events: print_references(draft.prev_events, draft, rules)?,
            event_id,
            redacts: draft.redacts.filter(|_| at_top),
        })
    }

    /// Appends one form of the event. Keys stand in canonical order.
    fn print(
        &self,
        out: &mut String,
        content: &str,
        redacts: Option<&EventId>,
        content_hash: Option<&str>,
        signature: Option<&Signature<'_>>,
    ) {
        out.push_str("{\"auth_events\":");
        out.push_str(&self.auth_events);
        out.push_str(",\"content\":");
        out.push_str(content);
        // Writing to a String cannot fail.
        let _ = write!(out, ",\"depth\":{}", self.draft.depth);
        push_field(out, "event_id", self.event_id.map(EventId::as_str));
        if let Some(hash) = content_hash {
            out.push_str(",\"hashes\":{\"sha256\":\"");
            out.push_str(hash);
            out.push_str("\"}");
        }
        let _ = write!(out, ",\"origin_server_ts\":{}", self.draft.origin_server_ts.get());
        out.push_str(",\"prev_events\":");
        out.push_str(&self.prev_events);
        push_field(out, "redacts", redacts.map(EventId::as_str));
        push_field(out, "room_id", self.draft.room_id.map(RoomId::as_str));
        push_field(out, "sender", Some(self.draft.sender.as_str()));
        if let Some(signature) = signature {
            out.push_str(",\"signatures\":{");
            push_string(out, signature.server.as_str());
            out.push_str(":{");
            push_string(out, &signature.key_id);
            out.push_str(":\"");
            out.push_str(&signature.base64);
            out.push_str("\"}}");
        }
        push_field(out, "state_key", self.draft.state_key);
        push_field(out, "type", Some(&self.event_type));
        out.push('}');
    }
}

fn push_field(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        out.push_str(",\"");
        out.push_str(name);
        out.push_str("\":");
        push_string(out, value);
    }
}

fn print_references(
    ids: &[OwnedEventId],
    draft: &EventDraft<'_>,
    rules: &RoomVersionRules,
) -> Result<String, BuildError> {
    let with_hashes = rules.events_reference_format == EventsReferenceFormatVersion::V1;
    let mut out = String::with_capacity(2 + ids.len() * 48);
    out.push('[');
    for (position, id) in ids.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        if with_hashes {
            let hash = draft.legacy.and_then(|legacy| legacy.hashes.get(id)).ok_or(BuildError::Legacy)?;
            out.push('[');
            push_string(&mut out, id.as_str());
            if hash.is_empty() {
                out.push_str(",{}]");
                continue;
            }
            out.push_str(",{\"sha256\":");
            push_string(&mut out, hash);
            out.push_str("}]");
        } else {
            push_string(&mut out, id.as_str());
        }
    }
    out.push(']');
    Ok(out)
}

fn parsed(
    draft: &EventDraft<'_>,
    rules: &RoomVersionRules,
    content: Content,
    reference_hash: &str,
) -> Result<Pdu, BuildError> {
    let event_id = match draft.legacy {
        Some(legacy) if rules.event_format.require_event_id => legacy.event_id.to_owned(),
        _ => event_id_of_hash(reference_hash)?,
    };
    let room_id = match draft.room_id {
        Some(room_id) => room_id.to_owned(),
        None => room_id_of_create(&event_id)?,
    };
    Ok(Pdu {
        event_id,
        wire_room_id: draft.room_id.map(ToOwned::to_owned),
        room_id,
        sender: draft.sender.to_owned(),
        event_type: draft.event_type.clone(),
        state_key: draft.state_key.map(ToOwned::to_owned),
        origin_server_ts: draft.origin_server_ts,
        depth: draft.depth,
        prev_events: draft.prev_events.to_vec(),
        auth_events: draft.auth_events.to_vec(),
        content: content.full,
        redacts: content.redacts,
        rejected: false,
    })
}
