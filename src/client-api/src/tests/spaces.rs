use serde_json::{Value, json};

use crate::testing::TestApp;

async fn space(app: &TestApp, preset: &str) -> String {
    app.room("alice", json!({"preset": preset, "creation_content": {"type": "m.space"}})).await
}

async fn link(app: &TestApp, parent: &str, child: &str, more: Value) {
    let mut content = json!({"via": ["hs"]});
    for (key, value) in more.as_object().unwrap() {
        content[key] = value.clone();
    }
    // So that children are ordered by age.
    app.clock.advance(1);
    app.set("alice", parent, "m.space.child", child, content).await.ok();
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["rooms"].as_array().unwrap().iter().map(|room| room["room_id"].as_str().unwrap()).collect()
}

/// root → a, sub → (b, root), c; only a and c are suggested.
struct Tree {
    app: TestApp,
    root: String,
    a: String,
    sub: String,
    b: String,
    c: String,
}

async fn tree() -> Tree {
    let app = TestApp::new(&["alice", "bob"]).await;
    let (root, sub) = (space(&app, "public_chat").await, space(&app, "private_chat").await);
    let a = app.public_room(&["alice"]).await;
    let b = app.public_room(&["alice"]).await;
    let c = app.public_room(&["alice"]).await;
    link(&app, &root, &a, json!({"suggested": true})).await;
    link(&app, &root, &sub, json!({})).await;
    link(&app, &root, &c, json!({"suggested": true})).await;
    link(&app, &root, "!elsewhere:other", json!({"via": ["other"]})).await;
    link(&app, &sub, &b, json!({})).await;
    link(&app, &sub, &root, json!({})).await;
    Tree { app, root, a, sub, b, c }
}

#[tokio::test]
async fn a_space_is_walked_depth_first_and_loops_end() {
    let Tree { app, root, a, sub, b, c } = tree().await;
    let path = format!("/v1/rooms/{root}/hierarchy");
    let whole = app.get("alice", &path).await.ok();
    assert_eq!(ids(&whole), [&root, &a, &sub, &b, &c]);
    assert!(whole["next_batch"].is_null());
    assert_eq!(whole["rooms"][0]["room_type"], "m.space");
    assert_eq!(whole["rooms"][0]["children_state"].as_array().unwrap().len(), 4);
    assert_eq!(whole["rooms"][0]["children_state"][0]["state_key"], *a);
    assert_eq!(whole["rooms"][1]["children_state"], json!([]));
    assert_eq!(whole["rooms"][1]["join_rule"], "public");
    let shallow = app.get("alice", &format!("{path}?max_depth=1")).await.ok();
    assert_eq!(ids(&shallow), [&root, &a, &sub, &c]);
    let suggested = app.get("alice", &format!("{path}?suggested_only=true")).await.ok();
    assert_eq!(ids(&suggested), [&root, &a, &c]);
    // Bob may join the others, but not look into the private one, nor through it.
    assert_eq!(ids(&app.get("bob", &path).await.ok()), [&root, &a, &c]);
    app.post("alice", &format!("/v3/rooms/{sub}/invite"), json!({"user_id": "@bob:hs"})).await.ok();
    assert_eq!(ids(&app.get("bob", &path).await.ok()), [&root, &a, &sub, &b, &c]);
}

#[tokio::test]
async fn a_space_is_paged_through_by_whom_it_was_begun() {
    let Tree { app, root, a, sub, b, c } = tree().await;
    let path = format!("/v1/rooms/{root}/hierarchy");
    let first = app.get("alice", &format!("{path}?limit=3")).await.ok();
    assert_eq!(ids(&first), [&root, &a, &sub]);
    let next = first["next_batch"].as_str().unwrap();
    for _ in 0..2 {
        let second = app.get("alice", &format!("{path}?limit=1&from={next}")).await.ok();
        assert_eq!(ids(&second), [&b]);
        let third = app.get("alice", &format!("{path}?from={}", second["next_batch"].as_str().unwrap())).await.ok();
        assert_eq!(ids(&third), [&c]);
        assert!(third["next_batch"].is_null());
    }
    app.get("bob", &format!("{path}?from={next}")).await.refused(400, "M_INVALID_PARAM");
    app.get("alice", &format!("{path}?from={next}&suggested_only=true")).await.refused(400, "M_INVALID_PARAM");
    app.get("alice", &format!("{path}?from={next}&max_depth=1")).await.refused(400, "M_INVALID_PARAM");
    app.get("alice", &format!("/v1/rooms/{sub}/hierarchy?from={next}")).await.refused(400, "M_INVALID_PARAM");
    app.get("alice", &format!("{path}?limit=0")).await.refused(400, "M_INVALID_PARAM");
    app.get("bob", &format!("/v1/rooms/{sub}/hierarchy")).await.refused(403, "M_FORBIDDEN");
    app.get("bob", "/v1/rooms/!unknown:hs/hierarchy").await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn summaries_are_for_those_who_may_look() {
    let app = TestApp::new(&["alice", "bob"]).await;
    let lobby = app.public_room(&["alice"]).await;
    let allow = json!([{"type": "m.room_membership", "room_id": lobby}]);
    let rules = json!({"join_rule": "restricted", "allow": allow});
    let state = json!([{"type": "m.room.join_rules", "state_key": "", "content": rules}]);
    let back = json!({"preset": "private_chat", "name": "Back", "initial_state": state, "room_alias_name": "back"});
    let back = app.room("alice", back).await;
    let path = format!("/v1/room_summary/{back}");
    let seen = app.get("alice", &path).await.ok();
    assert_eq!(seen["allowed_room_ids"], json!([lobby]));
    assert_eq!(
        (&seen["name"], &seen["membership"], &seen["join_rule"]),
        (&json!("Back"), &json!("join"), &json!("restricted"))
    );
    app.get("bob", &path).await.refused(404, "M_NOT_FOUND");
    app.get("", &path).await.refused(404, "M_NOT_FOUND");
    app.join("bob", &lobby).await.ok();
    assert_eq!(app.get("bob", "/v1/room_summary/%23back:hs").await.ok()["membership"], "leave");
    let open = app.get("", &format!("/v1/room_summary/{lobby}")).await.ok();
    assert_eq!((&open["num_joined_members"], &open["membership"]), (&json!(2), &Value::Null));
    assert!(open.get("allowed_room_ids").is_none());
    app.get("alice", "/v1/room_summary/%23none:hs").await.refused(404, "M_NOT_FOUND");
    app.get("alice", "/v1/room_summary/%23room:elsewhere").await.refused(404, "M_NOT_FOUND");
}
