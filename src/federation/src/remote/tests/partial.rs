//! Rooms whose members come behind.

use std::{sync::Arc, time::Duration};

use http::Method;
use ruma::{OwnedRoomId, RoomVersionId, api::federation::membership::prepare_join_event::v1 as make_join};
use serde_json::Value;

use super::{VERSIONS, join};
use crate::{
    CallError, CallLimits,
    testing::{Fate, TestServer, World},
};

const WAIT: Duration = Duration::from_secs(3600);

/// Calls whose path has `part` in it are lost.
fn lose(world: &World, part: &'static str) {
    world.mesh.judge(move |_, call| if call.target.contains(part) { Fate::LOST } else { Fate::DELIVERED });
}

/// A room on server `one` that a user of `three` is in as well.
async fn with_three(version: RoomVersionId) -> (World, OwnedRoomId) {
    let world = World::new(&["one", "two", "three"]);
    let (one, two, three) = (world.server("one"), world.server("two"), world.server("three"));
    let ann = one.register("ann").await;
    two.register("ben").await;
    let room = one.create_room(&ann, version).await;
    let cleo = three.register("cleo").await;
    join(three, &cleo, &room, &["one"]).await.unwrap();
    whole(three, &room).await;
    (world, room)
}

async fn whole(server: &TestServer, room: &OwnedRoomId) {
    let room = server.room(room).await;
    server.engine().whole(&room, WAIT).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn members_come_behind_and_the_room_is_used_meanwhile() {
    for version in VERSIONS {
        let (world, room) = with_three(version.clone()).await;
        let (one, two, three) = (world.server("one"), world.server("two"), world.server("three"));
        lose(&world, "/state");
        join(two, &two.user_id("ben"), &room, &["one"]).await.unwrap();
        assert!(two.room(&room).await.info().partial, "{version}");
        two.say(&room, &two.user_id("ben"), "hello").await;
        three.say(&room, &three.user_id("cleo"), "hi").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        // Nobody whom the newcomer does not know yet misses what they say, and the other way round.
        for server in [two, three] {
            let mut heard = server.texts(&room).await;
            heard.sort();
            assert_eq!(heard, ["hello", "hi"], "{version}");
        }
        assert!(two.room(&room).await.info().partial);
        world.heal_all();
        whole(two, &room).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(one.state(&room).await, two.state(&room).await, "{version}");
        assert_eq!(one.extremities(&room).await, two.extremities(&room).await, "{version}");
        let report = two.engine().check_room(two.room(&room).await.num).await.unwrap();
        assert_eq!(report.findings, Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_between_is_made_up_for_and_others_are_asked() {
    let (world, room) = with_three(RoomVersionId::V11).await;
    let (one, two, three) = (world.server("one"), world.server("two"), world.server("three"));
    lose(&world, "/state");
    join(two, &two.user_id("ben"), &room, &["one"]).await.unwrap();
    two.crash();
    world.heal_all();
    // Who let us in is gone for good.
    world.cut("one", "two");
    two.start();
    assert!(two.room(&room).await.info().partial);
    whole(two, &room).await;
    world.heal_all();
    three.say(&room, &three.user_id("cleo"), "hi").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(one.state(&room).await, two.state(&room).await);
    assert_eq!(three.state(&room).await, two.state(&room).await);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_know_all_members_lets_nobody_in_and_tells_no_state() {
    let (world, room) = with_three(RoomVersionId::V11).await;
    let (two, three) = (world.server("two"), world.server("three"));
    lose(&world, "/state");
    join(two, &two.user_id("ben"), &room, &["one"]).await.unwrap();
    let dora = three.register("dora").await;
    let (client, of_two) = (Arc::clone(&three.federation().client), "two".try_into().unwrap());
    let request = make_join::Request::new(room.clone(), dora);
    let answer = client.send(of_two, request, CallLimits::default()).await;
    assert!(matches!(answer, Err(CallError::Status { status, .. }) if status.as_u16() == 404), "{answer:?}");
    let end = two.extremities(&room).await.pop_first().unwrap();
    let target = format!("/_matrix/federation/v1/state_ids/{room}?event_id={end}");
    // The call goes the other way than those that are lost.
    world
        .mesh
        .judge(|from, call| if from == "two" && call.target.contains("/state") { Fate::LOST } else { Fate::DELIVERED });
    let answer: Result<serde_json::Value, _> =
        client.json(of_two, http::Method::GET, target, None, CallLimits::default()).await;
    assert!(matches!(answer, Err(CallError::Status { status, .. }) if status.as_u16() == 404), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_state_that_lacks_members_waits_for_them() {
    let (world, room) = with_three(RoomVersionId::V11).await;
    let (one, two, three) = (world.server("one"), world.server("two"), world.server("three"));
    world.mesh.judge(|from, call| {
        let slow = from == "two" && call.target.contains("/state");
        Fate { delay: Duration::from_secs(if slow { 5 } else { 0 }), ..Fate::DELIVERED }
    });
    join(two, &two.user_id("ben"), &room, &["one"]).await.unwrap();
    assert!(two.room(&room).await.info().partial);
    let end = two.extremities(&room).await.pop_first().unwrap();
    let target =
        format!("/_matrix/federation/v1/state_ids/{room}?event_id={end}").replace('!', "%21").replace('$', "%24");
    let client = Arc::clone(&three.federation().client);
    let of_two = "two".try_into().unwrap();
    let told: Value = client.json(of_two, Method::GET, target, None, CallLimits::default()).await.unwrap();
    assert!(!two.room(&room).await.info().partial);
    let mut told: Vec<&str> = told["pdu_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let mut whole = one.state(&room).await;
    whole.retain(|_, id| *id != end);
    let mut whole: Vec<&str> = whole.values().map(String::as_str).collect();
    told.sort_unstable();
    whole.sort_unstable();
    assert_eq!(told, whole);
}
