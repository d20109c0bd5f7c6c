use serde_json::{Value, json};

use crate::testing::TestApp;

fn bodies(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|event| event["content"]["body"].as_str().unwrap_or("?")).collect()
}

#[tokio::test]
async fn events_before_and_after() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let mut ids = Vec::new();
    for n in 0..9 {
        ids.push(test.say(if n % 2 == 0 { "alice" } else { "bob" }, &room, &n.to_string()).await);
    }
    test.set("alice", &room, "m.room.name", "", json!({"name": "later"})).await.ok();
    let get = async |query: &str| test.get("alice", &format!("/v3/rooms/{room}/context/{}{query}", ids[4])).await.ok();
    let context = get("?limit=4").await;
    assert_eq!(context["event"]["event_id"], ids[4]);
    assert_eq!(bodies(&context["events_before"]), ["3", "2"]);
    assert_eq!(bodies(&context["events_after"]), ["5", "6"]);
    let names = context["state"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.name").count();
    assert_eq!(names, 0, "the state is that of the last event");
    // The tokens continue in both directions.
    let page = |dir: &str, token: &Value| {
        format!("/v3/rooms/{room}/messages?dir={dir}&limit=1&from={}", token.as_str().unwrap())
    };
    let before = test.get("alice", &page("b", &context["start"])).await.ok();
    assert_eq!(bodies(&before["chunk"]), ["1"]);
    let after = test.get("alice", &page("f", &context["end"])).await.ok();
    assert_eq!(bodies(&after["chunk"]), ["7"]);

    let whole = get("").await;
    assert_eq!(bodies(&whole["events_before"])[..4], ["3", "2", "1", "0"]);
    assert_eq!(whole["events_before"].as_array().unwrap().len() + whole["events_after"].as_array().unwrap().len(), 10);
    let names = whole["state"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.name").count();
    assert_eq!(names, 1);
    let alone = get("?limit=0").await;
    assert_eq!((&alone["events_before"], &alone["events_after"]), (&json!([]), &json!([])));
    assert_eq!(alone["event"]["content"]["body"], "4");
}

#[tokio::test]
async fn filters_and_lazy_members() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob", "carol"]).await;
    test.say("bob", &room, "b").await;
    let event = test.say("alice", &room, "a").await;
    test.send("alice", &room, "org.example.x", json!({"body": "x"})).await;
    let get = async |filter: &str| {
        test.get("carol", &format!("/v3/rooms/{room}/context/{event}?limit=2&filter={filter}")).await.ok()
    };
    let lazy = get("%7B%22lazy_load_members%22:true%7D").await;
    let members = lazy["state"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.member");
    let mut members: Vec<_> = members.map(|event| event["state_key"].as_str().unwrap()).collect();
    members.sort_unstable();
    assert_eq!(members, ["@alice:hs", "@bob:hs"]);
    let messages = get("%7B%22types%22:[%22org.example.x%22]%7D").await;
    assert_eq!(bodies(&messages["events_after"]), ["x"]);
    assert_eq!(bodies(&messages["events_before"]), Vec::<&str>::new());
    assert_eq!(messages["event"]["content"]["body"], "a");
    assert_eq!(messages["state"], json!([]));
}

#[tokio::test]
async fn strangers_get_no_context() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice"]).await;
    let event = test.say("alice", &room, "a").await;
    test.get("bob", &format!("/v3/rooms/{room}/context/{event}")).await.refused(404, "M_NOT_FOUND");
    test.get("alice", &format!("/v3/rooms/{room}/context/$nothing")).await.refused(404, "M_NOT_FOUND");
}
