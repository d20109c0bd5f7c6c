//! Redacting, by either endpoint.

use serde_json::{Value, json};

use crate::testing::TestApp;

#[tokio::test]
async fn a_redaction_is_sent_as_any_event_is() {
    let test = TestApp::new(&["alice", "bob"]).await;
    for version in ["1", "10", "11", "12"] {
        let room = test.room("alice", json!({"room_version": version, "preset": "public_chat"})).await;
        test.join("bob", &room).await.ok();
        let target = test.say("bob", &room, "rude").await;
        let content = json!({"redacts": target, "reason": "rude", "x": 1});
        let path = format!("/v3/rooms/{room}/send/m.room.redaction/r");
        let sent = test.put("alice", &path, content.clone()).await.ok();
        assert_eq!(test.put("alice", &path, content).await.ok(), sent);
        let event = |id: &str| format!("/v3/rooms/{room}/event/{id}");
        let gone = test.get("bob", &event(&target)).await.ok();
        assert_eq!(gone["content"], json!({}), "{version}");
        assert_eq!(gone["unsigned"]["redacted_because"]["content"]["reason"], "rude");
        // Where the id stands in the event itself is for the version of the room to say: clients see it at both places.
        let (_, num) = {
            let id = sent["event_id"].as_str().unwrap();
            test.app.engine.find_event_anywhere(id).await.unwrap().unwrap()
        };
        let num_of_room = test.app.engine.room(room.as_str().try_into().unwrap()).await.unwrap().num;
        let row = test.app.engine.event(num_of_room, num).await.unwrap();
        let stored: Value = serde_json::from_str(row.json()).unwrap();
        let (top, inside) = (&stored["redacts"], &stored["content"]["redacts"]);
        let wanted = if ["11", "12"].contains(&version) {
            (&Value::Null, &json!(target))
        } else {
            (&json!(target), &Value::Null)
        };
        assert_eq!((top, inside), wanted, "{version}");
        assert_eq!(stored["content"]["x"], 1);
    }
}

#[tokio::test]
async fn it_is_for_those_who_may_redact_and_says_what() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let target = test.say("alice", &room, "a word").await;
    let send = async |who: &'static str, txn: &'static str, content: Value| {
        test.put(who, &format!("/v3/rooms/{room}/send/m.room.redaction/{txn}"), content).await
    };
    send("bob", "a", json!({"redacts": target})).await.refused(403, "M_FORBIDDEN");
    send("alice", "b", json!({"reason": "none"})).await.refused(400, "M_MISSING_PARAM");
    send("alice", "c", json!({"redacts": 7})).await.refused(400, "M_INVALID_PARAM");
    send("alice", "d", json!({"redacts": "$unknown"})).await.refused(404, "M_NOT_FOUND");
    send("alice", "e", json!({"redacts": target})).await.ok();
}
