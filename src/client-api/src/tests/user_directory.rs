use serde_json::{Value, json};

use super::branches::{CAROL, of_carol, take};
use crate::testing::TestApp;

async fn search(test: &TestApp, who: &str, body: Value) -> (Vec<String>, bool) {
    let answer = test.post(who, "/v3/user_directory/search", body).await.ok();
    let ids = answer["results"].as_array().unwrap().iter().map(|user| user["user_id"].as_str().unwrap().to_owned());
    (ids.collect(), answer["limited"].as_bool().unwrap())
}

#[tokio::test]
async fn people_are_found_by_those_who_share_a_room_and_in_public_rooms() {
    let test = TestApp::new(&["alice", "albert", "alma", "alan", "bob"]).await;
    let private = test.room("alice", json!({"invite": ["@alma:hs"]})).await;
    test.join("alma", &private).await.ok();
    test.public_room(&["albert"]).await;
    test.room("alan", json!({})).await;
    test.put("alma", "/v3/profile/@alma:hs/displayname", json!({"displayname": "Zoé Smith"})).await.ok();
    test.put("alma", "/v3/profile/@alma:hs/avatar_url", json!({"avatar_url": "mxc://hs/z"})).await.ok();

    let found = |ids: &[&str], limited| (ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(), limited);
    let term = |term: &str| json!({"search_term": term});
    // Both begin with it; of one there is more to show.
    assert_eq!(search(&test, "alice", term("al")).await, found(&["@alma:hs", "@albert:hs"], false));
    assert_eq!(search(&test, "bob", term("al")).await, found(&["@albert:hs"], false));
    assert_eq!(search(&test, "alice", term("smith ZOÉ")).await, found(&["@alma:hs"], false));
    assert_eq!(search(&test, "alice", json!({"search_term": "al", "limit": 1})).await, found(&["@alma:hs"], true));
    assert_eq!(search(&test, "alice", term("alan")).await, found(&[], false));
    assert_eq!(search(&test, "alice", term(" ")).await, found(&[], false));
    let answer = test.post("alice", "/v3/user_directory/search", term("alma")).await.ok();
    let wanted = json!([{"user_id": "@alma:hs", "display_name": "Zoé Smith", "avatar_url": "mxc://hs/z"}]);
    assert_eq!(answer["results"], wanted);
    test.post("alice", "/v3/user_directory/search", json!({})).await.refused(400, "M_MISSING_PARAM");
    test.post("alice", "/v3/user_directory/search", term(&"x".repeat(2000))).await.refused(400, "M_INVALID_PARAM");
    test.post("", "/v3/user_directory/search", term("al")).await.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn users_of_other_servers_are_found_in_the_rooms_that_they_are_in() {
    let test = TestApp::new(&["alice", "caroline", "bob"]).await;
    let room = test.room("alice", json!({"preset": "public_chat"})).await;
    test.join("caroline", &room).await.ok();
    let last = test.say("alice", &room, "hello").await;
    let profile = json!({"membership": "join", "displayname": "Caro Far", "avatar_url": "mxc://elsewhere/c"});
    take(&test, &room, of_carol(&test, &room, &[&last], 9, profile).await).await;
    let all = async |who: &str, term: &str| {
        test.post(who, "/v3/user_directory/search", json!({"search_term": term})).await.ok()["results"].clone()
    };
    let carol = json!({"user_id": CAROL, "display_name": "Caro Far", "avatar_url": "mxc://elsewhere/c"});
    for who in ["alice", "bob"] {
        assert_eq!(all(who, "far").await, json!([carol]), "by name, {who}");
        assert_eq!(all(who, CAROL).await, json!([carol]), "by id, {who}");
    }
    // Those of whom there is more to show come first.
    assert_eq!(all("alice", "caro").await[0]["user_id"], CAROL);
    assert_eq!(all("alice", "caro").await.as_array().unwrap().len(), 2);
    // Who is not in the room finds nobody there once it is closed.
    test.set("alice", &room, "m.room.join_rules", "", json!({"join_rule": "invite"})).await.ok();
    assert_eq!(all("bob", "caro").await, json!([]));
    assert_eq!(all("alice", "far").await, json!([carol]));
}
