use serde_json::{Value, json};

use super::encryption::{publish, with_devices};
use crate::testing::TestApp;

const PATH: &str = "/unstable/org.matrix.simplified_msc3575/sync";

/// A response, from a position where there is one.
async fn slide(test: &TestApp, pos: Option<&str>, body: Value) -> Value {
    let path = pos.map_or_else(|| PATH.to_owned(), |pos| format!("{PATH}?pos={pos}"));
    test.post("bob", &path, body).await.ok()
}

fn pos(response: &Value) -> &str {
    response["pos"].as_str().unwrap()
}

/// The first rooms of a list.
fn first(rooms: usize, limit: usize) -> Value {
    let required = json!([["m.room.name", ""], ["m.room.member", "$ME"], ["m.room.member", "$LAZY"]]);
    json!({"lists": {"all": {
        "ranges": [[0, rooms - 1]], "required_state": required, "timeline_limit": limit,
    }}})
}

fn names(response: &Value) -> Vec<&str> {
    response["rooms"].as_object().unwrap().keys().map(String::as_str).collect()
}

fn texts(room: &Value) -> Vec<&str> {
    let events = room["timeline"].as_array().unwrap();
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// What is told of a room's state, by type and key.
fn state(room: &Value) -> Vec<(String, String)> {
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    let events = room["required_state"].as_array().unwrap();
    let mut state: Vec<_> = events.iter().map(|event| (text(event, "type"), text(event, "state_key"))).collect();
    state.sort();
    state
}

fn pair(kind: &str, key: &str) -> (String, String) {
    (kind.to_owned(), key.to_owned())
}

/// Three rooms in which Bob is, in the order in which somebody spoke in them last.
async fn three(test: &TestApp) -> [String; 3] {
    let mut rooms = Vec::new();
    for name in ["oldest", "older", "newest"] {
        let room = test.public_room(&["alice", "bob"]).await;
        test.set("alice", &room, "m.room.name", "", json!({"name": name})).await.ok();
        rooms.push(room);
    }
    for room in &rooms {
        test.say("alice", room, "hello").await;
    }
    rooms.try_into().unwrap()
}

#[tokio::test]
async fn a_window_shows_the_rooms_in_which_something_was_said_last() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let [oldest, older, newest] = three(&test).await;
    let begun = slide(&test, None, first(2, 1)).await;
    assert_eq!(begun["lists"], json!({"all": {"count": 3}}));
    let mut shown = [older.as_str(), newest.as_str()];
    shown.sort_unstable();
    assert_eq!(names(&begun), shown);
    let room = &begun["rooms"][&newest];
    assert_eq!((&room["initial"], &room["name"], &room["limited"]), (&json!(true), &json!("newest"), &json!(true)));
    assert_eq!((&room["joined_count"], &room["num_live"], texts(room)), (&json!(2), &json!(0), vec!["hello"]));
    let expected = [pair("m.room.member", "@alice:hs"), pair("m.room.member", "@bob:hs"), pair("m.room.name", "")];
    assert_eq!(state(room), expected);
    assert_eq!((&room["notification_count"], &room["highlight_count"]), (&json!(1), &json!(0)));
    let prev = room["prev_batch"].as_str().unwrap();
    let page = test.get("bob", &format!("/v3/rooms/{newest}/messages?dir=b&limit=1&from={prev}")).await.ok();
    assert_eq!(page["chunk"][0]["type"], "m.room.name");

    // Somebody speaks where nobody did for long: the room moves into the window.
    test.say("alice", &oldest, "still here").await;
    let next = slide(&test, Some(pos(&begun)), first(2, 1)).await;
    assert_eq!(names(&next), [oldest.as_str()]);
    assert_eq!((&next["rooms"][&oldest]["initial"], &next["rooms"][&oldest]["num_live"]), (&json!(true), &json!(1)));
    // What is changed in a room that is not shown is not lost when it comes back.
    test.set("alice", &older, "m.room.name", "", json!({"name": "renamed"})).await.ok();
    let quiet = slide(&test, Some(pos(&next)), first(2, 1)).await;
    assert_eq!(names(&quiet), Vec::<&str>::new());
    test.say("alice", &older, "back").await;
    let back = slide(&test, Some(pos(&quiet)), first(2, 1)).await;
    let room = &back["rooms"][&older];
    assert_eq!((&room["initial"], &room["name"], texts(room)), (&json!(false), &json!("renamed"), vec!["back"]));
    assert!(state(room).contains(&pair("m.room.name", "")), "{room}");
}

#[tokio::test]
async fn a_connection_goes_on_from_the_last_response_or_the_one_before() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let [.., newest] = three(&test).await;
    let begun = slide(&test, None, first(5, 3)).await;
    test.say("alice", &newest, "one").await;
    let one = slide(&test, Some(pos(&begun)), first(5, 3)).await;
    assert_eq!((texts(&one["rooms"][&newest]), &one["rooms"][&newest]["initial"]), (vec!["one"], &json!(false)));
    // The answer was lost on its way.
    test.say("alice", &newest, "two").await;
    let again = slide(&test, Some(pos(&begun)), first(5, 3)).await;
    assert_eq!(texts(&again["rooms"][&newest]), ["one", "two"]);
    let nothing = slide(&test, Some(pos(&again)), first(5, 3)).await;
    assert_eq!((names(&nothing), &nothing["extensions"]), (vec![], &json!({})));
    // More is wanted of what is known.
    let mut more = first(5, 6);
    more["lists"]["all"]["required_state"] = json!([["*", "*"]]);
    let expanded = slide(&test, Some(pos(&nothing)), more).await;
    let room = &expanded["rooms"][&newest];
    assert_eq!((texts(room).len(), &room["unstable_expanded_timeline"]), (3, &json!(true)));
    assert!(state(room).contains(&pair("m.room.create", "")), "{room}");
    for unknown in [pos(&begun), "1.1", "x", "0.99"] {
        let path = format!("{PATH}?pos={unknown}");
        test.post("bob", &path, first(5, 3)).await.refused(400, "M_UNKNOWN_POS");
    }
    // Another connection of the same device knows nothing of it.
    let mut other = first(5, 3);
    other["conn_id"] = json!("other");
    assert_eq!(names(&slide(&test, None, other).await).len(), 3);
}

#[tokio::test]
async fn invitations_and_departures_are_told() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let [oldest, ..] = three(&test).await;
    let mut lists = first(5, 1);
    lists["lists"]["asked"] = json!({"ranges": [[0, 5]], "filters": {"is_invite": true}});
    lists["lists"]["all"]["filters"] = json!({"is_invite": false});
    let begun = slide(&test, None, lists.clone()).await;
    assert_eq!(begun["lists"], json!({"all": {"count": 3}, "asked": {"count": 0}}));
    let room = test.room("alice", json!({"preset": "private_chat", "invite": ["@bob:hs"], "name": "secret"})).await;
    let asked = slide(&test, Some(pos(&begun)), lists.clone()).await;
    assert_eq!(asked["lists"]["asked"], json!({"count": 1}));
    let invite = asked["rooms"][&room]["invite_state"].as_array().unwrap();
    assert!(invite.iter().any(|event| event["content"]["name"] == "secret"), "{invite:?}");
    test.join("bob", &room).await.ok();
    let joined = slide(&test, Some(pos(&asked)), lists.clone()).await;
    assert_eq!((&joined["rooms"][&room]["initial"], &joined["rooms"][&room]["name"]), (&json!(true), &json!("secret")));
    test.post("alice", &format!("/v3/rooms/{oldest}/kick"), json!({"user_id": "@bob:hs"})).await.ok();
    let gone = slide(&test, Some(pos(&joined)), lists.clone()).await;
    assert_eq!(names(&gone), [oldest.as_str()]);
    let own = &gone["rooms"][&oldest]["timeline"][0];
    assert_eq!((&own["state_key"], &own["content"]["membership"]), (&json!("@bob:hs"), &json!("leave")));
    assert_eq!(names(&slide(&test, Some(pos(&gone)), lists).await), Vec::<&str>::new());
}

#[tokio::test]
async fn extensions_speak_of_the_rooms_that_are_shown() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let [oldest, older, newest] = three(&test).await;
    let tags = |room: &str| format!("/v3/user/@bob:hs/rooms/{room}/tags/u.work");
    for room in [&oldest, &newest] {
        test.put("bob", &tags(room), json!({"order": 0.5})).await.ok();
    }
    let mut body = first(1, 1);
    body["extensions"] = json!({
        "account_data": {"enabled": true}, "receipts": {"enabled": true}, "typing": {"enabled": true},
    });
    let begun = slide(&test, None, body.clone()).await;
    let data = &begun["extensions"]["account_data"];
    assert!(data["global"].as_array().unwrap().iter().any(|event| event["type"] == "m.push_rules"), "{data}");
    assert_eq!(data["rooms"].as_object().unwrap().keys().collect::<Vec<_>>(), [&newest]);
    let said = test.say("alice", &newest, "read this").await;
    for room in [&older, &newest] {
        test.put("alice", &format!("/v3/rooms/{room}/typing/@alice:hs"), json!({"typing": true, "timeout": 9000}))
            .await
            .ok();
    }
    test.post("alice", &format!("/v3/rooms/{newest}/receipt/m.read/{said}"), json!({})).await.ok();
    let next = slide(&test, Some(pos(&begun)), body.clone()).await;
    let extensions = &next["extensions"];
    assert_eq!(extensions["typing"]["rooms"].as_object().unwrap().keys().collect::<Vec<_>>(), [&newest]);
    assert_eq!(extensions["typing"]["rooms"][&newest]["content"]["user_ids"], json!(["@alice:hs"]));
    assert!(extensions["receipts"]["rooms"][&newest]["content"][&said]["m.read"]["@alice:hs"].is_object());
    assert!(extensions["account_data"].is_null(), "{extensions}");
    // A room that is asked for by its id is one that is shown.
    body["room_subscriptions"] = json!({&older: {"timeline_limit": 1, "required_state": []}});
    body["extensions"]["typing"]["rooms"] = json!([]);
    let both = slide(&test, Some(pos(&next)), body).await;
    assert_eq!(names(&both), [older.as_str()]);
    assert!(both["extensions"]["typing"].is_null(), "{both}");
}

#[tokio::test]
async fn what_is_asked_for_is_bounded() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let body = json!({"lists": {"all": {"ranges": [[3, 1]]}}});
    test.post("bob", PATH, body).await.refused(400, "M_INVALID_PARAM");
    let required = vec![["m.room.name", ""]; 300];
    let body = json!({"lists": {"all": {"ranges": [[0, 1]], "required_state": required}}});
    test.post("bob", PATH, body).await.refused(400, "M_INVALID_PARAM");
    test.post("bob", PATH, json!({"lists": []})).await.refused(400, "M_BAD_JSON");
    test.post("", PATH, json!({})).await.refused(401, "M_MISSING_TOKEN");
    // A stranger's room is not shown, by its id neither.
    let room = test.public_room(&["alice"]).await;
    let body = json!({"room_subscriptions": {&room: {"timeline_limit": 5, "required_state": [["*", "*"]]}}});
    assert_eq!(names(&slide(&test, None, body).await), Vec::<&str>::new());
    let answer = test.get("", "/versions").await.ok();
    assert_eq!(answer["unstable_features"]["org.matrix.simplified_msc3575"], true);
}

#[tokio::test]
async fn what_encryption_needs_comes_by_extensions() {
    let test = with_devices(&["alice", "bob"]).await;
    test.public_room(&["alice", "bob"]).await;
    let body = |since: Option<&str>| {
        let since = since.map_or_else(|| json!({}), |since| json!({"since": since}));
        let mut body = json!({"extensions": {"e2ee": {"enabled": true}, "to_device": since}});
        body["extensions"]["to_device"]["enabled"] = json!(true);
        body
    };
    let begun = slide(&test, None, body(None)).await;
    let extensions = &begun["extensions"];
    assert_eq!(extensions["e2ee"]["device_one_time_keys_count"]["signed_curve25519"].as_u64().unwrap_or(0), 0);
    let had = extensions["to_device"]["next_batch"].as_str().unwrap().to_owned();
    let messages = json!({"messages": {"@bob:hs": {"*": {"hello": "device"}}}});
    test.put("alice", "/v3/sendToDevice/m.test/one", messages).await.ok();
    publish(&test, "alice", "k").await;
    let next = slide(&test, Some(pos(&begun)), body(Some(&had))).await;
    let extensions = &next["extensions"];
    assert_eq!(extensions["e2ee"]["device_lists"]["changed"], json!(["@alice:hs"]));
    let message = &extensions["to_device"]["events"][0];
    assert_eq!((&message["sender"], &message["content"]["hello"]), (&json!("@alice:hs"), &json!("device")));
    // As long as the client does not say that it has the message, it comes again.
    let again = slide(&test, Some(pos(&next)), body(Some(&had))).await;
    assert_eq!(again["extensions"]["to_device"]["events"][0]["content"]["hello"], "device");
    let had = again["extensions"]["to_device"]["next_batch"].as_str().unwrap();
    let nothing = slide(&test, Some(pos(&again)), body(Some(had))).await;
    assert_eq!(nothing["extensions"], json!({}));
    let bad = body(Some("x"));
    test.post("bob", PATH, bad).await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn what_happened_outside_the_window_is_told_when_a_room_is_back_in_it() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let [oldest, _, newest] = three(&test).await;
    let with = |rooms: usize| {
        let mut body = first(rooms, 1);
        let on = json!({"enabled": true});
        body["extensions"] = json!({"account_data": on, "receipts": on, "typing": on});
        body
    };
    let all = slide(&test, None, with(3)).await;
    let typing = |on: bool| json!({"typing": on, "timeout": 60_000});
    let types = format!("/v3/rooms/{oldest}/typing/@alice:hs");
    test.put("alice", &types, typing(true)).await.ok();
    let all = slide(&test, Some(pos(&all)), with(3)).await;
    assert_eq!(all["extensions"]["typing"]["rooms"][&oldest]["content"]["user_ids"], json!(["@alice:hs"]));
    let said = test.say("alice", &newest, "on top").await;
    // A client that comes back asks for the first rooms again, and then for more. Another device of Bob's has read.
    let event = test.get("bob", &format!("/v3/rooms/{oldest}/messages?dir=b&limit=1")).await.ok();
    let event = event["chunk"][0]["event_id"].as_str().unwrap();
    test.post("bob", &format!("/v3/rooms/{oldest}/receipt/m.read/{event}"), json!({})).await.ok();
    test.put("bob", &format!("/v3/user/@bob:hs/rooms/{oldest}/tags/u.work"), json!({})).await.ok();
    test.put("alice", &types, typing(false)).await.ok();
    let first_room = slide(&test, Some(pos(&all)), with(1)).await;
    assert_eq!(names(&first_room), [newest.as_str()], "{said}");
    assert!(first_room["extensions"]["receipts"].is_null(), "{first_room}");
    let back = slide(&test, Some(pos(&first_room)), with(3)).await;
    let told = &back["extensions"];
    assert!(told["receipts"]["rooms"][&oldest]["content"][event]["m.read"]["@bob:hs"].is_object(), "{back}");
    assert_eq!(told["account_data"]["rooms"][&oldest][0]["content"]["tags"], json!({"u.work": {}}));
    assert_eq!(told["typing"]["rooms"][&oldest]["content"]["user_ids"], json!([]));
    let quiet = slide(&test, Some(pos(&back)), with(3)).await;
    assert_eq!((names(&quiet), &quiet["extensions"]), (vec![], &json!({})));
}

#[tokio::test]
async fn who_is_gone_is_told_nothing_of_what_became_of_the_room() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let [oldest, ..] = three(&test).await;
    let mut lists = first(5, 1);
    lists["lists"]["all"]["required_state"] = json!([["*", "*"]]);
    let room = test.room("alice", json!({"preset": "private_chat", "invite": ["@bob:hs"]})).await;
    let begun = slide(&test, None, lists.clone()).await;
    assert!(begun["rooms"][&room]["invite_state"].is_array());
    // Said behind the invitation, which Bob refuses.
    test.set("alice", &room, "m.room.topic", "", json!({"topic": "secret"})).await.ok();
    test.post("bob", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    let refused = slide(&test, Some(pos(&begun)), lists.clone()).await;
    let shown = &refused["rooms"][&room];
    assert_eq!(state(shown), [pair("m.room.member", "@bob:hs")]);
    assert_eq!(shown["timeline"].as_array().unwrap().len(), 1);
    for secret in ["name", "heroes", "joined_count", "avatar", "notification_count"] {
        assert!(shown[secret].is_null(), "{secret}: {shown}");
    }
    // Thrown out, and the room gets another name before Bob looks.
    test.set("alice", &oldest, "m.room.topic", "", json!({"topic": "before"})).await.ok();
    test.post("alice", &format!("/v3/rooms/{oldest}/kick"), json!({"user_id": "@bob:hs"})).await.ok();
    test.set("alice", &oldest, "m.room.name", "", json!({"name": "after"})).await.ok();
    let gone = slide(&test, Some(pos(&refused)), lists).await;
    assert!(!gone.to_string().contains("after"), "{gone}");
    assert_eq!(state(&gone["rooms"][&oldest]), [pair("m.room.member", "@bob:hs"), pair("m.room.topic", "")]);
}
