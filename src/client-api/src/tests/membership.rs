use serde_json::json;

use crate::testing::TestApp;

#[tokio::test]
async fn the_invited_may_join_and_others_not() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.room("alice", json!({})).await;
    test.join("bob", &room).await.refused(403, "M_FORBIDDEN");
    test.post("carol", &format!("/v3/rooms/{room}/invite"), json!({"user_id": "@bob:hs"})).await.refused(403, "M_FORBIDDEN");
    test.post("alice", &format!("/v3/rooms/{room}/invite"), json!({"user_id": "@bob:hs"})).await.ok();
    assert!(test.sync("bob", None).await["rooms"]["invite"][&room].is_object());
    assert_eq!(test.join("bob", &room).await.ok(), json!({"room_id": room}));
    assert!(test.sync("bob", None).await["rooms"]["join"][&room].is_object());
}
