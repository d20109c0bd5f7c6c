use ruma::RoomVersionId;
use serde_json::json;

use super::{Joined, errcode, join, join_of, join_rules};
use crate::testing::World;

#[tokio::test]
async fn members_of_one_room_join_another() {
    for (version, rule) in [
        (RoomVersionId::V8, "restricted"),
        (RoomVersionId::V10, "knock_restricted"),
        (RoomVersionId::V12, "restricted"),
    ] {
        let world = World::new(&["one", "two"]);
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, ben) = (one.register("ann").await, two.register("ben").await);
        let club = one.create_room(&ann, version.clone()).await;
        let room = one.create_room(&ann, version.clone()).await;
        let allow = json!([{"type": "m.room_membership", "room_id": club}]);
        join_rules(one, &room, &ann, json!({"join_rule": rule, "allow": allow})).await;
        let refused = join(two, &ben, &room, &["one"]).await.unwrap_err();
        assert_eq!(errcode(&refused), Some("M_FORBIDDEN"), "{version}");
        join(two, &ben, &club, &["one"]).await.unwrap();
        assert!(matches!(join(two, &ben, &room, &["one"]).await.unwrap(), Joined::Entered(_)));
        for server in [one, two] {
            let member = server.content(&room, "m.room.member", ben.as_str()).await;
            assert_eq!(member["join_authorised_via_users_server"], ann.as_str(), "{version}");
        }
        assert_eq!(one.state(&room).await, two.state(&room).await, "{version}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_tell_says_so() {
    let world = World::new(&["one", "two", "three"]);
    let (one, two, three) = (world.server("one"), world.server("two"), world.server("three"));
    let (ann, ben, carl) = (one.register("ann").await, two.register("ben").await, three.register("carl").await);
    let club = one.create_room(&ann, RoomVersionId::V11).await;
    let room = one.create_room(&ann, RoomVersionId::V11).await;
    join(two, &ben, &room, &["one"]).await.unwrap();
    join(three, &carl, &club, &["one"]).await.unwrap();
    let allow = json!([{"type": "m.room_membership", "room_id": club}]);
    let rules = json!({"join_rule": "restricted", "allow": allow});
    join_rules(one, &room, &ann, rules.clone()).await;
    while two.content(&room, "m.room.join_rules", "").await != rules {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Nobody on the second server is in the club; the room's id would name the first.
    world.cut("one", "three");
    let refused = join(three, &carl, &room, &["two"]).await.unwrap_err();
    assert_eq!(errcode(&refused), Some("M_UNABLE_TO_AUTHORISE_JOIN"));
    world.heal("one", "three");
    // Ben may not invite.
    world.cut("one", "three");
    join(two, &ben, &club, &["one"]).await.unwrap();
    let refused = join(three, &carl, &room, &["two"]).await.unwrap_err();
    assert_eq!(errcode(&refused), Some("M_UNABLE_TO_GRANT_JOIN"));
    world.heal("one", "three");
    join(three, &carl, &room, &["two", "one"]).await.unwrap();
    assert_eq!(one.state(&room).await, three.state(&room).await);
}

#[tokio::test]
async fn a_server_in_the_room_asks_another_to_vouch() {
    let world = World::new(&["one", "two"]);
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, ben, bob) = (one.register("ann").await, two.register("ben").await, two.register("bob").await);
    let club = one.create_room(&ann, RoomVersionId::V11).await;
    let room = one.create_room(&ann, RoomVersionId::V11).await;
    join(two, &ben, &room, &["one"]).await.unwrap();
    join(two, &bob, &club, &["one"]).await.unwrap();
    let allow = json!([{"type": "m.room_membership", "room_id": club}]);
    let rules = json!({"join_rule": "restricted", "allow": allow});
    join_rules(one, &room, &ann, rules.clone()).await;
    while two.content(&room, "m.room.join_rules", "").await != rules {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let mut elsewhere = join_of(&bob, &room, &["two"]);
    elsewhere.elsewhere = true;
    let joined = two.federation().join(elsewhere).await.unwrap();
    assert!(matches!(joined, Joined::Entered(_)));
    assert_eq!(one.state(&room).await, two.state(&room).await);
    let member = two.content(&room, "m.room.member", bob.as_str()).await;
    assert_eq!(member["join_authorised_via_users_server"], ann.as_str());
}
