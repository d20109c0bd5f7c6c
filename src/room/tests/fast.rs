//! The parsed view decides as the full rules do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{ALICE, BOB, CAROL, DAVE, VERSIONS, odd, rules, user};
use proptest::prelude::*;
use room::{
    auth::{AuthError, check_dependent},
    fast::RoomAuthView,
    pdu::SharedPdu,
};
use ruma::{
    events::{
        StateEventType, TimelineEventType,
        room::{history_visibility::HistoryVisibility, member::MembershipState},
    },
    state_res::events::RoomPowerLevelsIntField as IntField,
};
use serde_json::{Value, json};

const USERS: [&str; 4] = [ALICE, BOB, CAROL, DAVE];
const TYPES: [&str; 10] = [
    "m.room.message",
    "m.room.topic",
    "m.room.redaction",
    "m.room.power_levels",
    "m.room.third_party_invite",
    "m.room.aliases",
    "m.room.member",
    "m.room.create",
    "m.reaction",
    "m.room.encrypted",
];
const MEMBERSHIPS: [&str; 6] = ["join", "invite", "leave", "ban", "knock", "odd"];
const JOIN_RULES: [&str; 6] = ["public", "invite", "knock", "restricted", "knock_restricted", "private"];

/// A level as rooms have them, or as they should not.
fn level() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => prop_oneof![Just(0_i64), Just(50), Just(100), -5..110_i64].prop_map(Value::from),
        1 => prop_oneof![Just("50"), Just(" 7 "), Just("+3"), Just("x"), Just("-1"), Just("1.5")].prop_map(Value::from),
        1 => prop_oneof![Just(Value::Null), Just(json!(true)), Just(json!([])), Just(json!({})), Just(json!(1.5))],
    ]
}

fn level_map(keys: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => proptest::collection::hash_map(proptest::sample::select(keys).prop_map(str::to_owned), level(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        1 => level(),
    ]
}

fn levels() -> impl Strategy<Value = Option<Value>> {
    const FIELDS: [&str; 7] = ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"];
    let ints =
        proptest::collection::hash_map(proptest::sample::select(&FIELDS[..]).prop_map(str::to_owned), level(), 0..7);
    let users = proptest::option::weighted(0.8, prop_oneof![6 => level_map(&USERS), 1 => level_map(&["nobody", BOB])]);
    let events = proptest::option::weighted(0.8, level_map(&TYPES));
    let object = (ints, users, events).prop_map(|(ints, users, events)| {
        let mut content: serde_json::Map<String, Value> = ints.into_iter().collect();
        content.extend(users.map(|users| ("users".to_owned(), users)));
        content.extend(events.map(|events| ("events".to_owned(), events)));
        Value::Object(content)
    });
    prop_oneof![8 => object.prop_map(Some), 1 => Just(None), 1 => Just(Some(json!([])))]
}

fn create_content() -> impl Strategy<Value = Value> {
    let federate = prop_oneof![
        4 => Just(json!({})), 1 => Just(json!({"m.federate": false})), 1 => Just(json!({"m.federate": true})),
        1 => Just(json!({"m.federate": "no"})),
    ];
    let creator =
        prop_oneof![4 => Just(json!(ALICE)), 1 => Just(json!(BOB)), 1 => Just(json!("nobody")), 1 => Just(Value::Null)];
    let more = prop_oneof![
        3 => Just(Value::Null), 2 => Just(json!([CAROL])), 1 => Just(json!([])), 1 => Just(json!(["nobody"])), 1 => Just(json!(3)),
    ];
    (federate, creator, more).prop_map(|(mut content, creator, more)| {
        if !creator.is_null() {
            content["creator"] = creator;
        }
        if !more.is_null() {
            content["additional_creators"] = more;
        }
        content
    })
}

/// A state, as the full check reads it, and the view of it.
#[derive(Debug, Clone)]
struct World {
    version: &'static str,
    create: SharedPdu,
    levels: Option<SharedPdu>,
    join_rules: Option<SharedPdu>,
    members: Vec<Option<SharedPdu>>,
}

fn event(
    version: &str,
    id: &str,
    event_type: &str,
    sender: &str,
    state_key: Option<&str>,
    content: &Value,
) -> SharedPdu {
    let legacy = matches!(version, "1" | "2");
    let mut event = json!({
        "auth_events": [], "content": content, "depth": 3, "origin_server_ts": 1, "prev_events": [], "sender": sender,
        "room_id": "!r:one.example", "type": event_type,
    });
    if let Some(state_key) = state_key {
        event["state_key"] = json!(state_key);
    }
    if version == "12" && event_type == "m.room.create" {
        event.as_object_mut().unwrap().remove("room_id");
    }
    if legacy {
        event["event_id"] = json!(id);
        event["prev_events"] = json!([["$prev:one.example", {}]]);
    } else {
        event["prev_events"] = json!(["$prev"]);
    }
    odd(version, id, &event)
}

fn world() -> impl Strategy<Value = World> {
    let rule = prop_oneof![
        8 => proptest::sample::select(&JOIN_RULES[..]).prop_map(|rule| Some(json!({"join_rule": rule}))),
        1 => Just(None), 1 => Just(Some(json!({"join_rule": 3}))),
    ];
    let member = prop_oneof![
        4 => Just(Some("join")), 4 => proptest::sample::select(&MEMBERSHIPS[..]).prop_map(Some), 1 => Just(None),
    ];
    let members = proptest::collection::vec(member, USERS.len());
    (proptest::sample::select(&VERSIONS[..]), create_content(), levels(), rule, members).prop_map(
        |(version, create, levels, rule, members)| World {
            version,
            create: event(version, "$create:one.example", "m.room.create", ALICE, Some(""), &create),
            levels: levels.map(|it| event(version, "$pl:one.example", "m.room.power_levels", ALICE, Some(""), &it)),
            join_rules: rule.map(|it| event(version, "$jr:one.example", "m.room.join_rules", ALICE, Some(""), &it)),
            members: members
                .into_iter()
                .zip(USERS)
                .map(|(membership, user)| {
                    let content = json!({"membership": membership?});
                    Some(event(version, "$m:one.example", "m.room.member", user, Some(user), &content))
                })
                .collect(),
        },
    )
}

impl World {
    fn view(&self) -> RoomAuthView {
        let rules = rules(self.version).authorization;
        RoomAuthView::new(&rules, &self.create, self.levels.as_deref(), self.join_rules.as_deref(), None)
    }

    fn membership(&self, who: &str) -> MembershipState {
        let event = USERS.iter().position(|user| *user == who).and_then(|position| self.members[position].clone());
        event.map_or(MembershipState::Leave, |event| event.membership().unwrap())
    }

    /// The full check.
    fn full(&self, sender: &str, event_type: &str, state_key: Option<&str>, content: &Value) -> bool {
        let event = event(self.version, "$new:one.example", event_type, sender, state_key, content);
        let state = |kind: &StateEventType, key: &str| -> Option<SharedPdu> {
            match (kind, key) {
                (StateEventType::RoomCreate, "") => Some(Arc::clone(&self.create)),
                (StateEventType::RoomPowerLevels, "") => self.levels.clone(),
                (StateEventType::RoomJoinRules, "") => self.join_rules.clone(),
                (StateEventType::RoomMember, who) => self.members[USERS.iter().position(|user| *user == who)?].clone(),
                _ => None,
            }
        };
        // A create event is refused for its place in the graph, by the rules that need no state.
        event.event_type != TimelineEventType::RoomCreate
            && check_dependent(&rules(self.version).authorization, &event, state).is_ok()
    }

    fn full_member(&self, sender: &str, target: &str, membership: &str) -> bool {
        self.full(sender, "m.room.member", Some(target), &json!({"membership": membership}))
    }
}

/// `None`: undecided.
fn verdict(result: Result<(), AuthError>) -> Option<bool> {
    match result {
        Ok(()) => Some(true),
        Err(AuthError::Denied(_)) => Some(false),
        Err(AuthError::Undecided) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn messages(world in world(), sender in 0..USERS.len(), kind in 0..TYPES.len()) {
        let (sender, kind) = (USERS[sender], TYPES[kind]);
        let membership = world.membership(sender);
        let fast = verdict(world.view().can_send_message_like(user(sender), &membership, &TimelineEventType::from(kind)));
        let full = world.full(sender, kind, None, &json!({}));
        match fast {
            Some(fast) => prop_assert_eq!(fast, full),
            None => prop_assert!(
                kind == "m.room.power_levels" || kind == "m.room.redaction" && matches!(world.version, "1" | "2")
            ),
        }
    }

    #[test]
    fn state(world in world(), sender in 0..USERS.len(), kind in 0..TYPES.len(),
             key in proptest::sample::select(&["", ALICE, BOB, CAROL, "@odd", "one.example", "two.example"][..])) {
        let (sender, kind) = (USERS[sender], TYPES[kind]);
        let membership = world.membership(sender);
        let fast = verdict(world.view().can_send_state(user(sender), &membership, &TimelineEventType::from(kind), key));
        let full = world.full(sender, kind, Some(key), &json!({}));
        match fast {
            Some(fast) => prop_assert_eq!(fast, full),
            None => prop_assert!(["m.room.member", "m.room.power_levels", "m.room.redaction"].contains(&kind)),
        }
    }

    #[test]
    fn memberships(world in world(), sender in 0..USERS.len(), target in 0..USERS.len()) {
        let (sender, target) = (USERS[sender], USERS[target]);
        let view = world.view();
        let (own, other) = (world.membership(sender), world.membership(target));
        let (by, on) = (user(sender), user(target));
        prop_assert_eq!(verdict(view.can_ban(by, &own, on)), Some(world.full_member(sender, target, "ban")), "ban");
        prop_assert_eq!(verdict(view.can_invite(by, &own, &other)), Some(world.full_member(sender, target, "invite")), "invite");
        let left = if sender == target { view.can_leave(by, &own) } else { view.can_kick(by, &own, on, &other) };
        prop_assert_eq!(verdict(left), Some(world.full_member(sender, target, "leave")), "leave");
        prop_assert_eq!(verdict(view.can_knock(by, &own)), Some(world.full_member(sender, sender, "knock")), "knock");
        if let Some(fast) = verdict(view.can_join(by, &own, None)) {
            prop_assert_eq!(fast, world.full_member(sender, sender, "join"), "join");
        }
        let vouched = json!({"membership": "join", "join_authorised_via_users_server": target});
        if let Some(fast) = verdict(view.can_join(by, &own, Some((on, &other)))) {
            prop_assert_eq!(fast, world.full(sender, "m.room.member", Some(sender), &vouched), "vouched for");
        }
    }
}

fn plain(version: &'static str, levels: Option<Value>) -> World {
    World {
        version,
        create: event(version, "$create:one.example", "m.room.create", ALICE, Some(""), &json!({"creator": ALICE})),
        levels: levels.map(|it| event(version, "$pl:one.example", "m.room.power_levels", ALICE, Some(""), &it)),
        join_rules: None,
        members: vec![None; 4],
    }
}

#[test]
fn levels_are_told() {
    let view =
        plain("10", Some(json!({"users": {BOB: 60}, "users_default": 5, "events": {"m.x": 7}, "ban": 61}))).view();
    assert_eq!(view.user_power_level(user(BOB)).unwrap(), ruma::Int::from(60));
    assert_eq!(view.user_power_level(user(CAROL)).unwrap(), ruma::Int::from(5));
    assert_eq!(view.level(IntField::Ban).unwrap(), ruma::Int::from(61));
    assert_eq!(view.level(IntField::Kick).unwrap(), ruma::Int::from(50));
    assert_eq!(view.event_power_level(&"m.x".into(), false).unwrap(), ruma::Int::from(7));
    assert_eq!(view.event_power_level(&"m.y".into(), true).unwrap(), ruma::Int::from(50));
    assert!(view.can_redact(user(CAROL), user(DAVE)).is_ok(), "same server");
    assert!(view.can_redact(user(CAROL), user(ALICE)).is_err());
    assert!(view.can_redact(user(BOB), user(CAROL)).is_ok(), "60 of 50");
    assert_eq!(view.creator(), ALICE);
    assert!(view.federates());
    assert_eq!(*view.history_visibility(), HistoryVisibility::Shared);
    assert!(view.join_rule().is_err());

    let without = plain("10", None).view();
    assert_eq!(without.user_power_level(user(ALICE)).unwrap(), ruma::Int::from(100));
    assert_eq!(without.user_power_level(user(BOB)).unwrap(), ruma::Int::from(0));
}
