//! Single events made up for tests.

use std::collections::HashMap;

use proptest::prelude::*;
use room::{
    RoomVersionRules,
    build::{self, BuildError, EventDraft, LegacyIds, MAX_DEPTH},
};
use ruma::{EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UInt, events::TimelineEventType, server_name};
use serde_json::Value;

use super::{ALICE, VERSIONS, key, rules, user};

/// Any JSON that is canonical, with awkward strings.
pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53) + 1..(1_i64 << 53)).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\x00-\\x7f]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

pub fn any_content() -> impl Strategy<Value = Value> {
    let known = prop_oneof![
        Just("membership"),
        Just("creator"),
        Just("users"),
        Just("redacts"),
        Just("join_rule"),
        Just("allow"),
        Just("invite"),
        Just("history_visibility"),
        Just("third_party_invite"),
        Just("aliases"),
        Just("body"),
        Just("ban"),
        Just("join_authorised_via_users_server"),
    ];
    let entry = (prop_oneof![known.prop_map(str::to_owned), any::<String>()], any_json());
    proptest::collection::vec(entry, 0..8).prop_map(|entries| Value::Object(entries.into_iter().collect()))
}

pub const TYPES: [&str; 10] = [
    "m.room.message",
    "m.room.member",
    "m.room.create",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.redaction",
    "m.room.history_visibility",
    "m.room.aliases",
    "m.room.server_acl",
    "org.example.\"odd\"\n",
];

#[derive(Debug)]
pub struct Made {
    pub rules: RoomVersionRules,
    pub event_type: TimelineEventType,
    pub state_key: Option<String>,
    pub content: String,
    pub redacts: Option<OwnedEventId>,
    pub ts: u64,
    pub depth: u64,
    pub references: Vec<OwnedEventId>,
    pub hashes: HashMap<OwnedEventId, String>,
}

impl Made {
    pub fn sign(&self) -> Result<build::SignedEvent, BuildError> {
        let id = EventId::parse("$own:one.example").unwrap();
        let room_id = RoomId::parse("!room:one.example").unwrap();
        let in_room = self.event_type != TimelineEventType::RoomCreate
            || !self.rules.authorization.room_create_event_id_as_room_id;
        let draft = EventDraft {
            room_id: in_room.then_some(&*room_id),
            sender: user(ALICE),
            event_type: &self.event_type,
            state_key: self.state_key.as_deref(),
            content: &self.content,
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new(self.ts).unwrap()),
            depth: self.depth,
            prev_events: &self.references,
            auth_events: &self.references,
            redacts: self.redacts.as_deref(),
            legacy: Some(LegacyIds { event_id: &id, hashes: &self.hashes }),
        };
        build::sign(&draft, &self.rules, server_name!("one.example"), &key())
    }
}

pub fn any_event() -> impl Strategy<Value = Made> {
    let parts = (
        0..VERSIONS.len(),
        0..TYPES.len(),
        proptest::option::of(any::<String>()),
        any_content(),
        any::<bool>(),
        0..1_u64 << 53,
        0..=MAX_DEPTH,
        proptest::collection::vec("[a-zA-Z0-9_/+-]{43}", 0..5),
    );
    parts.prop_map(|(version, event_type, state_key, content, redacts, ts, depth, references)| {
        let references: Vec<OwnedEventId> =
            references.iter().map(|hash| EventId::parse(format!("${hash}")).unwrap()).collect();
        Made {
            rules: rules(VERSIONS[version]),
            event_type: TimelineEventType::from(TYPES[event_type]),
            state_key: state_key.map(|key| key.chars().take(60).collect()),
            content: content.to_string(),
            redacts: redacts.then(|| EventId::parse("$target").unwrap()),
            ts,
            depth,
            hashes: references.iter().map(|id| (id.clone(), "hash".to_owned())).collect(),
            references,
        }
    })
}

pub fn made(version: &str, event_type: &str, content: &str) -> Made {
    Made {
        rules: rules(version),
        event_type: TimelineEventType::from(event_type),
        state_key: None,
        content: content.to_owned(),
        redacts: None,
        ts: 1,
        depth: 1,
        references: vec![],
        hashes: HashMap::new(),
    }
}

pub fn message(content: &str) -> Result<build::SignedEvent, BuildError> {
    made("12", "m.room.message", content).sign()
}
