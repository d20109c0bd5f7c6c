//! A membership event made from what another server proposes. Of the template no more is taken than the event's place in the room:
//! what it says, about whom and when is ours.

use std::collections::HashMap;

use room::{
    EventDraft, RoomVersionRules, SignedEvent,
    build::{LegacyIds, MAX_DEPTH, sign},
};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, RoomId, ServerName, UInt, UserId,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::RemoteError;
use crate::Federation;

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "type")]
    event_type: String,
    state_key: String,
    sender: OwnedUserId,
    room_id: String,
    content: Content,
    #[serde(default)]
    depth: u64,
    prev_events: Vec<Reference>,
    auth_events: Vec<Reference>,
}

#[derive(Deserialize)]
struct Content {
    membership: MembershipState,
    join_authorised_via_users_server: Option<OwnedUserId>,
}

/// An event's id, in versions 1 and 2 of rooms with its hash.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Id(OwnedEventId),
    Hashed(OwnedEventId, Hash),
}

/// Some servers leave the hash of an event out: nothing is checked by it.
#[derive(Deserialize)]
struct Hash {
    #[serde(default)]
    sha256: String,
}

/// What the event is to be.
pub(super) struct Wanted<'a> {
    pub(super) room_id: &'a RoomId,
    pub(super) user_id: &'a UserId,
    pub(super) membership: MembershipState,
    /// Everything in the content but for the membership and who vouches for it.
    pub(super) content: &'a Map<String, Value>,
}

impl Federation {
    /// Signs the event that a template of `server` proposes.
    ///
    /// # Errors
    /// [`RemoteError::BadAnswer`] where the template is of another room, user or membership.
    pub(super) fn sign_template(
        &self,
        server: &ServerName,
        template: &RawValue,
        rules: &RoomVersionRules,
        wanted: &Wanted<'_>,
    ) -> Result<SignedEvent, RemoteError> {
        let wire: Wire = serde_json::from_str(template.get()).map_err(|error| RemoteError::bad(server, error))?;
        if wire.event_type != "m.room.member"
            || wire.room_id != wanted.room_id.as_str()
            || wire.sender != wanted.user_id
            || wire.state_key != wanted.user_id.as_str()
            || wire.content.membership != wanted.membership
        {
            return Err(RemoteError::bad(server, "the event that it proposes is not the one that was asked for"));
        }
        let mut content = wanted.content.clone();
        content.insert("membership".to_owned(), wanted.membership.as_str().into());
        if let Some(voucher) = wire.content.join_authorised_via_users_server
            && wanted.membership == MembershipState::Join
            && rules.authorization.restricted_join_rule
        {
            // A server signs for its own users only.
            if voucher.server_name() != server {
                return Err(RemoteError::bad(server, "the user who is to vouch is not one of its own"));
            }
            content.insert("join_authorised_via_users_server".to_owned(), voucher.as_str().into());
        }
        let mut hashes = HashMap::new();
        let prev_events = ids(wire.prev_events, &mut hashes);
        let auth_events = ids(wire.auth_events, &mut hashes);
        let event_id = self.legacy_id();
        let draft = EventDraft {
            room_id: Some(wanted.room_id),
            sender: wanted.user_id,
            event_type: &TimelineEventType::RoomMember,
            state_key: Some(wanted.user_id.as_str()),
            content: &Value::Object(content).to_string(),
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.clock.now_ms())),
            depth: wire.depth.min(MAX_DEPTH),
            prev_events: &prev_events,
            auth_events: &auth_events,
            redacts: None,
            legacy: Some(LegacyIds { event_id: &event_id, hashes: &hashes }),
        };
        let identity = &self.engine.identity;
        sign(&draft, rules, &identity.server_name, &identity.key).map_err(|error| RemoteError::build(server, error))
    }

    /// A new id as versions 1 and 2 of rooms name events.
    fn legacy_id(&self) -> OwnedEventId {
        const LENGTH: usize = 18;
        let mut rng = self.rng.lock();
        let letter = |byte: u32| char::from(b'a' + u8::try_from(byte % 26).unwrap_or_default());
        let opaque: String = (0..LENGTH).map(|_| letter(rng.next_u32())).collect();
        EventId::parse(format!("${opaque}:{}", self.server_name()))
            .unwrap_or_else(|_| EventId::new_v1(self.server_name()))
    }
}

fn ids(references: Vec<Reference>, hashes: &mut HashMap<OwnedEventId, String>) -> Vec<OwnedEventId> {
    references
        .into_iter()
        .map(|reference| match reference {
            Reference::Id(id) => id,
            Reference::Hashed(id, hash) => {
                hashes.insert(id.clone(), hash.sha256);
                id
            }
        })
        .collect()
}
