use std::time::Duration;

use http::Method;
use ruma::{RoomVersionId, server_name};
use serde_json::{Value, json};

use super::{Fate, World};
use crate::{CallError, CallLimits, TransportError};

async fn version(world: &World, from: &str, to: &str) -> Result<Value, CallError> {
    let client = world.server(from).federation().client.clone();
    let limits = CallLimits { timeout: Duration::from_millis(50), max_body: 100 };
    client.json(to.try_into().unwrap(), Method::GET, "/test".to_owned(), None, limits).await
}

/// A server that answers `/test`, beside the whole ones.
fn world() -> World {
    let world = World::new(&["one", "two"]);
    let answer = axum::routing::get(|| async { axum::Json(json!({"fine": true})) });
    world.mesh.answer_by("three", axum::Router::new().route("/test", answer));
    world
}

#[tokio::test]
async fn calls_arrive_and_links_break() {
    let world = world();
    assert_eq!(version(&world, "one", "three").await.unwrap(), json!({"fine": true}));
    assert!(version(&world, "one", "two").await.unwrap_err().is_status(http::StatusCode::NOT_FOUND));
    let unreachable =
        |result: Result<Value, CallError>| matches!(result, Err(CallError::Transport(TransportError::Unreachable(_))));
    assert!(unreachable(version(&world, "one", "four").await));
    world.cut("one", "three");
    assert!(unreachable(version(&world, "one", "three").await));
    assert!(version(&world, "two", "three").await.is_ok());
    world.heal("one", "three");
    world.mesh.judge(|from, _| if from == server_name!("one") { Fate::LOST } else { Fate::DELIVERED });
    let lost = version(&world, "one", "three").await;
    assert!(matches!(lost, Err(CallError::Transport(TransportError::Timeout))));
    world.heal_all();
    assert!(version(&world, "one", "three").await.is_ok());
    world.server("two").crash();
    assert!(unreachable(version(&world, "one", "two").await));
}

#[tokio::test]
async fn a_room_outlives_its_server() {
    for version in [RoomVersionId::V10, RoomVersionId::V12] {
        let world = World::new(&["one"]);
        let one = world.server("one");
        let ann = one.register("ann").await;
        let room = one.create_room(&ann, version).await;
        let said = one.say(&room, &ann, "hello").await;
        one.start();
        assert!(one.accepted(&room).await.contains(said.as_str()));
        assert_eq!(one.extremities(&room).await, [said.to_string()].into());
        assert_eq!(one.texts(&room).await, ["hello"]);
        assert_eq!(one.content(&room, "m.room.join_rules", "").await, json!({"join_rule": "public"}));
    }
}
