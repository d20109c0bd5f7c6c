use serde_json::{Value, json};

use crate::testing::TestApp;

/// A sync with a filter and further parameters.
async fn sync(test: &TestApp, who: &str, since: &str, filter: Value, more: &str) -> Value {
    let filter = filter.to_string();
    let filter: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let since = if since.is_empty() { String::new() } else { format!("&since={since}") };
    test.get(who, &format!("/v3/sync?filter={filter}{since}{more}")).await.ok()
}

fn token(answer: &Value) -> String {
    answer["next_batch"].as_str().unwrap().to_owned()
}

/// Ids of a list of events.
fn ids(events: &Value) -> Vec<&str> {
    events["events"].as_array().into_iter().flatten().filter_map(|event| event["event_id"].as_str()).collect()
}

/// State keys of the members in a list of events, in order.
fn members(events: &Value) -> Vec<&str> {
    let events = events["events"].as_array().into_iter().flatten();
    let mut keys: Vec<_> = events
        .filter(|event| event["type"] == "m.room.member")
        .filter_map(|event| event["state_key"].as_str())
        .collect();
    keys.sort_unstable();
    keys
}

fn event_id(answer: &Value) -> &str {
    answer["event_id"].as_str().unwrap()
}

#[tokio::test]
async fn a_timeline_is_cut_before_it_contradicts_hidden_state() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let open = json!({"preset": "public_chat", "power_level_content_override": {"state_default": 0}});
    let room = test.room("alice", open).await;
    test.join("bob", &room).await.ok();
    let since = token(&test.sync("bob", None).await);
    let seen = test.set("alice", &room, "test.state", "k", json!({"v": 1})).await.ok();
    let after = test.say("alice", &room, "shown").await;
    test.set("bob", &room, "test.state", "k", json!({"v": 2})).await.ok();
    let filter = json!({"room": {"timeline": {"not_senders": ["@bob:hs"]}}});

    let part = sync(&test, "bob", &since, filter.clone(), "").await["rooms"]["join"][&room].clone();
    assert_eq!(ids(&part["timeline"]), [after.as_str()]);
    assert_eq!(part["timeline"]["limited"], true);
    assert_eq!(part["state"]["events"][0]["content"], json!({"v": 2}));
    let from = part["timeline"]["prev_batch"].as_str().unwrap();
    let page = test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b&limit=1&from={from}")).await.ok();
    assert_eq!(page["chunk"][0]["event_id"], event_id(&seen));

    // With the state apart nothing contradicts it.
    let part = sync(&test, "bob", &since, filter, "&use_state_after=true").await["rooms"]["join"][&room].clone();
    assert_eq!(ids(&part["timeline"]), [event_id(&seen), after.as_str()]);
    assert_eq!(part["timeline"]["limited"], false);
    assert_eq!(part["state_after"]["events"][0]["content"], json!({"v": 2}));
    assert!(part["state"].is_null());
}

#[tokio::test]
async fn state_of_ignored_users_is_shown_and_nothing_else_of_theirs() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let ignored = json!({"ignored_users": {"@bob:hs": {}}});
    test.put("alice", "/v3/user/@alice:hs/account_data/m.ignored_user_list", ignored).await.ok();
    let since = token(&test.sync("alice", None).await);
    let hidden = test.say("bob", &room, "spam").await;
    let own = test.say("alice", &room, "ham").await;
    test.put("bob", "/v3/profile/@bob:hs/displayname", json!({"displayname": "Bob"})).await.ok();

    let answer = test.sync("alice", Some(&since)).await;
    let timeline = &answer["rooms"]["join"][&room]["timeline"];
    let shown = ids(timeline);
    assert!(shown.contains(&own.as_str()) && !shown.contains(&hidden.as_str()));
    assert_eq!(members(timeline), ["@bob:hs"]);
    for direction in ["b", "f"] {
        let page = test.get("alice", &format!("/v3/rooms/{room}/messages?dir={direction}&limit=100")).await.ok();
        let shown: Vec<_> =
            page["chunk"].as_array().unwrap().iter().filter_map(|event| event["event_id"].as_str()).collect();
        assert!(shown.contains(&own.as_str()) && !shown.contains(&hidden.as_str()));
    }
    let page = test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b&limit=100")).await.ok();
    assert!(page["chunk"].to_string().contains(&hidden));

    test.put("alice", "/v3/user/@alice:hs/account_data/m.ignored_user_list", json!({"ignored_users": {}})).await.ok();
    let answer = test.sync("alice", None).await;
    assert!(ids(&answer["rooms"]["join"][&room]["timeline"]).contains(&hidden.as_str()));
}

#[tokio::test]
async fn lazy_members_are_those_who_speak_as_they_were_before() {
    let test = TestApp::new(&["alice", "bob", "carl"]).await;
    let room = test.public_room(&["alice", "bob", "carl"]).await;
    // A room without a name is called by its members, who are told for that reason already.
    test.set("alice", &room, "m.room.name", "", json!({"name": "named"})).await.ok();
    let filter = json!({"room": {"state": {"lazy_load_members": true}, "timeline": {"limit": 2}}});
    test.say("bob", &room, "one").await;
    test.say("bob", &room, "two").await;
    let answer = sync(&test, "alice", "", filter.clone(), "").await;
    let part = &answer["rooms"]["join"][&room];
    assert_eq!(members(&part["state"]), ["@alice:hs", "@bob:hs"], "who speaks, and oneself");
    assert_eq!(part["summary"]["m.joined_member_count"], 3);

    let since = token(&answer);
    test.say("carl", &room, "three").await;
    test.put("carl", "/v3/profile/@carl:hs/displayname", json!({"displayname": "Carl"})).await.ok();
    let answer = sync(&test, "alice", &since, filter.clone(), "").await;
    let part = &answer["rooms"]["join"][&room];
    assert_eq!(members(&part["timeline"]), ["@carl:hs"]);
    assert_eq!(members(&part["state"]), ["@carl:hs"], "the name that the message was written under");
    assert!(part["state"]["events"][0]["content"]["displayname"].is_null());

    // Members that changed in a gap are told, whether or not they speak.
    let since = token(&answer);
    test.put("carl", "/v3/profile/@carl:hs/displayname", json!({"displayname": "Charles"})).await.ok();
    for text in ["a", "b", "c"] {
        test.say("bob", &room, text).await;
    }
    let answer = sync(&test, "alice", &since, filter.clone(), "").await;
    let part = &answer["rooms"]["join"][&room];
    assert_eq!(part["timeline"]["limited"], true);
    assert_eq!(members(&part["state"]), ["@bob:hs", "@carl:hs"]);

    // Whoever speaks alone changes no counts.
    let since = token(&answer);
    test.say("bob", &room, "d").await;
    let answer = sync(&test, "alice", &since, filter, "").await;
    let part = &answer["rooms"]["join"][&room];
    assert_eq!(members(&part["state"]), ["@bob:hs"]);
    assert_eq!(part["summary"], json!({}));
}

#[tokio::test]
async fn no_timeline_is_asked_for() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.public_room(&["alice"]).await;
    let filter = json!({"room": {"timeline": {"limit": 0}}});
    let answer = sync(&test, "alice", "", filter.clone(), "").await;
    let part = &answer["rooms"]["join"][&room];
    assert!(ids(&part["timeline"]).is_empty());
    assert_eq!(part["timeline"]["limited"], true);
    assert_eq!(members(&part["state"]), ["@alice:hs"]);
    let said = test.say("alice", &room, "hello").await;
    let answer = sync(&test, "alice", &token(&answer), filter, "").await;
    let from = answer["rooms"]["join"][&room]["timeline"]["prev_batch"].as_str().unwrap().to_owned();
    let page = test.get("alice", &format!("/v3/rooms/{room}/messages?dir=b&limit=1&from={from}")).await.ok();
    assert_eq!(page["chunk"][0]["event_id"], said);
}

#[tokio::test]
async fn filters_of_a_part_may_leave_out_rooms() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.public_room(&["alice"]).await;
    let filter = json!({"room": {"timeline": {"not_rooms": [room]}, "state": {"rooms": [room]}}});
    let part = sync(&test, "alice", "", filter, "").await["rooms"]["join"][&room].clone();
    assert!(ids(&part["timeline"]).is_empty());
    assert_eq!(members(&part["state"]), ["@alice:hs"]);
    let filter = json!({"room": {"state": {"rooms": []}}});
    let part = sync(&test, "alice", "", filter, "").await["rooms"]["join"][&room].clone();
    assert!(ids(&part["state"]).is_empty());
    assert_eq!(members(&part["timeline"]), ["@alice:hs"]);
}

#[tokio::test]
async fn an_invitation_that_is_repeated_is_told_again() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({"preset": "private_chat", "invite": ["@bob:hs"]})).await;
    let first = test.sync("bob", None).await;
    assert!(first["rooms"]["invite"][&room].is_object());
    let quiet = test.sync("bob", Some(&token(&first))).await;
    assert!(quiet["rooms"].is_null());
    test.set("alice", &room, "m.room.name", "", json!({"name": "Dinner"})).await.ok();
    test.post("alice", &format!("/v3/rooms/{room}/invite"), json!({"user_id": "@bob:hs", "reason": "again"}))
        .await
        .ok();
    let again = test.sync("bob", Some(&token(&first))).await;
    assert!(again["rooms"]["invite"][&room].to_string().contains("Dinner"));
}

#[tokio::test]
async fn rooms_in_which_nothing_happened_are_not_read() {
    const ROOMS: usize = 50;
    let test = TestApp::new(&["alice", "bob"]).await;
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        rooms.push(test.public_room(&["bob", "alice"]).await);
    }
    let since = token(&test.sync("alice", None).await);
    let since = token(&test.sync("alice", Some(&since)).await);
    let stats = || test.app.engine.db.stats().snapshot();
    let before = stats();
    let answer = test.sync("alice", Some(&since)).await;
    assert!(answer["rooms"].is_null());
    let quiet = stats() - before;
    assert!(quiet.gets + quiet.multi_gets + quiet.scans < 5, "{quiet:?}");

    let said = test.say("bob", &rooms[ROOMS / 2], "hello").await;
    let before = stats();
    let answer = test.sync("alice", Some(&since)).await;
    let joined = answer["rooms"]["join"].as_object().unwrap();
    assert_eq!(joined.len(), 1);
    assert_eq!(ids(&joined[&rooms[ROOMS / 2]]["timeline"]), [said]);
    let one = stats() - before;
    assert!(one.gets + one.multi_gets + one.scans < ROOMS as u64 / 2, "{one:?}");
}

#[tokio::test]
async fn those_by_whom_a_room_is_called_are_known_to_who_loads_members_lazily() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob", "carol"]).await;
    for number in 0..3 {
        test.say("alice", &room, &number.to_string()).await;
    }
    let lazy = "filter=%7B%22room%22%3A%7B%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%2C%22timeline%22%3A%7B%22limit%22%3A1%7D%7D%7D";
    let told = async |since: Option<&str>| {
        let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
        let sync = test.get("bob", &format!("/v3/sync?{lazy}{since}")).await.ok();
        let shown = sync["rooms"]["join"][&room].clone();
        let events = shown["state"]["events"].as_array().unwrap().iter();
        let mut members: Vec<String> = events
            .filter(|event| event["type"] == "m.room.member")
            .map(|event| event["state_key"].as_str().unwrap().to_owned())
            .collect();
        members.sort();
        (shown["summary"]["m.heroes"].clone(), members, sync["next_batch"].as_str().unwrap().to_owned())
    };
    // Carol has said nothing, and gives the room its name all the same.
    let (heroes, members, token) = told(None).await;
    assert_eq!(heroes, json!(["@alice:hs", "@carol:hs"]));
    assert_eq!(members, ["@alice:hs", "@bob:hs", "@carol:hs"]);
    // A name makes heroes needless, and one that is taken away needs them again.
    for (name, heroes) in [("named", Value::Null), ("", json!(["@alice:hs", "@carol:hs"]))] {
        test.set("alice", &room, "m.room.name", "", json!({"name": name})).await.ok();
        assert_eq!(told(None).await.0, heroes, "{name}");
    }
    test.set("carol", &room, "m.room.member", "@carol:hs", json!({"membership": "join", "displayname": "C"}))
        .await
        .ok();
    test.say("alice", &room, "last").await;
    assert_eq!(told(Some(&token)).await.1, ["@alice:hs", "@carol:hs"]);
}
