use ruma::{
    push::{
        InsertPushRuleError, NewConditionalPushRule, NewPatternedPushRule, NewSimplePushRule, PredefinedOverrideRuleId,
    },
    room_id,
};

use super::*;
use crate::{Users, testing::Bench};

fn ann() -> &'static UserId {
    user_id!("@ann:example.org")
}

async fn users(bench: &Bench) -> Arc<Users> {
    let users = bench.users();
    assert_eq!(users.number(ann()).await.unwrap(), 1);
    users
}

fn keyword(word: &str) -> NewPushRule {
    let highlight = serde_json::from_str(r#"["notify",{"set_tweak":"highlight"}]"#).unwrap();
    NewPushRule::Content(NewPatternedPushRule::new(word.to_owned(), word.to_owned(), highlight))
}

fn override_rule(id: &str) -> NewPushRule {
    NewPushRule::Override(NewConditionalPushRule::new(id.to_owned(), vec![], vec![]))
}

async fn actions(users: &Users, body: &str) -> Actions {
    let event = serde_json::json!({
        "type": "m.room.message", "sender": "@ben:example.org", "content": {"msgtype": "m.text", "body": body},
    });
    let text = event.to_string();
    let context = PushContext {
        user_id: ann(),
        room_id: room_id!("!room:example.org"),
        member_count: 3,
        display_name: "Ann",
        power_levels: None,
        follows_thread: None,
    };
    let event = PushEvent::parse(&text).unwrap();
    users.push_rules.compiled(1).await.unwrap().evaluate(&event, &context).clone()
}

fn ids(rules: &Ruleset) -> Vec<&str> {
    rules.override_.iter().map(|rule| rule.rule_id.as_str()).collect()
}

#[tokio::test]
async fn rules_are_put_in_their_places_and_survive_a_restart() {
    let bench = Bench::new();
    let rules = &users(&bench).await.push_rules;
    rules.put(1, override_rule("b"), None, None).await.unwrap();
    rules.put(1, override_rule("a"), None, Some("b")).await.unwrap();
    rules.put(1, override_rule("c"), Some("b"), None).await.unwrap();
    let rules = &users(&bench).await.push_rules;
    assert_eq!(ids(&rules.get(1).await.unwrap())[..5], [".m.rule.master", "a", "b", "c", ".m.rule.suppress_notices"]);
    let refused = [
        (override_rule(".a"), None, None),
        (override_rule("a/b"), None, None),
        (override_rule("d"), Some(".m.rule.master"), None),
        (override_rule("d"), None, Some("nope")),
        (override_rule("d"), Some("c"), Some("a")),
    ];
    for (rule, after, before) in refused {
        assert!(matches!(rules.put(1, rule, after, before).await, Err(UsersError::InsertRule(_))));
    }
    let unknown = rules.put(1, override_rule("d"), Some("nope"), None).await;
    assert!(matches!(unknown, Err(UsersError::InsertRule(InsertPushRuleError::UnknownRuleId))));
    assert!(rules.get(1).await.unwrap().get(RuleKind::Override, "d").is_none());
}

#[tokio::test]
async fn default_rules_can_be_switched_off_and_not_removed() {
    let bench = Bench::new();
    let rules = &users(&bench).await.push_rules;
    let notices = PredefinedOverrideRuleId::SuppressNotices;
    rules.set_enabled(1, RuleKind::Override, notices.as_str(), false).await.unwrap();
    rules.set_actions(1, RuleKind::Underride, ".m.rule.message", vec![]).await.unwrap();
    let stored = users(&bench).await.push_rules.get(1).await.unwrap();
    assert!(!stored.get(RuleKind::Override, notices.as_str()).unwrap().enabled());
    assert!(stored.get(RuleKind::Underride, ".m.rule.message").unwrap().actions().is_empty());
    let removed = rules.delete(1, RuleKind::Override, notices.as_str()).await;
    assert!(matches!(removed, Err(UsersError::ServerDefaultRule)));
    for result in [
        rules.delete(1, RuleKind::Override, "nope").await,
        rules.set_enabled(1, RuleKind::Content, "nope", true).await,
        rules.set_actions(1, "m.unknown".into(), "nope", vec![]).await,
    ] {
        assert!(matches!(result, Err(UsersError::RuleNotFound)));
    }
}

#[tokio::test]
async fn compiled_rules_follow_every_change() {
    let bench = Bench::new();
    let users = users(&bench).await;
    let notify = Actions { notify: true, ..Actions::default() };
    assert_eq!(actions(&users, "more cake").await, notify);
    users.push_rules.put(1, keyword("cake"), None, None).await.unwrap();
    assert!(actions(&users, "more CAKE!").await.highlight);
    assert!(!actions(&users, "pancakes").await.highlight);
    users.push_rules.set_enabled(1, RuleKind::Content, "cake", false).await.unwrap();
    assert_eq!(actions(&users, "more cake").await, notify);
    users.push_rules.delete(1, RuleKind::Content, "cake").await.unwrap();
    users.push_rules.set_enabled(1, RuleKind::Override, ".m.rule.master", true).await.unwrap();
    assert_eq!(actions(&users, "more cake").await, Actions::default());
}

#[tokio::test]
async fn who_changed_nothing_shares_the_default_and_reads_nothing() {
    let bench = Bench::new();
    let users = users(&bench).await;
    users.number(user_id!("@ben:example.org")).await.unwrap();
    let ann = users.push_rules.compiled(1).await.unwrap();
    assert!(Arc::ptr_eq(&ann, &users.push_rules.compiled(2).await.unwrap()));
    let gets = users.core.db.stats().snapshot().gets;
    users.push_rules.compiled(1).await.unwrap();
    assert_eq!(users.core.db.stats().snapshot().gets, gets);
    let content = users.push_rules.content(1).await.unwrap();
    let content: serde_json::Value = serde_json::from_str(content.get()).unwrap();
    assert_eq!(content["global"]["override"][0]["rule_id"], ".m.rule.master");
}

#[tokio::test]
async fn what_a_rule_may_hold_is_bounded() {
    let users = users(&Bench::new()).await;
    let rules = &users.push_rules;
    let long = "?".repeat(200);
    let pattern = NewPushRule::Content(NewPatternedPushRule::new("a".to_owned(), long, vec![]));
    assert!(matches!(rules.put(1, pattern, None, None).await, Err(UsersError::TooLarge { .. })));
    let id =
        NewPushRule::Room(NewSimplePushRule::new(room_id!("!r:x").to_owned(), vec![Action::Notify; MAX_PARTS + 1]));
    assert!(matches!(rules.put(1, id, None, None).await, Err(UsersError::TooLarge { .. })));
    let id = override_rule(&"x".repeat(MAX_RULE_ID + 1));
    assert!(matches!(rules.put(1, id, None, None).await, Err(UsersError::InvalidId(_))));
    let body_glob = |n: usize| {
        let condition = serde_json::from_value(serde_json::json!({
            "kind": "event_match", "key": "content.body", "pattern": format!("a*{n}"),
        }));
        NewPushRule::Underride(NewConditionalPushRule::new(format!("g{n}"), vec![condition.unwrap()], vec![]))
    };
    for n in 0..MAX_BODY_GLOBS {
        rules.put(1, body_glob(n), None, None).await.unwrap();
    }
    let one_more = rules.put(1, body_glob(MAX_BODY_GLOBS), None, None).await;
    assert!(matches!(one_more, Err(UsersError::TooLarge { limit: MAX_BODY_GLOBS, .. })));
    for n in 0..MAX_BODY_GLOBS {
        rules.delete(1, RuleKind::Underride, &format!("g{n}")).await.unwrap();
    }
    let mut refused = None;
    for n in 0..=MAX_RULES {
        if let Err(error) = rules.put(1, override_rule(&format!("r{n}")), None, None).await {
            refused = Some((n, error));
            break;
        }
    }
    // Whichever limit comes first: the number, or what fits into account data.
    let (n, error) = refused.unwrap();
    assert!(n >= 400 && matches!(error, UsersError::TooLarge { .. }), "{n}: {error}");
}

#[tokio::test]
async fn tweaks_of_an_apps_own_are_kept_and_large_ones_are_not() {
    let bench = Bench::new();
    let users = users(&bench).await;
    let large = "x".repeat(2000);
    let actions_json = serde_json::json!([
        "notify", {"set_tweak": "sound", "value": "bing"}, {"set_tweak": "org.example.light", "value": {"blink": 3}},
        {"set_tweak": "org.example.bare"}, {"set_tweak": "org.example.large", "value": large},
    ]);
    let rule =
        NewPatternedPushRule::new("tea".to_owned(), "tea".to_owned(), serde_json::from_value(actions_json).unwrap());
    users.push_rules.put(1, NewPushRule::Content(rule), None, None).await.unwrap();
    let found = actions(&users, "time for tea").await;
    assert_eq!(found.sound.as_deref(), Some("bing"));
    let custom = serde_json::Value::Object((*found.custom.unwrap()).clone());
    let expected =
        serde_json::json!({"org.example.light": {"blink": 3}, "org.example.bare": null, "org.example.large": null});
    assert_eq!(custom, expected);
    assert_eq!(actions(&users, "coffee").await.custom, None);
}

#[tokio::test]
async fn polls_notify_as_other_messages_do_and_answers_to_them_do_not() {
    let bench = Bench::new();
    let users = users(&bench).await;
    let rules = serde_json::to_value(users.push_rules.get(1).await.unwrap()).unwrap();
    let rule = |kind: &str, id: &str| {
        let id = format!(".org.matrix.msc3930.rule.{id}");
        let rules = rules[kind].as_array().unwrap();
        let place = rules.iter().position(|rule| rule["rule_id"] == id).unwrap();
        (place, rules[place].clone())
    };
    let of_type = |kind: &str| serde_json::json!({"kind": "event_match", "key": "type", "pattern": format!("org.matrix.msc3381.poll.{kind}")});
    let (_, response) = rule("override", "poll_response");
    assert_eq!(
        (&response["conditions"], &response["actions"]),
        (&serde_json::json!([of_type("response")]), &serde_json::json!([]))
    );
    for kind in ["start", "end"] {
        let (alone, for_two) = rule("underride", &format!("poll_{kind}_one_to_one"));
        let (all, for_all) = rule("underride", &format!("poll_{kind}"));
        assert!(alone < all);
        assert_eq!(for_two["conditions"][1], of_type(kind));
        assert_eq!(for_two["actions"][1], serde_json::json!({"set_tweak": "sound", "value": "default"}));
        assert_eq!(
            (&for_all["conditions"], &for_all["actions"]),
            (&serde_json::json!([of_type(kind)]), &serde_json::json!(["notify"]))
        );
        let poll = serde_json::json!({
            "type": format!("org.matrix.msc3381.poll.{kind}"), "sender": "@ben:example.org", "content": {},
        });
        let text = poll.to_string();
        let context = PushContext {
            user_id: ann(),
            room_id: room_id!("!room:example.org"),
            member_count: 3,
            display_name: "Ann",
            power_levels: None,
            follows_thread: None,
        };
        let event = PushEvent::parse(&text).unwrap();
        assert!(users.push_rules.compiled(1).await.unwrap().evaluate(&event, &context).notify);
    }
}
