//! Pushers and notifications, from the request to the gateway.

use std::sync::Arc;

use notify::Notify;
use ruma::OwnedDeviceId;
use serde_json::{Value, json};
use users::{devices::NewDevice, tokens::NewTokens};

use crate::testing::TestApp;

/// A server whose users have the devices that their tokens speak for, and which sends notifications.
async fn server(names: &[&str]) -> TestApp {
    let test = TestApp::new(names).await;
    for name in names {
        log_in(&test, name, &name.to_uppercase()).await;
    }
    let source = Arc::new(test.app.clone());
    tokio::spawn(Arc::clone(&test.app.notify).run(source, std::future::pending()));
    test
}

async fn log_in(test: &TestApp, name: &str, device: &str) {
    let user = test.app.users.accounts.find(name).await.unwrap().unwrap().num;
    let access = format!("{name}-{device}");
    let tokens = NewTokens { access: &access, expires_ts: None, refresh: None };
    let device = NewDevice { device_id: device.into(), display_name: None, tokens };
    test.app.users.devices.create(user, &device).await.unwrap();
}

fn pusher(key: &str) -> Value {
    json!({
        "app_id": "org.example.app", "pushkey": key, "kind": "http", "app_display_name": "Example", "lang": "en",
        "device_display_name": "Phone", "profile_tag": "p",
        "data": {"url": "https://push.example.org/_matrix/push/v1/notify", "custom": {"a": [1]}},
    })
}

async fn set(test: &TestApp, who: &str, body: Value) {
    test.post(who, "/v3/pushers/set", body).await.ok();
}

async fn keys(test: &TestApp, who: &str) -> Vec<String> {
    let listed = test.get(who, "/v3/pushers").await.ok();
    listed["pushers"].as_array().unwrap().iter().map(|row| row["pushkey"].as_str().unwrap().to_owned()).collect()
}

/// Nothing is on its way: whatever comes next is not of before.
async fn quiet(test: &TestApp) {
    for _ in 0..200 {
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(*test.gateway.taken.lock(), []);
}

#[tokio::test]
async fn pushers_are_set_changed_listed_and_deleted() {
    let test = server(&["alice"]).await;
    set(&test, "alice", pusher("one")).await;
    set(&test, "alice", pusher("two")).await;
    let mut changed = pusher("one");
    changed["device_display_name"] = json!("Tablet");
    set(&test, "alice", changed.clone()).await;
    let listed = test.get("alice", "/v3/pushers").await.ok();
    assert_eq!(listed, json!({"pushers": [changed, pusher("two")]}));
    let gone = json!({"app_id": "org.example.app", "pushkey": "one", "kind": null});
    set(&test, "alice", gone.clone()).await;
    set(&test, "alice", gone).await;
    assert_eq!(keys(&test, "alice").await, ["two"]);
    test.get("", "/v3/pushers").await.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn what_cannot_be_served_is_refused() {
    let test = server(&["alice"]).await;
    let with = |path: &[&str], value: Value| {
        let mut body = pusher("key");
        let (last, above) = path.split_last().unwrap();
        let place = above.iter().fold(&mut body, |place, name| &mut place[*name]);
        place[*last] = value;
        body
    };
    let url = |url: &str| with(&["data", "url"], json!(url));
    let refused = [
        with(&["app_id"], json!("a".repeat(65))),
        with(&["app_id"], json!("")),
        with(&["pushkey"], json!("k".repeat(513))),
        with(&["pushkey"], json!("")),
        with(&["kind"], json!("email")),
        with(&["kind"], json!("pigeon")),
        with(&["lang"], json!("x".repeat(256))),
        with(&["data", "format"], json!("everything")),
        with(&["data", "large"], json!("x".repeat(5000))),
        url("http://push.example.org/_matrix/push/v1/notify"),
        url("https://push.example.org/_matrix/push/v1/notify/more"),
        url("https://push.example.org/"),
        url("https://ann:secret@push.example.org/_matrix/push/v1/notify"),
        url("nothing"),
    ];
    for body in refused {
        test.post("alice", "/v3/pushers/set", body).await.refused(400, "M_INVALID_PARAM");
    }
    for missing in ["lang", "data", "app_display_name", "device_display_name", "pushkey"] {
        let mut body = pusher("key");
        body.as_object_mut().unwrap().remove(missing);
        let answer = test.post("alice", "/v3/pushers/set", body).await;
        assert_eq!(answer.status, 400, "{missing}: {}", answer.json);
    }
    set(&test, "alice", with(&["app_id"], json!("ä".repeat(64)))).await;
    set(&test, "alice", with(&["pushkey"], json!("k".repeat(512)))).await;
    for nth in 0..48 {
        set(&test, "alice", pusher(&nth.to_string())).await;
    }
    test.post("alice", "/v3/pushers/set", pusher("one more")).await.refused(400, "M_UNKNOWN");
    set(&test, "alice", pusher("7")).await;
}

#[tokio::test]
async fn a_pushkey_belongs_to_one_user_unless_it_is_to_be_added() {
    let test = server(&["alice", "bob", "carol"]).await;
    set(&test, "alice", pusher("key")).await;
    set(&test, "alice", pusher("other")).await;
    let mut added = pusher("key");
    added["append"] = json!(true);
    set(&test, "bob", added).await;
    assert_eq!((keys(&test, "alice").await.len(), keys(&test, "bob").await.len()), (2, 1));
    set(&test, "carol", pusher("key")).await;
    assert_eq!(keys(&test, "alice").await, ["other"]);
    assert!(keys(&test, "bob").await.is_empty());
    assert_eq!(keys(&test, "carol").await, ["key"]);
}

#[tokio::test]
async fn pushers_go_with_their_device() {
    let test = server(&["alice"]).await;
    log_in(&test, "alice", "PHONE").await;
    set(&test, "alice", pusher("desk")).await;
    set(&test, "alice:PHONE", pusher("phone")).await;
    set(&test, "alice", pusher("moved")).await;
    set(&test, "alice:PHONE", pusher("moved")).await;
    let user = test.app.users.accounts.find("alice").await.unwrap().unwrap().num;
    test.app.users.devices.delete(user, &[OwnedDeviceId::from("PHONE")]).await.unwrap();
    assert_eq!(keys(&test, "alice").await, ["desk"]);
    // Whose request was under way when the device went.
    test.post("alice:PHONE", "/v3/pushers/set", pusher("late")).await.refused(401, "M_UNKNOWN_TOKEN");
    test.app.users.deactivate(user).await.unwrap();
    assert!(test.app.notify.list(user).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_reaches_the_gateway_with_all_that_belongs_to_it() {
    let test = server(&["alice", "bob", "carol"]).await;
    test.put("bob", "/v3/profile/@bob:hs/displayname", json!({"displayname": "Bob"})).await.ok();
    let room = test.public_room(&["bob", "alice", "carol"]).await;
    test.set("bob", &room, "m.room.name", "", json!({"name": "Dinner"})).await.ok();
    test.say("bob", &room, "before the pusher").await;
    let last = test.say("bob", &room, "read").await;
    test.post("alice", &format!("/v3/rooms/{room}/receipt/m.read/{last}"), json!({})).await.ok();
    set(&test, "alice", pusher("key")).await;
    test.say("alice", &room, "her own").await;
    let sent = test.say("bob", &room, "hello").await;
    let first = test.gateway.next().await;
    let expected = json!({
        "event_id": sent, "room_id": room, "type": "m.room.message", "sender": "@bob:hs", "sender_display_name": "Bob",
        "room_name": "Dinner", "user_is_target": false, "content": {"msgtype": "m.text", "body": "hello"},
        "prio": "low", "counts": {"unread": 1},
        "devices": [{
            "app_id": "org.example.app", "pushkey": "key", "pushkey_ts": 1_700_000_000, "data": {"custom": {"a": [1]}},
        }],
    });
    assert_eq!(first, expected);
    let mention = json!({"msgtype": "m.text", "body": "pay, Alice", "m.mentions": {"user_ids": ["@alice:hs"]}});
    test.send("carol", &room, "m.room.message", mention).await;
    let second = test.gateway.next().await;
    assert_eq!((&second["prio"], &second["counts"]), (&json!("high"), &json!({"unread": 2})));
    assert_eq!(second["devices"][0]["tweaks"], json!({"highlight": true, "sound": "default"}));
    quiet(&test).await;
}

#[tokio::test]
async fn ids_are_all_that_an_app_gets_which_asks_for_no_more() {
    let test = server(&["alice", "bob"]).await;
    let room = test.public_room(&["bob", "alice"]).await;
    let mut ids = pusher("key");
    ids["data"]["format"] = json!("event_id_only");
    set(&test, "alice", ids).await;
    let secret = json!({"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"});
    let sent = test.send("bob", &room, "m.room.encrypted", secret).await;
    let data = json!({"format": "event_id_only", "custom": {"a": [1]}});
    let notification = test.gateway.next().await;
    let device = json!({"app_id": "org.example.app", "pushkey": "key", "pushkey_ts": 1_700_000_000, "data": data,
        "tweaks": {"sound": "default"}});
    let expected =
        json!({"event_id": sent, "room_id": room, "prio": "high", "counts": {"unread": 1}, "devices": [device]});
    assert_eq!(notification, expected);
}

#[tokio::test]
async fn reading_elsewhere_changes_the_number_on_the_phone() {
    let test = server(&["alice", "bob"]).await;
    let room = test.public_room(&["bob", "alice"]).await;
    let other = test.public_room(&["bob", "alice"]).await;
    set(&test, "alice", pusher("key")).await;
    let first = test.say("bob", &room, "one").await;
    assert_eq!(test.gateway.next().await["counts"], json!({"unread": 1}));
    let second = test.say("bob", &other, "two").await;
    assert_eq!(test.gateway.next().await["counts"], json!({"unread": 2}));
    test.post("alice", &format!("/v3/rooms/{room}/receipt/m.read/{first}"), json!({})).await.ok();
    let device = json!({"app_id": "org.example.app", "pushkey": "key", "pushkey_ts": 1_700_000_000, "data": {"custom": {"a": [1]}}});
    let badge = json!({"prio": "low", "counts": {"unread": 1}, "devices": [device]});
    assert_eq!(test.gateway.next().await, badge);
    test.post("alice", &format!("/v3/rooms/{other}/receipt/m.read.private/{second}"), json!({})).await.ok();
    assert_eq!(test.gateway.next().await["counts"], json!({"unread": 0}));
    test.say("bob", &room, "three").await;
    assert_eq!(test.gateway.next().await["counts"], json!({"unread": 1}));
    test.post("alice", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    assert_eq!(test.gateway.next().await["counts"], json!({"unread": 0}));
    quiet(&test).await;
}

#[tokio::test]
async fn invitations_notify_and_what_rules_or_the_user_mute_does_not() {
    let test = server(&["alice", "bob", "carol", "dora"]).await;
    set(&test, "alice", pusher("key")).await;
    test.put("bob", "/v3/profile/@bob:hs/displayname", json!({"displayname": "Bob"})).await.ok();
    let room = test.room("bob", json!({"name": "Trip", "invite": ["@alice:hs"]})).await;
    let invitation = test.gateway.next().await;
    let about = |field: &str| invitation[field].clone();
    assert_eq!(
        (about("type"), about("sender"), about("user_is_target")),
        (json!("m.room.member"), json!("@bob:hs"), json!(true))
    );
    assert_eq!((about("room_id"), about("room_name")), (json!(room), json!("Trip")));
    assert_eq!((about("content")["membership"].clone(), about("sender_display_name")), (json!("invite"), json!("Bob")));
    test.join("alice", &room).await.ok();
    test.put("alice", &format!("/v3/pushrules/global/room/{room}"), json!({"actions": []})).await.ok();
    test.say("bob", &room, "muted").await;
    let ignore = json!({"ignored_users": {"@carol:hs": {}}});
    test.put("alice", "/v3/user/@alice:hs/account_data/m.ignored_user_list", ignore).await.ok();
    test.room("carol", json!({"invite": ["@alice:hs"]})).await;
    let unwanted = json!({"ignored_users": ["@dora:hs"]});
    let path = "/v3/user/@alice:hs/account_data/org.matrix.msc4155.invite_permission_config";
    test.put("alice", path, unwanted).await.ok();
    test.room("dora", json!({"invite": ["@alice:hs"]})).await;
    let open = test.public_room(&["carol", "alice", "bob"]).await;
    test.say("carol", &open, "ignored").await;
    quiet(&test).await;
    let heard = test.say("bob", &open, "heard").await;
    assert_eq!(test.gateway.next().await["event_id"], json!(heard));
}

#[tokio::test]
async fn what_came_while_nothing_ran_is_sent_once_after_the_start() {
    let test = TestApp::new(&["alice", "bob"]).await;
    log_in(&test, "alice", "ALICE").await;
    let room = test.public_room(&["bob", "alice"]).await;
    set(&test, "alice", pusher("key")).await;
    let sent = [test.say("bob", &room, "one").await, test.say("bob", &room, "two").await];
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let notify: Arc<Notify> = Arc::clone(&test.app.notify);
    let first = tokio::spawn(notify.run(Arc::new(test.app.clone()), async move { drop(stopped.await) }));
    for id in &sent {
        assert_eq!(test.gateway.next().await["event_id"], json!(id));
    }
    stop.send(()).unwrap();
    first.await.unwrap();
    let read = test.say("bob", &room, "read before it could be sent").await;
    test.post("alice", &format!("/v3/rooms/{room}/receipt/m.read/{read}"), json!({})).await.ok();
    let third = test.say("bob", &room, "three").await;
    // As after a restart: what is in memory begins anew over the same store.
    let again = test.pushers();
    tokio::spawn(again.run(Arc::new(test.app.clone()), std::future::pending()));
    let next = test.gateway.next().await;
    assert_eq!((&next["event_id"], &next["counts"]), (&json!(third), &json!({"unread": 1})));
    quiet(&test).await;
}

#[tokio::test]
async fn notifications_are_listed_newest_first_page_by_page() {
    let test = server(&["alice", "bob"]).await;
    let one = test.public_room(&["bob", "alice"]).await;
    let two = test.public_room(&["bob", "alice"]).await;
    let mut sent = Vec::new();
    for nth in 0..30 {
        let room = if nth % 3 == 0 { &two } else { &one };
        let text = if nth == 4 { "for @alice:hs" } else { "hello" };
        let mention = if nth == 4 { json!({"user_ids": ["@alice:hs"]}) } else { json!({}) };
        let content = json!({"msgtype": "m.text", "body": text, "m.mentions": mention});
        sent.push(test.send("bob", room, "m.room.message", content).await);
        test.say("alice", room, "mine").await;
    }
    test.post("alice", &format!("/v3/rooms/{two}/receipt/m.read/{}", sent[15]), json!({})).await.ok();
    let mut listed = Vec::new();
    let mut from = String::new();
    loop {
        let page = test.get("alice", &format!("/v3/notifications?limit=7{from}")).await.ok();
        for notification in page["notifications"].as_array().unwrap() {
            listed.push(notification["event"]["event_id"].as_str().unwrap().to_owned());
            let nth = sent.iter().position(|id| Some(id) == listed.last()).unwrap();
            assert_eq!(notification["read"], json!(nth % 3 == 0 && nth <= 15), "{nth}");
            assert_eq!(notification["room_id"], json!(if nth % 3 == 0 { &two } else { &one }));
            assert_eq!(notification["actions"][0], "notify");
            assert!(notification["event"]["room_id"].is_null() && notification["ts"].is_u64());
        }
        match page["next_token"].as_str() {
            Some(token) => from = format!("&from={token}"),
            None => break,
        }
    }
    sent.reverse();
    assert_eq!(listed, sent);
    let only = test.get("alice", "/v3/notifications?only=highlight").await.ok();
    assert_eq!(only["notifications"].as_array().unwrap().len(), 1);
    assert_eq!(only["notifications"][0]["event"]["event_id"], json!(sent[25]));
    test.get("alice", "/v3/notifications?from=x").await.refused(400, "M_INVALID_PARAM");
}
