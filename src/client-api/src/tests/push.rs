use serde_json::{Value, json};

use crate::testing::TestApp;

const RULES: &str = "/v3/pushrules/global";

fn ids(rules: &Value) -> Vec<&str> {
    rules.as_array().unwrap().iter().map(|rule| rule["rule_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn users_start_with_the_default_rules() {
    let test = TestApp::new(&["alice"]).await;
    let all = test.get("alice", "/v3/pushrules/").await.ok();
    let global = test.get("alice", "/v3/pushrules/global/").await.ok();
    assert_eq!(all["global"], global);
    assert_eq!(ids(&global["override"])[0], ".m.rule.master");
    let rule = test.get("alice", &format!("{RULES}/override/.m.rule.is_user_mention")).await.ok();
    assert_eq!((&rule["default"], &rule["enabled"]), (&json!(true), &json!(true)));
    test.get("alice", &format!("{RULES}/override/none")).await.refused(404, "M_NOT_FOUND");
    test.get("alice", &format!("{RULES}/strange/.m.rule.master")).await.refused(404, "M_NOT_FOUND");
    assert_eq!(test.get("alice", "/v3/pushers").await.ok(), json!({"pushers": []}));
    test.get("", "/v3/pushrules/").await.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn rules_are_made_placed_changed_and_removed() {
    let test = TestApp::new(&["alice"]).await;
    let rule = |pattern: &str| json!({"pattern": pattern, "actions": ["notify"]});
    test.put("alice", &format!("{RULES}/content/a"), rule("a")).await.ok();
    test.put("alice", &format!("{RULES}/content/b"), rule("b")).await.ok();
    test.put("alice", &format!("{RULES}/content/c?after=b"), rule("c")).await.ok();
    test.put("alice", &format!("{RULES}/content/d?before=c"), rule("d")).await.ok();
    let global = test.get("alice", "/v3/pushrules/global/").await.ok();
    assert_eq!(ids(&global["content"])[..4], ["b", "d", "c", "a"]);

    let enabled = format!("{RULES}/content/a/enabled");
    assert_eq!(test.get("alice", &enabled).await.ok(), json!({"enabled": true}));
    test.put("alice", &enabled, json!({"enabled": false})).await.ok();
    assert_eq!(test.get("alice", &enabled).await.ok(), json!({"enabled": false}));
    let actions = format!("{RULES}/override/.m.rule.tombstone/actions");
    test.put("alice", &actions, json!({"actions": ["notify"]})).await.ok();
    assert_eq!(test.get("alice", &actions).await.ok(), json!({"actions": ["notify"]}));
    test.delete("alice", &format!("{RULES}/content/a")).await.ok();
    test.get("alice", &format!("{RULES}/content/a")).await.refused(404, "M_NOT_FOUND");

    test.delete("alice", &format!("{RULES}/content/a")).await.refused(404, "M_NOT_FOUND");
    test.delete("alice", &format!("{RULES}/override/.m.rule.master")).await.refused(400, "M_INVALID_PARAM");
    test.put("alice", &format!("{RULES}/content/.mine"), rule("a")).await.refused(400, "M_INVALID_PARAM");
    test.put("alice", &format!("{RULES}/content/e?before=none"), rule("a")).await.refused(404, "M_NOT_FOUND");
    test.put("alice", &format!("{RULES}/strange/e"), rule("a")).await.refused(400, "M_INVALID_PARAM");
    test.put("alice", &format!("{RULES}/content/e"), json!({"actions": []})).await.refused(400, "M_MISSING_PARAM");
    test.put("alice", &enabled, json!({"enabled": true})).await.refused(404, "M_NOT_FOUND");
    test.put("alice", &format!("{RULES}/content/b/actions"), json!({"actions": 3})).await.refused(400, "M_BAD_JSON");
    test.get("alice", &format!("{RULES}/content/none/enabled")).await.refused(404, "M_NOT_FOUND");
    test.get("alice", &format!("{RULES}/content/none/actions")).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_rule_without_conditions_matches_everything() {
    let test = TestApp::new(&["alice", "bob"]).await;
    for kind in ["override", "underride"] {
        let path = format!("/v3/pushrules/global/{kind}/all");
        test.put("bob", &path, json!({"actions": ["notify"]})).await.ok();
        assert_eq!(test.get("bob", &path).await.ok()["conditions"], json!([]));
        test.put("bob", &path, json!({})).await.refused(400, "M_MISSING_PARAM");
        test.put("bob", &path, json!(["notify"])).await.refused(400, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn counts_in_sync_follow_the_rules() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["bob", "alice"]).await;
    let counts = |sync: &Value| {
        let counts = &sync["rooms"]["join"][&room]["unread_notifications"];
        (counts["notification_count"].as_u64().unwrap(), counts["highlight_count"].as_u64().unwrap())
    };
    let read = test.say("bob", &room, "hello").await;
    test.post("alice", &format!("/v3/rooms/{room}/receipt/m.read/{read}"), json!({})).await.ok();
    let start = test.sync("alice", None).await;
    assert_eq!(counts(&start), (0, 0));
    let since = start["next_batch"].as_str().unwrap().to_owned();
    test.say("bob", &room, "one").await;
    let news = test.sync("alice", Some(&since)).await;
    assert_eq!(counts(&news), (1, 0));

    let rule = json!({"pattern": "dinner", "actions": ["notify", {"set_tweak": "highlight"}]});
    test.put("alice", &format!("{RULES}/content/dinner"), rule).await.ok();
    let since = test.sync("alice", Some(news["next_batch"].as_str().unwrap())).await;
    assert_eq!(since["account_data"]["events"][0]["type"], "m.push_rules", "other devices learn of the rule");
    test.say("bob", &room, "who pays the dinner?").await;
    let news = test.sync("alice", Some(since["next_batch"].as_str().unwrap())).await;
    assert_eq!(counts(&news), (2, 1));

    test.put("alice", &format!("{RULES}/room/{room}"), json!({"actions": []})).await.ok();
    test.put("alice", &format!("{RULES}/content/dinner/enabled"), json!({"enabled": false})).await.ok();
    test.say("bob", &room, "the dinner was good").await;
    let last = test.sync("alice", Some(news["next_batch"].as_str().unwrap())).await;
    assert_eq!(counts(&last), (2, 1), "a muted room counts nothing");
}
