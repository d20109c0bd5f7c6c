//! Our evaluation says what ruma's says, whatever the rules and the events.

use std::collections::BTreeMap;

use futures::FutureExt;
use proptest::prelude::*;
use ruma::{
    Int, OwnedUserId, UInt, owned_room_id, owned_user_id,
    power_levels::NotificationPowerLevels,
    push::{PushConditionPowerLevelsCtx, PushConditionRoomCtx},
    room_version_rules::RoomPowerLevelsRules,
    serde::Raw,
};
use serde_json::{Value, json};

use super::*;

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(vec![
            "m.room.message", "m.room.member", "m.room.encrypted", "m.reaction", "m.notice", "m.text", "m.replace",
            "invite", "join", "@ann:example.org", "@Ann:Example.org", "@ben:example.org", "cake", "Ann", "",
            "I have cake for ann", "@room look", "pancake cakes cake_ cake", "!room:example.org", "a b\na", "ÜBER über",
        ]).prop_map(str::to_owned),
        2 => "[abA_ \n*?.üΣ-]{0,12}",
    ]
}

/// Without wildcards side by side: in bodies, ruma 0.17 takes the second of them for the character itself.
fn patterns() -> impl Strategy<Value = String> {
    let patterns = prop_oneof![
        2 => texts(),
        1 => proptest::sample::select(vec!["*", "?", "m.*", "*cake*", "c?ke", "a*", "*a", "@*:example.org"])
            .prop_map(str::to_owned),
        2 => "[abA_ *?ü.-]{0,6}",
    ];
    patterns.prop_map(|pattern| {
        let mut pattern: Vec<char> = pattern.chars().collect();
        pattern.dedup_by(|a, b| matches!(a, '*' | '?') && matches!(b, '*' | '?'));
        pattern.into_iter().collect()
    })
}

fn paths() -> impl Strategy<Value = String> {
    let known = vec![
        "type",
        "sender",
        "state_key",
        "room_id",
        "content.body",
        "content.msgtype",
        "content.membership",
        r"content.m\.mentions.user_ids",
        r"content.m\.mentions.room",
        r"content.m\.relates_to.rel_type",
        r"content.m\.mentions",
        "content",
        "content.n",
        r"content.a\\b.c",
        "content.list",
        "content.x.y",
    ];
    proptest::sample::select(known).prop_map(str::to_owned)
}

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        Just(json!(9_007_199_254_740_992_i64)),
        texts().prop_map(Value::from),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![4 => scalars(), 1 => Just(json!(0.5)), 1 => Just(json!({})), 1 => Just(json!(u64::MAX))];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[xyn.]{1,2}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn events() -> impl Strategy<Value = Value> {
    let keys = vec!["body", "msgtype", "membership", "m.mentions", "m.relates_to", "n", "a\\b", "list", "x", "y"];
    let mentions = prop_oneof![
        Just(json!({})),
        Just(json!({"room": true})),
        Just(json!({"user_ids": ["@ann:example.org"]})),
        Just(json!({"user_ids": ["@ben:example.org", 3]})),
        values(),
    ];
    let content = proptest::collection::btree_map(proptest::sample::select(keys), values(), 0..5);
    let body = proptest::option::of(texts());
    let state_key = proptest::option::of(texts());
    (texts(), proptest::option::of(texts()), state_key, content, body, proptest::option::of(mentions)).prop_map(
        |(kind, sender, state_key, content, body, mentions)| {
            let mut content: serde_json::Map<_, _> =
                content.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            content.extend(body.map(|body| ("body".to_owned(), Value::from(body))));
            content.extend(mentions.map(|mentions| ("m.mentions".to_owned(), mentions)));
            let mut event = json!({"type": kind, "content": content});
            if let Some(event) = event.as_object_mut() {
                event.extend(sender.map(|sender| ("sender".to_owned(), Value::from(sender))));
                event.extend(state_key.map(|key| ("state_key".to_owned(), Value::from(key))));
            }
            event
        },
    )
}

fn conditions() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (paths(), patterns())
            .prop_map(|(key, pattern)| json!({"kind": "event_match", "key": key, "pattern": pattern})),
        2 => (paths(), scalars().prop_filter("integers of Matrix", |value| value.as_i64().is_none_or(|n| n < 1 << 53)))
            .prop_map(|(key, value)| json!({"kind": "event_property_is", "key": key, "value": value})),
        2 => (paths(), texts())
            .prop_map(|(key, value)| json!({"kind": "event_property_contains", "key": key, "value": value})),
        1 => Just(json!({"kind": "contains_display_name"})),
        1 => ("(|==|<|>|<=|>=)", 0u8..4)
            .prop_map(|(op, n)| json!({"kind": "room_member_count", "is": format!("{op}{n}")})),
        1 => proptest::sample::select(vec!["room", "other"])
            .prop_map(|key| json!({"kind": "sender_notification_permission", "key": key})),
        1 => Just(json!({"kind": "org.example.unknown", "x": 1})),
    ]
}

/// Rules with sounds that tell them apart.
fn rulesets() -> impl Strategy<Value = Ruleset> {
    let conditional = || {
        let conditions = proptest::collection::vec(conditions(), 0..3);
        let ids = vec!["", ".m.rule.contains_display_name", ".m.rule.roomnotif"];
        (conditions, any::<bool>(), proptest::sample::select(ids))
            .prop_map(|(conditions, enabled, id)| json!({"conditions": conditions, "enabled": enabled, "id": id}))
    };
    let content = (patterns(), any::<bool>(), proptest::sample::select(vec!["", ".m.rule.contains_user_name"]))
        .prop_map(|(pattern, enabled, id)| json!({"pattern": pattern, "enabled": enabled, "id": id}));
    let lists = (
        proptest::collection::vec(conditional(), 0..4),
        proptest::collection::vec(content, 0..3),
        proptest::collection::vec(conditional(), 0..3),
        proptest::option::of(proptest::sample::select(vec!["!room:example.org", "!other:example.org"])),
        proptest::option::of(proptest::sample::select(vec!["@ben:example.org", "@*:example.org"])),
        any::<bool>(),
    );
    lists.prop_map(|(override_, content, underride, room, sender, defaults)| {
        let named = |kind: &str, rules: Vec<Value>| -> Vec<Value> {
            let rule = |(n, mut rule): (usize, Value)| {
                let id = match rule["id"].as_str() {
                    Some(id) if !id.is_empty() => id.to_owned(),
                    _ => format!("{kind}{n}"),
                };
                rule["rule_id"] = id.into();
                rule["default"] = false.into();
                rule["actions"] = json!(["notify", {"set_tweak": "sound", "value": format!("{kind}{n}")}]);
                rule
            };
            rules.into_iter().enumerate().map(rule).collect()
        };
        let simple = |id: Option<&str>| -> Vec<Value> {
            let rule = |id| json!({"rule_id": id, "default": false, "enabled": true, "actions": [{"set_tweak": "sound", "value": id}]});
            id.into_iter().map(rule).collect()
        };
        let rules = json!({
            "override": named("o", override_), "content": named("c", content), "underride": named("u", underride),
            "room": simple(room), "sender": simple(sender),
        });
        let mut rules: Ruleset = serde_json::from_value(rules).unwrap();
        if defaults {
            rules.update_with_server_default(server_default(user_id!("@ann:example.org")));
        }
        rules
    })
}

fn power_levels() -> PushConditionPowerLevelsCtx {
    let users: BTreeMap<OwnedUserId, Int> = [(owned_user_id!("@ben:example.org"), Int::from(60))].into();
    let rules = RoomPowerLevelsRules::new(&ruma::RoomVersionId::V11.rules().unwrap().authorization, None);
    PushConditionPowerLevelsCtx::new(users, Int::from(0), NotificationPowerLevels::new(), rules)
}

fn by_ruma(rules: &Ruleset, event: &str, context: &PushConditionRoomCtx) -> Actions {
    let event: Raw<Value> = Raw::from_json_string(event.to_owned()).unwrap();
    let actions = rules.get_actions(&event, context).now_or_never().unwrap();
    Actions {
        notify: actions.iter().any(Action::should_notify),
        highlight: actions.iter().any(Action::is_highlight),
        sound: actions.iter().find_map(Action::sound).map(|sound| sound.as_str().into()),
        custom: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn our_evaluation_agrees_with_ruma(
        rules in rulesets(),
        events in proptest::collection::vec(events(), 8),
        display_name in patterns(),
        member_count in 0u32..4,
        with_power_levels: bool,
    ) {
        let (user_id, room_id) = (user_id!("@ann:example.org"), owned_room_id!("!room:example.org"));
        let power_levels = with_power_levels.then(power_levels);
        let mut theirs = PushConditionRoomCtx::new(
            room_id.clone(), UInt::from(member_count), user_id.to_owned(), display_name.clone(),
        );
        theirs.power_levels = power_levels.clone();
        let ours = PushContext {
            user_id,
            room_id: &room_id,
            member_count: member_count.into(),
            display_name: &display_name,
            power_levels: power_levels.as_ref(),
            follows_thread: None,
        };
        let compiled = CompiledRules::new(&rules, user_id);
        for event in events {
            let text = event.to_string();
            let parsed = PushEvent::parse(&text).unwrap();
            let expected = by_ruma(&rules, &text, &theirs);
            prop_assert_eq!(compiled.evaluate(&parsed, &ours), &expected, "{} by {:#?}", text, rules);
        }
    }

    #[test]
    fn the_default_rules_of_anybody_serve_everybody(event in events(), member_count in 0u64..4) {
        let text = event.to_string();
        let event = PushEvent::parse(&text).unwrap();
        let power_levels = power_levels();
        let user_id = user_id!("@ann:example.org");
        let context = PushContext {
            user_id,
            room_id: ruma::room_id!("!room:example.org"),
            member_count,
            display_name: "Ann",
            power_levels: Some(&power_levels),
            follows_thread: None,
        };
        let anybody = user_id!("@anybody:server");
        let shared = CompiledRules::new(&server_default(anybody), anybody);
        let own = CompiledRules::new(&server_default(user_id), user_id);
        prop_assert_eq!(shared.evaluate(&event, &context), own.evaluate(&event, &context));
    }

    #[test]
    fn any_text_is_either_refused_or_taken_apart(text in "[{}\\[\\]\":,a0\\\\ .-]{0,40}") {
        let parsed = PushEvent::parse(&text).is_ok();
        let object = serde_json::from_str::<serde_json::Map<String, Value>>(&text).is_ok();
        prop_assert_eq!(parsed, object);
    }
}

#[test]
fn long_paths_do_not_multiply() {
    let fields: Vec<_> = (0..2000).map(|n| format!("\"{n}\":1")).collect();
    let text = format!("{{\"{}\":{{{}}}}}", "k".repeat(30_000), fields.join(","));
    let event = PushEvent::parse(&text).unwrap();
    assert_eq!(event.get("k"), None);
    let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    assert!(PushEvent::parse(&deep).is_err());
}
