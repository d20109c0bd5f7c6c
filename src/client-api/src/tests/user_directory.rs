use serde_json::{Value, json};

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
    assert_eq!(search(&test, "alice", term("al")).await, found(&["@albert:hs", "@alma:hs"], false));
    assert_eq!(search(&test, "bob", term("al")).await, found(&["@albert:hs"], false));
    assert_eq!(search(&test, "alice", term("smith ZOÉ")).await, found(&["@alma:hs"], false));
    assert_eq!(search(&test, "alice", json!({"search_term": "al", "limit": 1})).await, found(&["@albert:hs"], true));
    assert_eq!(search(&test, "alice", term("alan")).await, found(&[], false));
    assert_eq!(search(&test, "alice", term(" ")).await, found(&[], false));
    let answer = test.post("alice", "/v3/user_directory/search", term("alma")).await.ok();
    let wanted = json!([{"user_id": "@alma:hs", "display_name": "Zoé Smith", "avatar_url": "mxc://hs/z"}]);
    assert_eq!(answer["results"], wanted);
    test.post("alice", "/v3/user_directory/search", json!({})).await.refused(400, "M_MISSING_PARAM");
    test.post("alice", "/v3/user_directory/search", term(&"x".repeat(2000))).await.refused(400, "M_INVALID_PARAM");
    test.post("", "/v3/user_directory/search", term("al")).await.refused(401, "M_MISSING_TOKEN");
}
