use serde_json::{Value, json};

use crate::testing::TestApp;

fn shown(answer: &Value) -> Vec<(&str, &str)> {
    answer["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            let latest = &event["unsigned"]["m.relations"]["m.thread"]["latest_event"]["event_id"];
            (event["event_id"].as_str().unwrap(), latest.as_str().unwrap())
        })
        .collect()
}

async fn reply(test: &TestApp, who: &str, room: &str, root: &str) -> String {
    let content = json!({"msgtype": "m.text", "body": "r", "m.relates_to": {"rel_type": "m.thread", "event_id": root}});
    test.send(who, room, "m.room.message", content).await
}

#[tokio::test]
async fn the_thread_with_the_newest_reply_comes_first() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let (one, two) = (test.say("alice", &room, "one").await, test.say("alice", &room, "two").await);
    let first = reply(&test, "alice", &room, &one).await;
    let second = reply(&test, "alice", &room, &two).await;
    let path = format!("/v1/rooms/{room}/threads");
    let answer = test.get("bob", &path).await.ok();
    assert_eq!(shown(&answer), [(two.as_str(), second.as_str()), (&one, &first)]);
    assert!(answer.get("next_batch").is_none());
    let third = reply(&test, "alice", &room, &one).await;
    assert_eq!(shown(&test.get("bob", &path).await.ok()), [(one.as_str(), third.as_str()), (&two, &second)]);
    // In pages.
    let page = test.get("bob", &format!("{path}?limit=1")).await.ok();
    assert_eq!(shown(&page), [(one.as_str(), third.as_str())]);
    let next = page["next_batch"].as_str().unwrap();
    let page = test.get("bob", &format!("{path}?limit=1&from={next}")).await.ok();
    assert_eq!(shown(&page), [(two.as_str(), second.as_str())]);
    assert!(page.get("next_batch").is_none());
    test.get("bob", &format!("{path}?from=x")).await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn own_threads_and_those_that_are_none() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let (one, two) = (test.say("alice", &room, "one").await, test.say("alice", &room, "two").await);
    reply(&test, "alice", &room, &one).await;
    let own = reply(&test, "bob", &room, &two).await;
    let participated = format!("/v1/rooms/{room}/threads?include=participated");
    assert_eq!(shown(&test.get("bob", &participated).await.ok()), [(two.as_str(), own.as_str())]);
    assert_eq!(shown(&test.get("alice", &participated).await.ok()).len(), 2, "whoever started takes part");
    // There is no reply to what is itself a reply; none to something unknown makes a thread, nor one that was redacted.
    let nested = json!({"body": "r", "m.relates_to": {"rel_type": "m.thread", "event_id": own}});
    let path = format!("/v3/rooms/{room}/send/m.room.message/nested");
    test.put("alice", &path, nested).await.refused(400, "M_UNKNOWN");
    reply(&test, "alice", &room, "$nothing").await;
    test.put("bob", &format!("/v3/rooms/{room}/redact/{own}/r"), json!({})).await.ok();
    let all = test.get("bob", &format!("/v1/rooms/{room}/threads")).await.ok();
    assert_eq!(all["chunk"].as_array().unwrap().len(), 1, "{all}");
    test.get("carol", &format!("/v1/rooms/{room}/threads")).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_thread_says_whether_one_takes_part_and_shows_its_newest_event_as_it_is_now() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob", "carol"]).await;
    let root = test.say("alice", &room, "root").await;
    let last = reply(&test, "bob", &room, &root).await;
    let replaces = json!({"rel_type": "m.replace", "event_id": last});
    let edit = json!({"msgtype": "m.text", "body": "* r", "m.new_content": {"body": "e"}, "m.relates_to": replaces});
    let edit = test.send("bob", &room, "m.room.message", edit).await;
    for (who, takes_part) in [("alice", true), ("bob", true), ("carol", false)] {
        let event = test.get(who, &format!("/v3/rooms/{room}/event/{root}")).await.ok();
        let thread = &event["unsigned"]["m.relations"]["m.thread"];
        assert_eq!((&thread["count"], &thread["current_user_participated"]), (&json!(1), &json!(takes_part)), "{who}");
        let latest = &thread["latest_event"];
        assert_eq!(latest["event_id"], json!(last));
        assert_eq!(latest["unsigned"]["m.relations"]["m.replace"]["event_id"], json!(edit));
    }
}
