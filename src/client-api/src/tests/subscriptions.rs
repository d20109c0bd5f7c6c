use serde_json::{Value, json};

use crate::testing::TestApp;

const RULES: &str = "/v3/pushrules/global";

fn path(room: &str, root: &str) -> String {
    format!("/unstable/io.element.msc4306/rooms/{room}/thread/{root}/subscription")
}

async fn reply(test: &TestApp, who: &str, room: &str, root: &str, text: &str) -> String {
    let relation = json!({"rel_type": "m.thread", "event_id": root});
    test.send(who, room, "m.room.message", json!({"msgtype": "m.text", "body": text, "m.relates_to": relation})).await
}

async fn slide(test: &TestApp, pos: Option<&str>, limit: usize) -> (String, Value) {
    const KEY: &str = "io.element.msc4308.thread_subscriptions";
    let at = pos.map(|pos| format!("?pos={pos}")).unwrap_or_default();
    let path = format!("/unstable/org.matrix.simplified_msc3575/sync{at}");
    let told = test.post("bob", &path, json!({"extensions": {KEY: {"enabled": true, "limit": limit}}})).await.ok();
    (told["pos"].as_str().unwrap().to_owned(), told["extensions"][KEY].clone())
}

/// How many notifications Bob's next sync counts in a room.
async fn unread(test: &TestApp, room: &str) -> Value {
    test.sync("bob", None).await["rooms"]["join"][room]["unread_notifications"]["notification_count"].clone()
}

#[tokio::test]
async fn a_thread_is_followed_and_left() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let root = test.say("alice", &room, "root").await;
    let path = path(&room, &root);
    test.get("bob", &path).await.refused(404, "M_NOT_FOUND");
    test.put("bob", &path, json!({})).await.ok();
    assert_eq!(test.get("bob", &path).await.ok(), json!({"automatic": false}));
    test.get("alice", &path).await.refused(404, "M_NOT_FOUND");
    test.delete("bob", &path).await.ok();
    test.delete("bob", &path).await.ok();
    test.get("bob", &path).await.refused(404, "M_NOT_FOUND");
    for missing in [self::path(&room, "$none"), self::path("!none:hs", &root)] {
        test.put("bob", &missing, json!({})).await.refused(404, "M_NOT_FOUND");
        test.get("bob", &missing).await.refused(404, "M_NOT_FOUND");
        test.delete("bob", &missing).await.refused(404, "M_NOT_FOUND");
    }
    test.put("carol", &path, json!({})).await.refused(404, "M_NOT_FOUND");
    test.put("", &path, json!({})).await.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn apps_follow_by_themselves_what_is_new() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let (root, other) = (test.say("alice", &room, "root").await, test.say("alice", &room, "other").await);
    let path = path(&room, &root);
    let elsewhere = reply(&test, "alice", &room, &other, "elsewhere").await;
    let one = reply(&test, "alice", &room, &root, "one").await;
    for cause in [&root, &elsewhere, "$none"] {
        let body = json!({"automatic": cause});
        test.put("bob", &path, body).await.refused(400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD");
    }
    test.put("bob", &path, json!({"automatic": one})).await.ok();
    assert_eq!(test.get("bob", &path).await.ok(), json!({"automatic": true}));
    test.put("bob", &path, json!({})).await.ok();
    test.put("bob", &path, json!({"automatic": one})).await.ok();
    assert_eq!(test.get("bob", &path).await.ok(), json!({"automatic": false}), "what people do stands");
    let two = reply(&test, "alice", &room, &root, "two").await;
    test.delete("bob", &path).await.ok();
    let three = reply(&test, "alice", &room, &root, "three").await;
    for old in [one, two] {
        let refused = test.put("bob", &path, json!({"automatic": old})).await;
        refused.refused(409, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION");
        test.get("bob", &path).await.refused(404, "M_NOT_FOUND");
    }
    test.put("bob", &path, json!({"automatic": three})).await.ok();
    assert_eq!(test.get("bob", &path).await.ok(), json!({"automatic": true}));
}

#[tokio::test]
async fn sliding_sync_tells_of_changes_and_the_rest_is_listed() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let mut roots = Vec::new();
    for n in 0..4 {
        roots.push(test.say("alice", &room, &format!("root {n}")).await);
    }
    let (pos, told) = slide(&test, None, 2).await;
    assert_eq!(told, Value::Null);
    for root in &roots {
        test.put("bob", &path(&room, root), json!({})).await.ok();
    }
    test.delete("bob", &path(&room, &roots[0])).await.ok();
    let (next, told) = slide(&test, Some(&pos), 2).await;
    let stamp = |told: &Value, kind: &str, root: &str| told[kind][&room][root]["bump_stamp"].as_u64();
    assert!(stamp(&told, "unsubscribed", &roots[0]) > stamp(&told, "subscribed", &roots[3]));
    assert_eq!(told["subscribed"][&room].as_object().unwrap().len(), 1);
    assert_eq!(told["subscribed"][&room][&roots[3]]["automatic"], false);

    let list = |query: String| {
        let test = &test;
        async move { test.get("bob", &format!("/unstable/io.element.msc4308/thread_subscriptions?{query}")).await }
    };
    let from = told["prev_batch"].as_str().unwrap().to_owned();
    let page = list(format!("dir=b&limit=1&from={from}&to={pos}")).await.ok();
    assert!(stamp(&page, "subscribed", &roots[2]).is_some() && page["unsubscribed"].is_null(), "{page}");
    let last = list(format!("dir=b&from={}&to={pos}", page["end"].as_str().unwrap())).await.ok();
    assert_eq!(last["subscribed"][&room].as_object().unwrap().keys().collect::<Vec<_>>(), [&roots[1]]);
    assert!(last["end"].is_null());
    let all = list("dir=b".to_owned()).await.ok();
    assert_eq!(all["subscribed"][&room].as_object().unwrap().len(), 3);
    for bad in ["", "dir=f", "dir=b&limit=0", "dir=b&from=x", "dir=b&to=x"] {
        assert_eq!(list(bad.to_owned()).await.status, 400, "{bad}");
    }
    let own = test.get("alice", "/unstable/io.element.msc4308/thread_subscriptions?dir=b").await.ok();
    assert_eq!(own, json!({}));

    // Nothing is told twice, and one who waits is told at once.
    assert_eq!(slide(&test, Some(&next), 2).await.1, Value::Null);
    let wait = async {
        let path = format!("/unstable/org.matrix.simplified_msc3575/sync?pos={next}&timeout=60000");
        let body = json!({"extensions": {"io.element.msc4308.thread_subscriptions": {"enabled": true}}});
        test.post("bob", &path, body).await.ok()
    };
    let subscribe = async {
        test.until_somebody_waits().await;
        test.put("bob", &path(&room, &roots[0]), json!({})).await.ok()
    };
    let (told, _) = futures::join!(wait, subscribe);
    let told = &told["extensions"]["io.element.msc4308.thread_subscriptions"]["subscribed"][&room];
    assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), [&roots[0]]);
}

#[tokio::test]
async fn who_follows_threads_is_notified_of_those_alone_and_nobody_else_notices() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let (one, two) = (test.say("alice", &room, "one").await, test.say("alice", &room, "two").await);
    reply(&test, "alice", &room, &one, "as ever").await;
    assert_eq!(unread(&test, &room).await, 3);
    assert!(test.get("bob", &format!("{RULES}/")).await.ok()["postcontent"].is_null());

    let since = test.sync("bob", None).await["next_batch"].as_str().unwrap().to_owned();
    test.put("bob", &path(&room, &one), json!({})).await.ok();
    let told = test.sync("bob", Some(&since)).await["account_data"]["events"].clone();
    assert_eq!(told[0]["type"], "m.push_rules");
    let rules = &test.get("bob", &format!("{RULES}/")).await.ok()["postcontent"];
    assert_eq!(told[0]["content"]["global"]["postcontent"], *rules);
    let ids: Vec<_> = rules.as_array().unwrap().iter().map(|rule| rule["rule_id"].as_str().unwrap()).collect();
    let expected = [".io.element.msc4306.rule.unsubscribed_thread", ".io.element.msc4306.rule.subscribed_thread"];
    assert_eq!(ids, expected);

    let receipt = test.say("alice", &room, "read").await;
    test.post("bob", &format!("/v3/rooms/{room}/receipt/m.read/{receipt}"), json!({})).await.ok();
    assert_eq!(unread(&test, &room).await, 0);
    reply(&test, "alice", &room, &two, "not for Bob").await;
    assert_eq!(unread(&test, &room).await, 0);
    reply(&test, "alice", &room, &one, "for Bob").await;
    assert_eq!(unread(&test, &room).await, 1);
    test.say("alice", &room, "in no thread").await;
    assert_eq!(unread(&test, &room).await, 2);
    // Whom somebody names is notified, follow or not.
    let relation = json!({"rel_type": "m.thread", "event_id": two});
    let mention =
        json!({"msgtype": "m.text", "body": "hey", "m.relates_to": relation, "m.mentions": {"user_ids": ["@bob:hs"]}});
    test.send("alice", &room, "m.room.message", mention).await;
    assert_eq!(unread(&test, &room).await, 3);
    // Who does not want what comes of it switches the rule off.
    let rule = format!("{RULES}/io.element.msc4306.postcontent/.io.element.msc4306.rule.unsubscribed_thread");
    assert_eq!(test.get("bob", &rule).await.ok()["default"], true);
    test.put("bob", &format!("{rule}/enabled"), json!({"enabled": false})).await.ok();
    reply(&test, "alice", &room, &two, "after all").await;
    assert_eq!(unread(&test, &room).await, 4);
    // Nobody adds rules of this kind, and who never followed a thread has none.
    let own = format!("{RULES}/io.element.msc4306.postcontent/mine");
    test.put("bob", &own, json!({"actions": [], "conditions": []})).await.refused(400, "M_INVALID_PARAM");
    test.get("alice", &rule).await.refused(404, "M_NOT_FOUND");
}
