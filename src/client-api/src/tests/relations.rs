use serde_json::{Value, json};

use crate::testing::TestApp;

fn ids(answer: &Value) -> Vec<&str> {
    answer["chunk"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap()).collect()
}

async fn relate(test: &TestApp, who: &str, room: &str, kind: &str, (rel, to): (&str, &str)) -> String {
    let content = json!({"body": "x", "m.relates_to": {"rel_type": rel, "event_id": to, "key": "+"}});
    test.send(who, room, kind, content).await
}

#[tokio::test]
async fn relations_by_type() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let root = test.say("alice", &room, "root").await;
    let reply = relate(&test, "bob", &room, "m.room.message", ("m.thread", &root)).await;
    let dummy = relate(&test, "alice", &room, "m.dummy", ("m.thread", &root)).await;
    let edit = relate(&test, "alice", &room, "m.room.message", ("m.replace", &root)).await;
    let get = async |path: &str| test.get("bob", &format!("/v1/rooms/{room}/relations/{root}{path}")).await.ok();
    assert_eq!(ids(&get("").await), [&edit, &dummy, &reply]);
    assert_eq!(ids(&get("/m.thread").await), [&dummy, &reply]);
    assert_eq!(ids(&get("/m.thread/m.room.message").await), [&reply]);
    assert_eq!(ids(&get("?dir=f").await), [&reply, &dummy, &edit]);
    assert_eq!(ids(&get("/m.annotation").await), Vec::<&str>::new());
    let unstable = test.get("bob", &format!("/unstable/rooms/{room}/relations/{root}")).await.ok();
    assert_eq!(ids(&unstable).len(), 3);
    // What is redacted relates to nothing.
    test.put("alice", &format!("/v3/rooms/{room}/redact/{dummy}/r"), json!({})).await.ok();
    assert_eq!(ids(&get("").await), [&edit, &reply]);
}

#[tokio::test]
async fn relations_come_in_pages_that_continue() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.public_room(&["alice"]).await;
    let create = test.get("alice", &format!("/v3/rooms/{room}/state/m.room.create?format=event")).await.ok();
    let create = create["event_id"].as_str().unwrap().to_owned();
    let mut sent = Vec::new();
    let mut since = String::new();
    for n in 0..10 {
        if n == 5 {
            since = test.sync("alice", None).await["next_batch"].as_str().unwrap().to_owned();
        }
        sent.push(relate(&test, "alice", &room, "com.example.entry", ("m.reference", &create)).await);
    }
    let get = async |query: String| {
        test.get("alice", &format!("/v1/rooms/{room}/relations/{create}/m.reference/com.example.entry?{query}"))
            .await
            .ok()
    };
    for (dir, recurse) in [("b", false), ("f", false), ("b", true), ("f", true)] {
        let mut wanted = sent.clone();
        if dir == "b" {
            wanted.reverse();
        }
        let (mut found, mut from) = (Vec::new(), String::new());
        for page in [3, 3, 3, 1] {
            let answer = get(format!("dir={dir}&limit=3&recurse={recurse}{from}")).await;
            assert_eq!(ids(&answer).len(), page);
            found.extend(ids(&answer).into_iter().map(str::to_owned));
            from = match answer["next_batch"].as_str() {
                Some(next) => format!("&from={next}"),
                None => "end".to_owned(),
            };
        }
        assert_eq!((found, from.as_str()), (wanted, "end"));
    }
    assert_eq!(ids(&get(format!("dir=f&limit=3&from={since}")).await), sent[5..8]);
    assert_eq!(ids(&get(format!("dir=b&to={since}")).await).len(), 5);
    let path = format!("/v1/rooms/{room}/relations/{create}?from=x");
    test.get("alice", &path).await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn recursion_follows_relations_of_relations() {
    let test = TestApp::new(&["alice"]).await;
    let room = test.public_room(&["alice"]).await;
    let root = test.say("alice", &room, "root").await;
    let reply = relate(&test, "alice", &room, "m.room.message", ("m.thread", &root)).await;
    let reaction = relate(&test, "alice", &room, "m.reaction", ("m.annotation", &reply)).await;
    let third = relate(&test, "alice", &room, "org.example.x", ("org.example.r", &reaction)).await;
    let fourth = relate(&test, "alice", &room, "org.example.x", ("org.example.r", &third)).await;
    let get = async |query: &str| test.get("alice", &format!("/v1/rooms/{room}/relations/{root}{query}")).await.ok();
    let plain = get("").await;
    assert_eq!(ids(&plain), [&reply]);
    assert!(plain.get("recursion_depth").is_none());
    let deep = get("?recurse=true").await;
    assert_eq!(ids(&deep), [&third, &reaction, &reply]);
    assert_eq!(deep["recursion_depth"], 3);
    assert!(!ids(&deep).contains(&fourth.as_str()));
    // What is asked for is filtered, what is followed is not.
    assert_eq!(ids(&get("/m.annotation?recurse=true").await), [&reaction]);
}

#[tokio::test]
async fn relations_are_for_those_who_see_the_event() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice"]).await;
    let root = test.say("alice", &room, "root").await;
    test.get("bob", &format!("/v1/rooms/{room}/relations/{root}")).await.refused(404, "M_NOT_FOUND");
    test.get("alice", &format!("/v1/rooms/{room}/relations/$nothing")).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn nobody_annotates_an_event_twice_in_the_same_way() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let said = test.say("alice", &room, "x").await;
    let react = async |who: &str, key: &str, txn: &str| {
        let content = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": said, "key": key}});
        test.put(who, &format!("/v3/rooms/{room}/send/m.reaction/{txn}"), content).await
    };
    let first = react("alice", "+", "1").await.ok()["event_id"].clone();
    react("alice", "+", "2").await.refused(400, "M_DUPLICATE_ANNOTATION");
    // The same request again is the same annotation; another key, user or type is another one.
    assert_eq!(react("alice", "+", "1").await.ok()["event_id"], first);
    react("alice", "-", "3").await.ok();
    react("bob", "+", "4").await.ok();
    relate(&test, "alice", &room, "com.example.vote", ("m.annotation", &said)).await;
    let redact = format!("/v3/rooms/{room}/redact/{}/r", first.as_str().unwrap());
    test.put("alice", &redact, json!({})).await.ok();
    react("alice", "+", "5").await.ok();
}

#[tokio::test]
async fn what_ignored_people_say_is_in_no_bundle() {
    let test = TestApp::new(&["alice", "bob", "mallory"]).await;
    let room = test.public_room(&["alice", "bob", "mallory"]).await;
    let (root, other) = (test.say("alice", &room, "root").await, test.say("alice", &room, "other").await);
    let seen = relate(&test, "alice", &room, "m.room.message", ("m.thread", &root)).await;
    relate(&test, "mallory", &room, "m.room.message", ("m.thread", &root)).await;
    relate(&test, "mallory", &room, "m.room.message", ("m.thread", &other)).await;
    let ignored = json!({"ignored_users": {"@mallory:hs": {}}});
    test.put("bob", "/v3/user/@bob:hs/account_data/m.ignored_user_list", ignored).await.ok();
    for (who, count) in [("alice", 2), ("bob", 1)] {
        let event = test.get(who, &format!("/v3/rooms/{room}/event/{root}")).await.ok();
        let thread = &event["unsigned"]["m.relations"]["m.thread"];
        assert_eq!(thread["count"], json!(count), "{event}");
        assert_eq!(thread["latest_event"]["event_id"] == json!(seen), count == 1);
        let related = test.get(who, &format!("/v1/rooms/{room}/relations/{root}")).await.ok();
        assert_eq!(related["chunk"].as_array().unwrap().len(), count);
        let threads = test.get(who, &format!("/v1/rooms/{room}/threads")).await.ok();
        assert_eq!(threads["chunk"].as_array().unwrap().len(), count, "{threads}");
    }
    let sync = test.sync("bob", None).await;
    assert!(!sync["rooms"]["join"][&room]["timeline"].to_string().contains("mallory:hs\",\"content\":{\"body"));
}
