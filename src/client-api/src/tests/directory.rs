use serde_json::{Value, json};

use crate::{ClientApiConfig, testing::TestApp};

const ALIAS: &str = "/v3/directory/room/%23dinner:hs";

#[tokio::test]
async fn aliases_are_made_found_listed_and_removed() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    test.get("", ALIAS).await.refused(404, "M_NOT_FOUND");
    test.put("bob", ALIAS, json!({"room_id": room})).await.ok();
    assert_eq!(test.get("", ALIAS).await.ok(), json!({"room_id": room, "servers": ["hs"]}));
    test.put("alice", ALIAS, json!({"room_id": room})).await.refused(409, "M_UNKNOWN");
    let aliases = format!("/v3/rooms/{room}/aliases");
    assert_eq!(test.get("alice", &aliases).await.ok(), json!({"aliases": ["#dinner:hs"]}));
    test.get("carol", &aliases).await.refused(403, "M_FORBIDDEN");
    let readable = json!({"history_visibility": "world_readable"});
    test.set("alice", &room, "m.room.history_visibility", "", readable).await.ok();
    assert_eq!(test.get("carol", &aliases).await.ok(), json!({"aliases": ["#dinner:hs"]}));

    test.delete("carol", ALIAS).await.refused(403, "M_FORBIDDEN");
    test.delete("bob", ALIAS).await.ok();
    test.delete("bob", ALIAS).await.refused(404, "M_NOT_FOUND");
    test.put("bob", ALIAS, json!({"room_id": room})).await.ok();
    test.delete("alice", ALIAS).await.ok();
    assert_eq!(test.get("alice", &aliases).await.ok(), json!({"aliases": []}));
}

#[tokio::test]
async fn aliases_are_made_by_members_on_this_server_alone() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.room("alice", json!({})).await;
    test.put("bob", ALIAS, json!({"room_id": room})).await.refused(403, "M_FORBIDDEN");
    test.put("bob", ALIAS, json!({"room_id": "!none:hs"})).await.refused(403, "M_FORBIDDEN");
    test.put("", ALIAS, json!({"room_id": room})).await.refused(401, "M_MISSING_TOKEN");
    test.put("alice", ALIAS, json!({})).await.refused(400, "M_MISSING_PARAM");
    for bad in ["%23dinner:elsewhere", "dinner", "%23:hs", "%23a%00b:hs"] {
        test.put("alice", &format!("/v3/directory/room/{bad}"), json!({"room_id": room}))
            .await
            .refused(400, "M_INVALID_PARAM");
    }
    let long = format!("/v3/directory/room/%23{}:hs", "a".repeat(255));
    test.put("alice", &long, json!({"room_id": room})).await.refused(400, "M_INVALID_PARAM");
    test.get("", "/v3/directory/room/%23dinner:elsewhere").await.refused(404, "M_NOT_FOUND");
    test.delete("alice", "/v3/directory/room/%23dinner:elsewhere").await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_removed_alias_is_no_longer_the_rooms_name() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let other = "/v3/directory/room/%23lunch:hs";
    for alias in [ALIAS, other] {
        test.put("bob", alias, json!({"room_id": room})).await.ok();
    }
    let content = json!({"alias": "#dinner:hs", "alt_aliases": ["#lunch:hs", "#dinner:hs"]});
    test.set("alice", &room, "m.room.canonical_alias", "", content.clone()).await.ok();
    test.delete("bob", ALIAS).await.ok();
    assert_eq!(test.state(&room, "m.room.canonical_alias", "").await, content, "bob may not change the room's state");
    test.delete("alice", other).await.ok();
    let left = json!({"alias": "#dinner:hs", "alt_aliases": ["#dinner:hs"]});
    assert_eq!(test.state(&room, "m.room.canonical_alias", "").await, left);
}

#[tokio::test]
async fn rooms_are_published_by_their_moderators() {
    let test = TestApp::new(&["alice", "bob"]).await;
    let room = test.public_room(&["alice", "bob"]).await;
    let path = format!("/v3/directory/list/room/{room}");
    assert_eq!(test.get("", &path).await.ok(), json!({"visibility": "private"}));
    test.put("bob", &path, json!({"visibility": "public"})).await.refused(403, "M_FORBIDDEN");
    test.put("alice", &path, json!({"visibility": "hidden"})).await.refused(400, "M_INVALID_PARAM");
    test.put("alice", &path, json!({})).await.ok();
    assert_eq!(test.get("", &path).await.ok(), json!({"visibility": "public"}));
    test.put("alice", &path, json!({"visibility": "private"})).await.ok();
    assert_eq!(test.get("", &path).await.ok(), json!({"visibility": "private"}));
    test.get("", "/v3/directory/list/room/!none:hs").await.refused(404, "M_NOT_FOUND");
    test.put("alice", "/v3/directory/list/room/!none:hs", json!({})).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn operators_may_allow_no_listing_and_strangers_reading() {
    let config =
        ClientApiConfig { allow_public_rooms: false, public_rooms_without_auth: true, ..ClientApiConfig::default() };
    let test = TestApp::with(config, &["alice"]).await;
    let room = test.public_room(&["alice"]).await;
    let path = format!("/v3/directory/list/room/{room}");
    test.put("alice", &path, json!({"visibility": "public"})).await.refused(403, "M_FORBIDDEN");
    assert_eq!(test.get("", "/v3/publicRooms").await.ok()["chunk"], json!([]));
}

fn names(page: &Value) -> Vec<&str> {
    page["chunk"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_list_has_the_largest_rooms_first_and_is_paged_both_ways() {
    let test = TestApp::new(&["alice", "bob", "carol"]).await;
    let mut rooms = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let body = json!({"preset": "public_chat", "visibility": "public", "name": name});
        rooms.push(test.room("alice", body).await);
    }
    test.join("bob", &rooms[2]).await.ok();
    test.join("carol", &rooms[2]).await.ok();
    test.join("bob", &rooms[1]).await.ok();
    let empty = test.room("bob", json!({"preset": "public_chat", "visibility": "public", "name": "empty"})).await;
    test.post("bob", &format!("/v3/rooms/{empty}/leave"), json!({})).await.ok();

    test.get("", "/v3/publicRooms").await.refused(401, "M_MISSING_TOKEN");
    let all = test.get("bob", "/v3/publicRooms").await.ok();
    assert_eq!(names(&all), ["three", "two", "one", "four"]);
    assert_eq!((&all["next_batch"], &all["prev_batch"]), (&json!(null), &json!(null)));
    assert_eq!(all["total_room_count_estimate"], 4);
    assert_eq!(all["chunk"][0]["num_joined_members"], 3);

    let first = test.get("bob", "/v3/publicRooms?limit=3").await.ok();
    assert_eq!(names(&first), ["three", "two", "one"]);
    let next = first["next_batch"].as_str().unwrap();
    let second = test.get("bob", &format!("/v3/publicRooms?limit=3&since={next}")).await.ok();
    assert_eq!(names(&second), ["four"]);
    assert_eq!(second["next_batch"], json!(null));
    let back = second["prev_batch"].as_str().unwrap();
    let third = test.get("bob", &format!("/v3/publicRooms?limit=2&since={back}")).await.ok();
    assert_eq!(names(&third), ["two", "one"]);
    test.get("bob", "/v3/publicRooms?since=nonsense").await.refused(400, "M_INVALID_PARAM");
    test.get("bob", "/v3/publicRooms?server=elsewhere").await.refused(404, "M_NOT_FOUND");
    assert_eq!(names(&test.get("bob", "/v3/publicRooms?server=hs&limit=1").await.ok()), ["three"]);
}

#[tokio::test]
async fn the_list_says_what_a_room_is_and_is_searched() {
    let test = TestApp::new(&["alice"]).await;
    let body = json!({
        "preset": "public_chat", "visibility": "public", "name": "Dinner Club", "topic": "Who pays?",
        "room_alias_name": "food", "initial_state": [
            {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
            {"type": "m.room.avatar", "content": {"url": "mxc://hs/a"}},
        ],
    });
    let room = test.room("alice", body).await;
    let space = json!({
        "preset": "public_chat", "visibility": "public", "name": "All", "creation_content": {"type": "m.space"},
    });
    test.room("alice", space).await;
    let search = |filter: Value| {
        let test = &test;
        async move { test.post("alice", "/v3/publicRooms", json!({"filter": filter})).await.ok() }
    };
    let found = search(json!({"generic_search_term": "dinner"})).await;
    let wanted = json!([{
        "room_id": room, "name": "Dinner Club", "topic": "Who pays?", "canonical_alias": "#food:hs",
        "avatar_url": "mxc://hs/a", "num_joined_members": 1, "world_readable": true, "guest_can_join": true,
        "join_rule": "public", "room_version": "12",
    }]);
    assert_eq!(found["chunk"], wanted);
    for term in ["PAYS", "food", " club "] {
        assert_eq!(names(&search(json!({"generic_search_term": term})).await), ["Dinner Club"], "{term}");
    }
    assert_eq!(names(&search(json!({"generic_search_term": "breakfast"})).await), [""; 0]);
    assert_eq!(names(&search(json!({"room_types": ["m.space"]})).await), ["All"]);
    assert_eq!(names(&search(json!({"room_types": [null]})).await), ["Dinner Club"]);
    let spaces = search(json!({"room_types": ["m.space"]})).await;
    assert_eq!(spaces["chunk"][0]["room_type"], "m.space");
    test.post("alice", "/v3/publicRooms?server=elsewhere", json!({})).await.refused(404, "M_NOT_FOUND");
    test.post("alice", "/v3/publicRooms", json!({"third_party_instance_id": "irc"}))
        .await
        .refused(400, "M_INVALID_PARAM");
    test.post("", "/v3/publicRooms", json!({})).await.refused(401, "M_MISSING_TOKEN");
}
