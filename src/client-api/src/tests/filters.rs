use serde_json::json;

use crate::testing::TestApp;

#[tokio::test]
async fn filters_come_back_as_they_were_sent() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let path = "/v3/user/@alice:hs/filter";
    let filter = json!({"room": {"timeline": {"limit": 3, "types": ["m.room.*"]}}, "org.example": 1});
    let id = test.post("alice", path, filter.clone()).await.ok()["filter_id"].as_str().unwrap().to_owned();
    assert_eq!(test.get("alice", &format!("{path}/{id}")).await.ok(), filter);
    assert_eq!(test.post("alice", path, filter).await.ok()["filter_id"], id.as_str());
    test.get("alice", &format!("{path}/99")).await.refused(404, "M_NOT_FOUND");
    test.get("alice", &format!("{path}/x")).await.refused(404, "M_NOT_FOUND");
    test.get("bob", &format!("{path}/{id}")).await.refused(403, "M_FORBIDDEN");
    test.post("bob", path, json!({})).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_stored_filter_decides_what_a_sync_shows() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.room("alice", json!({"name": "N"})).await;
    test.say("alice", &room, "one").await;
    test.send("alice", &room, "org.example.other", json!({})).await;
    let filter = json!({"room": {"timeline": {"types": ["m.room.message"], "limit": 5}}});
    let id =
        test.post("alice", "/v3/user/@alice:hs/filter", filter).await.ok()["filter_id"].as_str().unwrap().to_owned();
    let shown = test.get("alice", &format!("/v3/sync?filter={id}")).await.ok();
    let events = shown["rooms"]["join"][&room]["timeline"]["events"].as_array().unwrap();
    assert!(events.iter().all(|event| event["type"] == "m.room.message"), "{events:?}");
    assert_eq!(events.len(), 1);
    test.get("alice", "/v3/sync?filter=77").await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn bad_filters_are_refused() {
    let test = TestApp::new(&["alice"]).await;
    let path = "/v3/user/@alice:hs/filter";
    for bad in [
        json!({"room": {"timeline": {"limit": -1}}}),
        json!({"room": {"rooms": ["not a room"]}}),
        json!({"room": {"timeline": {"senders": ["bob"]}}}),
        json!({"presence": {"types": "m.presence"}}),
        json!({"room": 4}),
    ] {
        test.post("alice", path, bad).await.refused(400, "M_BAD_JSON");
    }
    let many = vec!["m.x"; 1001];
    test.post("alice", path, json!({"room": {"state": {"types": many}}})).await.refused(400, "M_INVALID_PARAM");
    test.post("alice", path, json!({"presence": {"not_types": ["x".repeat(256)]}}))
        .await
        .refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn events_are_chosen_by_what_they_are_to_another() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.room("alice", json!({})).await;
    let since = test.sync("alice", None).await["next_batch"].as_str().unwrap().to_owned();
    let root = test.say("alice", &room, "root").await;
    let related = async |kind: &str| {
        let content = json!({"msgtype": "m.text", "body": kind, "m.relates_to": {"rel_type": kind, "event_id": root}});
        test.send("alice", &room, "m.room.message", content).await
    };
    let (thread, reference) = (related("m.thread").await, related("m.reference").await);
    let only = |kinds: &[&str]| json!({"org.matrix.msc3874.rel_types": kinds});
    let not = |kinds: &[&str]| json!({"org.matrix.msc3874.not_rel_types": kinds});
    let cases = [
        (only(&["m.thread"]), vec![&thread]),
        (only(&["m.thread", "m.reference"]), vec![&thread, &reference]),
        (only(&[]), vec![]),
        (not(&["m.thread"]), vec![&root, &reference]),
        (not(&["m.thread", "m.reference"]), vec![&root]),
        (json!({}), vec![&root, &thread, &reference]),
    ];
    let ids = |events: &serde_json::Value| -> Vec<String> {
        events.as_array().into_iter().flatten().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
    };
    let encoded = |filter: &serde_json::Value| filter.to_string().replace('{', "%7B").replace('}', "%7D");
    for (filter, wanted) in cases {
        let path =
            format!("/v3/rooms/{room}/messages?dir=f&from={since}&filter={}", encoded(&filter).replace('"', "%22"));
        assert_eq!(
            ids(&test.get("alice", &path).await.ok()["chunk"]),
            wanted.iter().map(|id| (*id).clone()).collect::<Vec<_>>(),
            "{filter}"
        );
        // The same of a sync, uploaded and in the request.
        let whole = json!({"room": {"timeline": filter}});
        let made = test.post("alice", "/v3/user/@alice:hs/filter", whole.clone()).await.ok();
        let inline = encoded(&whole).replace('"', "%22");
        for filter in [made["filter_id"].as_str().unwrap(), &inline] {
            let sync = test.get("alice", &format!("/v3/sync?since={since}&filter={filter}")).await.ok();
            let shown = ids(&sync["rooms"]["join"][&room]["timeline"]["events"]);
            assert_eq!(shown, wanted.iter().map(|id| (*id).clone()).collect::<Vec<_>>(), "{filter}");
        }
    }
    let many = json!({"room": {"timeline": {"org.matrix.msc3874.not_rel_types": vec!["m.x"; 1001]}}});
    test.post("alice", "/v3/user/@alice:hs/filter", many).await.refused(400, "M_INVALID_PARAM");
    let bad = json!({"room": {"timeline": {"org.matrix.msc3874.rel_types": "m.thread"}}});
    test.post("alice", "/v3/user/@alice:hs/filter", bad).await.refused(400, "M_BAD_JSON");
}
