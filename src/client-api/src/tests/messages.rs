use serde_json::{Value, json};

use crate::testing::TestApp;

/// The texts of the messages of a page.
fn bodies(page: &Value) -> Vec<&str> {
    page["chunk"].as_array().unwrap().iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// All pages from a query on, one after the other.
async fn walk(test: &TestApp, who: &str, room: &str, query: &str) -> Vec<String> {
    let (mut out, mut from) = (Vec::new(), String::new());
    for _ in 0..100 {
        let page = test.get(who, &format!("/v3/rooms/{room}/messages?{query}{from}")).await.ok();
        out.extend(
            page["chunk"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()),
        );
        let Some(end) = page["end"].as_str() else { return out };
        from = format!("&from={end}");
    }
    panic!("pages without end");
}

#[tokio::test]
async fn pages_cover_everything_once_in_both_directions() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let mut sent = Vec::new();
    for n in 0..25 {
        sent.push(test.say("alice", &room, &format!("m{n}")).await);
    }
    let backward = walk(&test, "bob", &room, "dir=b&limit=7").await;
    let mut forward = walk(&test, "bob", &room, "dir=f&limit=7").await;
    forward.reverse();
    assert_eq!(backward, forward);
    assert_eq!(backward.len(), 25 + 6);
    sent.reverse();
    assert_eq!(backward[..25], sent[..]);
    // One page that takes everything has no end.
    let page = test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b&limit=31")).await.ok();
    assert!(page.get("end").is_none() && page["start"].is_string() && page.get("state").is_none());
    let page = test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b&limit=30")).await.ok();
    assert!(page["end"].is_string());
    let page = test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b")).await.ok();
    assert_eq!(bodies(&page).len(), 10);
    // Without a direction it is forward.
    let page = test.get("bob", &format!("/v3/rooms/{room}/messages")).await.ok();
    assert_eq!(page["chunk"][0]["type"], "m.room.create");
    let page = test.get("bob", &format!("/v3/rooms/{room}/messages?limit=1")).await.ok();
    assert_eq!(page["chunk"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn tokens_of_syncs_and_pages_bound_pages() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.public_room(&["alice"]).await;
    test.say("alice", &room, "one").await;
    let since = test.sync("alice", None).await["next_batch"].as_str().unwrap().to_owned();
    test.say("alice", &room, "two").await;
    test.say("alice", &room, "three").await;
    let get = async |query: String| test.get("alice", &format!("/v3/rooms/{room}/messages?{query}")).await;
    assert_eq!(bodies(&get(format!("dir=f&from={since}")).await.ok()), ["two", "three"]);
    assert_eq!(bodies(&get(format!("dir=b&from={since}&limit=1")).await.ok()), ["one"]);
    let gap = get(format!("dir=b&to={since}")).await.ok();
    assert_eq!(bodies(&gap), ["three", "two"]);
    assert!(gap.get("end").is_none());
    let page = get("dir=b&limit=2".into()).await.ok();
    let end = page["end"].as_str().unwrap();
    assert_eq!(bodies(&get(format!("dir=b&from={end}&limit=1")).await.ok()), ["one"]);
    assert_eq!(bodies(&get(format!("dir=f&from={end}")).await.ok()), ["two", "three"]);
    assert_eq!(bodies(&get(format!("dir=f&from={since}&to={end}")).await.ok()), Vec::<&str>::new());
    // The gap before a limited timeline is filled from its `prev_batch`.
    let sync =
        test.get("alice", "/v3/sync?filter=%7B%22room%22:%7B%22timeline%22:%7B%22limit%22:1%7D%7D%7D").await.ok();
    let prev = sync["rooms"]["join"][&room]["timeline"]["prev_batch"].as_str().unwrap();
    assert_eq!(bodies(&get(format!("dir=b&from={prev}&limit=2")).await.ok()), ["two", "one"]);
    for bad in ["dir=b&from=x", "dir=b&to=x"] {
        get(bad.into()).await.refused(400, "M_INVALID_PARAM");
    }
    assert_eq!(get("dir=sideways".into()).await.status, 400);
    assert_eq!(get("dir=b&limit=many".into()).await.status, 400);
    assert_eq!(get("dir=b&filter=nonsense".into()).await.status, 400);
}

#[tokio::test]
async fn filters_pass_what_they_name() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    test.say("alice", &room, "a").await;
    test.say("bob", &room, "b").await;
    test.send("bob", &room, "org.example.x", json!({"body": "x", "url": "mxc://hs/u"})).await;
    let get = async |filter: Value| {
        let filter = filter.to_string().replace('{', "%7B").replace('}', "%7D").replace('"', "%22").replace('#', "%23");
        test.get("alice", &format!("/v3/rooms/{room}/messages?dir=b&limit=1&filter={filter}")).await.ok()
    };
    assert_eq!(bodies(&get(json!({"types": ["m.room.message"]})).await), ["b"]);
    assert_eq!(bodies(&get(json!({"senders": ["@alice:hs"], "types": ["m.room.*"]})).await), ["a"]);
    assert_eq!(bodies(&get(json!({"not_senders": ["@bob:hs"]})).await), ["a"]);
    assert_eq!(bodies(&get(json!({"contains_url": false})).await), ["b"]);
    assert_eq!(bodies(&get(json!({"contains_url": true})).await), ["x"]);
    let none = get(json!({"types": []})).await;
    assert!(bodies(&none).is_empty() && none.get("end").is_none());
    assert!(bodies(&get(json!({"not_rooms": [room]})).await).is_empty());
}

#[tokio::test]
async fn members_are_loaded_with_those_who_speak() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob", "carol"]).await;
    test.say("alice", &room, "a").await;
    test.say("bob", &room, "b").await;
    test.say("bob", &room, "b").await;
    let lazy = "%7B%22lazy_load_members%22:true%7D";
    let page = test.get("carol", &format!("/v3/rooms/{room}/messages?dir=b&limit=3&filter={lazy}")).await.ok();
    let state = page["state"].as_array().unwrap();
    let mut users: Vec<_> = state.iter().map(|event| event["state_key"].as_str().unwrap()).collect();
    users.sort_unstable();
    assert_eq!(users, ["@alice:hs", "@bob:hs"]);
    assert!(state.iter().all(|event| event["type"] == "m.room.member" && event["content"]["membership"] == "join"));
}

#[tokio::test]
async fn history_ends_where_one_left() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    test.say("alice", &room, "seen").await;
    test.post("bob", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    let later = test.say("alice", &room, "unseen").await;
    let since = test.sync("alice", None).await["next_batch"].as_str().unwrap().to_owned();
    for query in ["dir=b", "dir=f&limit=100", &format!("dir=b&from={since}")] {
        let page = test.get("bob", &format!("/v3/rooms/{room}/messages?{query}")).await.ok();
        assert_eq!(bodies(&page), ["seen"], "{query}");
    }
    let page = test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b&limit=1")).await.ok();
    assert_eq!(page["chunk"][0]["content"]["membership"], "leave");
    test.get("bob", &format!("/v3/rooms/{room}/event/{later}")).await.refused(404, "M_NOT_FOUND");
    test.get("bob", &format!("/v3/rooms/{room}/context/{later}")).await.refused(404, "M_NOT_FOUND");
    test.get("carol", &format!("/v3/rooms/{room}/messages?dir=b")).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn visibility_decides_about_history() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    for (visibility, wanted) in
        [("shared", vec!["third", "second", "first"]), ("invited", vec!["third", "second"]), ("joined", vec!["third"])]
    {
        let state = json!([{"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}]);
        let room = test.room("alice", json!({"initial_state": state})).await;
        let first = test.say("alice", &room, "first").await;
        test.post("alice", &format!("/v3/rooms/{room}/invite"), json!({"user_id": "@bob:hs"})).await.ok();
        let second = test.say("alice", &room, "second").await;
        test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b")).await.refused(403, "M_FORBIDDEN");
        test.join("bob", &room).await.ok();
        test.say("alice", &room, "third").await;
        let page = test.get("bob", &format!("/v3/rooms/{room}/messages?dir=b&limit=100")).await.ok();
        assert_eq!(bodies(&page), wanted, "{visibility}");
        for (event, body) in [(first, "first"), (second, "second")] {
            let answer = test.get("bob", &format!("/v3/rooms/{room}/event/{event}")).await;
            if wanted.contains(&body) {
                assert_eq!(answer.ok()["content"]["body"], body);
            } else {
                answer.refused(404, "M_NOT_FOUND");
            }
        }
        test.get("carol", &format!("/v3/rooms/{room}/messages?dir=b")).await.refused(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn events_are_shown_with_what_belongs_to_them() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let sent = test.say("alice", &room, "hello").await;
    let path = format!("/v3/rooms/{room}/event/{sent}");
    let event = test.get("bob", &path).await.ok();
    assert_eq!(
        (&event["event_id"], &event["room_id"], &event["sender"]),
        (&json!(sent), &json!(room), &json!("@alice:hs"))
    );
    assert!(event["origin_server_ts"].is_u64() && event["unsigned"].get("transaction_id").is_none());
    assert!(test.get("alice", &path).await.ok()["unsigned"]["transaction_id"].is_string());
    assert!(test.get("alice:OTHER", &path).await.ok()["unsigned"].get("transaction_id").is_none());
    test.put("alice", &format!("/v3/rooms/{room}/redact/{sent}/r1"), json!({"reason": "oops"})).await.ok();
    let event = test.get("bob", &path).await.ok();
    assert_eq!(event["content"], json!({}));
    assert_eq!(event["unsigned"]["redacted_because"]["content"]["reason"], "oops");
    // An event is found in its own room only.
    let other = test.public_room(&["alice"]).await;
    test.get("alice", &format!("/v3/rooms/{other}/event/{sent}")).await.refused(404, "M_NOT_FOUND");
    test.get("alice", &format!("/v3/rooms/{room}/event/$nothing")).await.refused(404, "M_NOT_FOUND");
    test.get("alice", "/v3/rooms/!nothing:hs/event/$nothing").await.refused(404, "M_NOT_FOUND");
    test.get("bob", &format!("/v3/rooms/{other}/event/$nothing")).await.refused(404, "M_NOT_FOUND");
}
