use crate::testing::TestApp;

#[tokio::test]
async fn the_closest_event_in_a_direction_is_found() {
    let app = TestApp::new(&["alice", "bob"]).await;
    let before = app.app.engine.now();
    app.clock.advance(1000);
    let room = app.public_room(&["alice"]).await;
    app.clock.advance(1000);
    let first = app.say("alice", &room, "a").await;
    // Sent at the same time, in this order.
    let second = app.say("alice", &room, "b").await;
    let at = app.app.engine.now();
    app.clock.advance(1000);
    let path = |ts: u64, dir: &str| format!("/v1/rooms/{room}/timestamp_to_event?ts={ts}&dir={dir}");
    assert_eq!(app.get("alice", &path(at - 500, "f")).await.ok()["event_id"], *first);
    assert_eq!(app.get("alice", &path(at, "f")).await.ok()["event_id"], *first);
    assert_eq!(app.get("alice", &path(at, "b")).await.ok()["event_id"], *second);
    assert_eq!(app.get("alice", &path(at + 1, "b")).await.ok()["event_id"], *second);
    assert_eq!(app.get("alice", &path(at, "b")).await.ok()["origin_server_ts"], at);
    app.get("alice", &path(at + 1, "f")).await.refused(404, "M_NOT_FOUND");
    app.get("alice", &path(before, "b")).await.refused(404, "M_NOT_FOUND");
    // What comes after the index was made is found, too.
    let third = app.say("alice", &room, "c").await;
    assert_eq!(app.get("alice", &path(at + 1, "f")).await.ok()["event_id"], *third);
    app.get("bob", &path(at, "f")).await.refused(403, "M_FORBIDDEN");
}
