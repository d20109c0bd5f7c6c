use serde_json::{Value, json};

use super::branches::{of_carol, shared, take, text};
use crate::testing::TestApp;

/// What a search by these criteria gives.
async fn search(test: &TestApp, who: &str, criteria: Value) -> Value {
    page(test, who, criteria, None).await
}

async fn page(test: &TestApp, who: &str, criteria: Value, from: Option<&str>) -> Value {
    let path = from.map_or_else(|| "/v3/search".to_owned(), |from| format!("/v3/search?next_batch={from}"));
    let body = json!({"search_categories": {"room_events": criteria}});
    let mut answer = test.post(who, &path, body).await.ok();
    answer["search_categories"]["room_events"].take()
}

fn ids(found: &Value) -> Vec<&str> {
    found["results"].as_array().unwrap().iter().map(|one| one["result"]["event_id"].as_str().unwrap()).collect()
}

fn bodies(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|event| event["content"]["body"].as_str().unwrap_or("?")).collect()
}

#[tokio::test]
async fn by_key_and_order() {
    let test = TestApp::searching(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let first = test.say("alice", &room, "Dinner at Ann's, dinner for all").await;
    test.clock.advance(5);
    let second = test.say("bob", &room, "What is for DINNER?").await;
    test.set("alice", &room, "m.room.name", "", json!({"name": "Dinner"})).await.ok();
    test.set("alice", &room, "m.room.topic", "", json!({"topic": "dinner plans"})).await.ok();
    let found = search(&test, "bob", json!({"search_term": "dinner", "keys": ["content.body"]})).await;
    assert_eq!((ids(&found), &found["count"]), (vec![&*first, &*second], &json!(2)));
    assert_eq!(found["highlights"], json!(["dinner"]));
    assert!(found["results"][0]["rank"].as_f64() > found["results"][1]["rank"].as_f64());
    let event = &found["results"][1]["result"];
    assert_eq!((&event["room_id"], &event["sender"]), (&json!(room), &json!("@bob:hs")));
    assert!(found["results"][0].get("context").is_none() && found.get("next_batch").is_none());
    let recent = json!({"search_term": "dinner", "keys": ["content.body"], "order_by": "recent"});
    assert_eq!(ids(&search(&test, "bob", recent).await), [&*second, &*first]);
    for (key, kind) in [("content.name", "m.room.name"), ("content.topic", "m.room.topic")] {
        let found = search(&test, "bob", json!({"search_term": "dinner", "keys": [key]})).await;
        assert_eq!((&found["count"], &found["results"][0]["result"]["type"]), (&json!(1), &json!(kind)));
    }
    assert_eq!(search(&test, "bob", json!({"search_term": "dinner"})).await["count"], 4);
    let nothing = search(&test, "bob", json!({"search_term": "dinner lunch"})).await;
    assert_eq!((&nothing["count"], ids(&nothing).len()), (&json!(0), 0));
}

#[tokio::test]
async fn only_what_a_user_may_see() {
    let test = TestApp::searching(&["alice", "bob", "carol"]).await;
    let secret = test.room("alice", json!({"preset": "private_chat"})).await;
    test.say("alice", &secret, "apples").await;
    let joined = json!([{"type": "m.room.history_visibility", "state_key": "",
        "content": {"history_visibility": "joined"}}]);
    let room = test.room("alice", json!({"preset": "public_chat", "initial_state": joined})).await;
    let before = test.say("alice", &room, "apples before").await;
    test.join("bob", &room).await.ok();
    let during = test.say("alice", &room, "apples during").await;
    let term = || json!({"search_term": "apples", "order_by": "recent"});
    let found = search(&test, "bob", term()).await;
    assert_eq!((ids(&found), &found["count"]), (vec![&*during], &json!(1)));
    test.post("bob", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    let after = test.say("alice", &room, "apples after").await;
    let found = search(&test, "bob", term()).await;
    assert_eq!(ids(&found), [&*during], "a room that was left is searched up to there");
    test.join("bob", &room).await.ok();
    let again = test.say("alice", &room, "apples again").await;
    assert_eq!(ids(&search(&test, "bob", term()).await), [&*again, &*during]);
    let found = search(&test, "alice", term()).await;
    assert_eq!((ids(&found).len(), &found["count"]), (5, &json!(5)));
    assert!(ids(&found).contains(&&*before) && ids(&found).contains(&&*after));
    let found = search(&test, "carol", term()).await;
    assert_eq!((ids(&found).len(), &found["count"]), (0, &json!(0)), "nor how much there is");
    let named = json!({"search_term": "apples", "filter": {"rooms": [secret]}});
    assert_eq!(search(&test, "bob", named).await["count"], 0);
    test.post("bob", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    test.post("bob", &format!("/v3/rooms/{room}/forget"), json!({})).await.ok();
    assert!(ids(&search(&test, "bob", term()).await).is_empty());
}

#[tokio::test]
async fn redacted_and_ignored() {
    let test = TestApp::searching(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let gone = test.say("bob", &room, "pears that go").await;
    let stays = test.say("bob", &room, "pears that stay").await;
    for order in ["rank", "recent"] {
        let found = search(&test, "alice", json!({"search_term": "pears", "order_by": order})).await;
        assert_eq!(ids(&found).len(), if order == "rank" { 2 } else { 1 });
        test.put("bob", &format!("/v3/rooms/{room}/redact/{gone}/r{order}"), json!({})).await.ok();
        let found = search(&test, "alice", json!({"search_term": "pears", "order_by": order})).await;
        assert_eq!((ids(&found), &found["count"]), (vec![&*stays], &json!(1)));
    }
    let ignored = json!({"ignored_users": {"@bob:hs": {}}});
    test.put("alice", "/v3/user/@alice:hs/account_data/m.ignored_user_list", ignored).await.ok();
    assert!(ids(&search(&test, "alice", json!({"search_term": "pears"})).await).is_empty());
}

#[tokio::test]
async fn filters() {
    let test = TestApp::searching(&["alice", "bob", "carol"]).await;
    let one = test.public_room(&["alice", "bob"]).await;
    let two = test.public_room(&["alice", "carol"]).await;
    let by_alice = test.say("alice", &one, "plums").await;
    let by_bob = test.say("bob", &one, "plums").await;
    let picture = json!({"msgtype": "m.image", "body": "plums.png", "url": "mxc://hs/plums"});
    let by_carol = test.send("carol", &two, "m.room.message", picture).await;
    test.set("alice", &one, "m.room.name", "", json!({"name": "plums"})).await.ok();
    let all = async |filter: Value| {
        let found = search(&test, "alice", json!({"search_term": "plums", "filter": filter})).await;
        let mut ids: Vec<String> = ids(&found).into_iter().map(str::to_owned).collect();
        ids.sort_unstable();
        ids
    };
    let these = |mut ids: Vec<&String>| {
        ids.sort_unstable();
        ids.into_iter().cloned().collect::<Vec<String>>()
    };
    assert_eq!(all(json!({})).await.len(), 4);
    assert_eq!(all(json!({"rooms": [two]})).await, std::slice::from_ref(&by_carol));
    assert_eq!(all(json!({"rooms": []})).await, Vec::<String>::new());
    assert_eq!(all(json!({"not_rooms": [one]})).await, std::slice::from_ref(&by_carol));
    assert_eq!(all(json!({"senders": ["@bob:hs", "@carol:hs", "@nobody:hs"]})).await, these(vec![&by_bob, &by_carol]));
    assert_eq!(all(json!({"senders": ["@nobody:hs"]})).await, Vec::<String>::new());
    let messages = json!({"types": ["m.room.mess*"], "not_senders": ["@carol:hs"]});
    assert_eq!(all(messages).await, these(vec![&by_alice, &by_bob]));
    assert_eq!(all(json!({"not_types": ["m.room.message"]})).await.len(), 1);
    assert_eq!(all(json!({"contains_url": true})).await, [by_carol]);
    assert_eq!(all(json!({"limit": 1})).await.len(), 1);
}

#[tokio::test]
async fn pages_and_groups() {
    let test = TestApp::searching(&["alice", "bob"]).await;
    let one = test.public_room(&["alice", "bob"]).await;
    let two = test.public_room(&["alice", "bob"]).await;
    let mut sent = Vec::new();
    for n in 0..12 {
        let (who, room) = (if n % 2 == 0 { "alice" } else { "bob" }, if n % 3 == 0 { &two } else { &one });
        sent.push(test.say(who, room, &format!("cherry {n}")).await);
    }
    sent.reverse();
    let criteria = json!({"search_term": "cherry", "order_by": "recent", "filter": {"limit": 5},
        "groupings": {"group_by": [{"key": "room_id"}, {"key": "sender"}]}});
    let (mut all, mut from) = (Vec::new(), None);
    for wanted in [5, 5, 2] {
        let found = page(&test, "alice", criteria.clone(), from.as_deref()).await;
        assert_eq!((ids(&found).len(), &found["count"]), (wanted, &json!(12)));
        all.extend(ids(&found).into_iter().map(str::to_owned));
        from = found["next_batch"].as_str().map(str::to_owned);
    }
    assert_eq!((all, from), (sent.clone(), None));

    let first = page(&test, "alice", criteria.clone(), None).await;
    let groups = &first["groups"];
    assert_eq!(groups["room_id"][&one]["results"], json!([sent[0], sent[1], sent[3], sent[4]]));
    assert_eq!(
        groups["room_id"][&two],
        json!({"order": 2, "results": [sent[2]],
        "next_batch": groups["room_id"][&two]["next_batch"]})
    );
    assert_eq!(groups["sender"]["@bob:hs"]["results"], json!([sent[0], sent[2], sent[4]]));
    let next = groups["room_id"][&two]["next_batch"].as_str().unwrap();
    let rest = page(&test, "alice", criteria.clone(), Some(next)).await;
    assert_eq!((ids(&rest), rest.get("next_batch")), (vec![&*sent[5], &*sent[8], &*sent[11]], None));
    let next = groups["sender"]["@bob:hs"]["next_batch"].as_str().unwrap();
    assert_eq!(ids(&page(&test, "alice", criteria.clone(), Some(next)).await), [&*sent[6], &*sent[8], &*sent[10]]);

    let path = |token: &str| format!("/v3/search?next_batch={token}");
    let body = |criteria: &Value| json!({"search_categories": {"room_events": criteria}});
    test.post("alice", &path("nonsense"), body(&criteria)).await.refused(400, "M_INVALID_PARAM");
    let by_rank = json!({"search_term": "cherry"});
    test.post("alice", &path(next), body(&by_rank)).await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn context_profiles_and_state() {
    let test = TestApp::searching(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    test.put("bob", "/v3/profile/@bob:hs/displayname", json!({"displayname": "Bobby"})).await.ok();
    for n in 1..=7 {
        test.say(if n == 4 { "bob" } else { "alice" }, &room, &format!("Message number {n}")).await;
    }
    test.put("bob", "/v3/profile/@bob:hs/displayname", json!({"displayname": "Robert"})).await.ok();
    let found = search(
        &test,
        "alice",
        json!({"search_term": "Message 4", "order_by": "recent", "filter": {"limit": 1}, "include_state": true,
            "event_context": {"before_limit": 2, "after_limit": 2, "include_profile": true}}),
    )
    .await;
    assert_eq!((&found["count"], found["next_batch"].is_string()), (&json!(1), true));
    let context = &found["results"][0]["context"];
    assert_eq!(bodies(&context["events_before"]), ["Message number 3", "Message number 2"]);
    assert_eq!(bodies(&context["events_after"]), ["Message number 5", "Message number 6"]);
    assert_eq!(context["profile_info"]["@bob:hs"]["displayname"], "Bobby", "as it was then");
    let back = format!("/v3/rooms/{room}/messages?dir=b&limit=1&from={}", context["start"].as_str().unwrap());
    assert_eq!(bodies(&test.get("alice", &back).await.ok()["chunk"]), ["Message number 1"]);
    let state = found["state"][&room].as_array().unwrap();
    assert!(state.iter().any(|event| event["state_key"] == "@bob:hs" && event["content"]["displayname"] == "Robert"));
    assert_eq!(found["highlights"], json!(["message", "4"]));
    // Five on either side where nothing else is said of them.
    let found = search(&test, "alice", json!({"search_term": "number 6", "event_context": {}})).await;
    let context = &found["results"][0]["context"];
    assert_eq!(bodies(&context["events_before"]).len(), 5);
    assert!(context.get("profile_info").is_none() && found.get("state").is_none());
}

#[tokio::test]
async fn rooms_that_were_replaced_are_searched_with_those_that_replace_them() {
    let test = TestApp::searching(&["alice", "bob"]).await;
    let old = test.room("alice", json!({"preset": "private_chat", "room_version": "9"})).await;
    let before = test.say("alice", &old, "Message before upgrade").await;
    let made = test.post("alice", &format!("/v3/rooms/{old}/upgrade"), json!({"new_version": "10"})).await.ok();
    let new = made["replacement_room"].as_str().unwrap().to_owned();
    test.clock.advance(5);
    let after = test.say("alice", &new, "Message after upgrade").await;
    for rooms in [json!([new]), json!([old, new])] {
        let criteria = json!({"search_term": "upgrade", "order_by": "recent", "keys": ["content.body"],
            "filter": {"rooms": rooms}});
        let found = search(&test, "alice", criteria).await;
        assert_eq!((ids(&found), &found["count"]), (vec![&*after, &*before], &json!(2)));
    }
    let criteria = json!({"search_term": "upgrade", "filter": {"rooms": [old]}});
    assert_eq!(ids(&search(&test, "alice", criteria).await), [&*before]);
}

#[tokio::test]
async fn odd_requests() {
    let test = TestApp::searching(&["alice"]).await;
    let ask = async |criteria: Value| {
        test.post("alice", "/v3/search", json!({"search_categories": {"room_events": criteria}})).await
    };
    let none = test.post("alice", "/v3/search", json!({"search_categories": {}})).await.ok();
    assert_eq!(none, json!({"search_categories": {}}));
    ask(json!({})).await.refused(400, "M_MISSING_PARAM");
    ask(json!({"search_term": "x".repeat(1025)})).await.refused(400, "M_INVALID_PARAM");
    ask(json!({"search_term": "x", "order_by": "luck"})).await.refused(400, "M_INVALID_PARAM");
    ask(json!({"search_term": "x", "keys": ["content.secret"]})).await.refused(400, "M_INVALID_PARAM");
    let by_type = json!({"search_term": "x", "groupings": {"group_by": [{"key": "type"}]}});
    ask(by_type).await.refused(400, "M_INVALID_PARAM");
    let many: Vec<String> = (0..1001).map(|n| format!("!r{n}:hs")).collect();
    ask(json!({"search_term": "x", "filter": {"rooms": many}})).await.refused(400, "M_INVALID_PARAM");
    for nothing in ["", " ", "?!"] {
        let found = search(&test, "alice", json!({"search_term": nothing})).await;
        assert_eq!((&found["count"], &found["results"]), (&json!(0), &json!([])));
    }
    test.post("", "/v3/search", json!({})).await.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn what_other_servers_sent_is_found_and_so_is_history_that_came_late() {
    let test = TestApp::searching(&["alice"]).await;
    let (room, join) = shared(&test).await;
    take(&test, &room, of_carol(&test, &room, &[&join], 10, text("grapes, just now")).await).await;
    let older = of_carol(&test, &room, &[&join], 10, text("grapes of old")).await;
    let id = older.pdu.event_id.to_string();
    let num = test.app.engine.room(room.as_str().try_into().unwrap()).await.unwrap();
    assert_eq!(search(&test, "alice", json!({"search_term": "grapes"})).await["count"], 1);
    test.app.engine.receive_history(&num, vec![older], &[]).await.unwrap();
    let found = search(&test, "alice", json!({"search_term": "grapes old"})).await;
    assert_eq!((ids(&found), &found["count"]), (vec![&*id], &json!(1)));
    assert_eq!(search(&test, "alice", json!({"search_term": "grapes"})).await["count"], 2);
}
