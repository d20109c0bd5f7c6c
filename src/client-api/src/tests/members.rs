use serde_json::{Value, json};

use crate::testing::TestApp;

fn users(members: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let members = members["chunk"].as_array().unwrap();
    let mut out: Vec<_> =
        members.iter().map(|event| (text(&event["state_key"]), text(&event["content"]["membership"]))).collect();
    out.sort();
    out
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(user, membership)| ((*user).to_owned(), (*membership).to_owned())).collect()
}

#[tokio::test]
async fn members_now_and_then() {
    let test = TestApp::new(&["alice", "bob", "carol", "dave"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let sync = test.sync("alice", None).await;
    let token = sync["next_batch"].as_str().unwrap();
    let end = test.get("alice", &format!("/v3/rooms/{room}/messages?dir=b")).await.ok();
    let point = end["start"].as_str().unwrap().to_owned();
    test.join("carol", &room).await.ok();
    test.post("alice", &format!("/v3/rooms/{room}/kick"), json!({"user_id": "@bob:hs"})).await.ok();
    let get = async |query: String| {
        let members = test.get("alice", &format!("/v3/rooms/{room}/members{query}")).await.ok();
        assert!(members["chunk"].as_array().unwrap().iter().all(|event| event["type"] == "m.room.member"));
        users(&members)
    };
    let now = pairs(&[("@alice:hs", "join"), ("@bob:hs", "leave"), ("@carol:hs", "join")]);
    assert_eq!(get(String::new()).await, now);
    assert_eq!(get("?membership=leave".into()).await, pairs(&[("@bob:hs", "leave")]));
    assert_eq!(get("?not_membership=join".into()).await, pairs(&[("@bob:hs", "leave")]));
    assert_eq!(get("?membership=invite".into()).await, []);
    // Of two filters one suffices.
    assert_eq!(get("?membership=leave&not_membership=leave".into()).await, now);
    assert_eq!(get("?membership=invite&not_membership=join".into()).await, pairs(&[("@bob:hs", "leave")]));
    let then = pairs(&[("@alice:hs", "join"), ("@bob:hs", "join")]);
    assert_eq!(get(format!("?at={token}")).await, then);
    // Without a token a page starts behind everything: that is now.
    assert_eq!(get(format!("?at={point}")).await, now);
    assert_eq!(get("?at=t1_1_0".into()).await, []);
    // A timeline that begins with the room: it began with its creator.
    let start = sync["rooms"]["join"][&room]["timeline"]["prev_batch"].as_str().unwrap();
    assert_eq!(get(format!("?at={start}")).await, pairs(&[("@alice:hs", "join")]));
    test.get("alice", &format!("/v3/rooms/{room}/members?at=x")).await.refused(400, "M_INVALID_PARAM");
    test.get("dave", &format!("/v3/rooms/{room}/members")).await.refused(403, "M_FORBIDDEN");
    // Who was thrown out sees who was there then, not who came or went later.
    test.join("dave", &room).await.ok();
    let seen = test.get("bob", &format!("/v3/rooms/{room}/members")).await.ok();
    assert_eq!(users(&seen), now);
}

#[tokio::test]
async fn joined_members_and_rooms() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let odd = json!({"membership": "join", "displayname": 4, "avatar_url": "mxc://hs/a"});
    test.set("bob", &room, "m.room.member", "@bob:hs", odd).await.ok();
    let path = format!("/v3/rooms/{room}/joined_members");
    let wanted = json!({"joined": {
        "@alice:hs": {"display_name": null, "avatar_url": null},
        "@bob:hs": {"display_name": null, "avatar_url": "mxc://hs/a"},
    }});
    assert_eq!(test.get("alice", &path).await.ok(), wanted);
    test.get("carol", &path).await.refused(403, "M_FORBIDDEN");
    assert_eq!(test.get("bob", "/v3/joined_rooms").await.ok(), json!({"joined_rooms": [room]}));
    test.post("bob", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
    test.get("bob", &path).await.refused(403, "M_FORBIDDEN");
    test.get("bob", &path.replace("v3", "r0")).await.refused(403, "M_FORBIDDEN");
    assert_eq!(test.get("bob", "/v3/joined_rooms").await.ok(), json!({"joined_rooms": []}));
}
