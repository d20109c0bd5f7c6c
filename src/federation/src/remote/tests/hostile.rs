//! A server that lies when it lets others in.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
};
use ruma::{OwnedRoomId, RoomId, RoomVersionId};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{RemoteError, join, join_rules, membership, with_room};
use crate::{
    Api,
    testing::{Fate, TestServer, World},
};

type Lie = Arc<dyn Fn(&str, &mut Value) + Send + Sync>;

/// The server's own answers, changed.
pub(super) fn lying(server: &TestServer, lie: impl Fn(&str, &mut Value) + Send + Sync + 'static) -> Router {
    let (inner, lie): (Router, Lie) = (crate::router().with_state(Api(server.federation())), Arc::new(lie));
    Router::new().fallback(move |request: Request| answer(inner.clone(), Arc::clone(&lie), request))
}

async fn answer(inner: Router, lie: Lie, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let (parts, body) = inner.oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut json: Value = serde_json::from_slice(&body).unwrap();
    lie(&path, &mut json);
    Response::from_parts(parts, Body::from(json.to_string()))
}

/// Ben joins through a server that lies, and is told what is wrong; nothing of the room is here then.
async fn refused(world: &World, room: &RoomId, lie: impl Fn(&str, &mut Value) + Send + Sync + 'static) -> String {
    let (one, two) = (world.server("one"), world.server("two"));
    world.mesh.answer_by("one", lying(one, lie));
    let ben = two.user_id("ben");
    let error = join(two, &ben, room, &["one"]).await.unwrap_err();
    assert!(two.engine().room(room).await.is_err());
    assert_eq!(membership(two, &ben, room).await, None);
    match error {
        RemoteError::BadAnswer { why, .. } => why,
        other => other.to_string(),
    }
}

fn list<'a>(json: &'a mut Value, name: &str) -> &'a mut Vec<Value> {
    json[name].as_array_mut().unwrap()
}

#[tokio::test]
async fn a_template_is_not_trusted() {
    let (world, room) = with_room(RoomVersionId::V11).await;
    let in_template = |field: &'static str, value: Value| {
        move |path: &str, json: &mut Value| {
            if path.contains("/make_join/") {
                json["event"][field] = value.clone();
            }
        }
    };
    let other = "not the one that was asked for";
    assert!(refused(&world, &room, in_template("sender", json!("@eve:two"))).await.contains(other));
    assert!(refused(&world, &room, in_template("state_key", json!("@eve:two"))).await.contains(other));
    assert!(refused(&world, &room, in_template("room_id", json!("!else:one"))).await.contains(other));
    assert!(refused(&world, &room, in_template("type", json!("m.room.power_levels"))).await.contains(other));
    assert!(refused(&world, &room, in_template("content", json!({"membership": "invite"}))).await.contains(other));
    let many: Vec<String> = (0..21).map(|n| format!("$event{n}")).collect();
    assert!(refused(&world, &room, in_template("prev_events", json!(many))).await.contains("prev_events"));
    let voucher = json!({"membership": "join", "join_authorised_via_users_server": "@ben:two"});
    assert!(refused(&world, &room, in_template("content", voucher)).await.contains("vouch"));
    let version = |path: &str, json: &mut Value| {
        if path.contains("/make_join/") {
            json["room_version"] = json!("99");
        }
    };
    assert!(refused(&world, &room, version).await.contains("99"));
}

fn in_answer(lie: impl Fn(&mut Value) + Send + Sync + 'static) -> impl Fn(&str, &mut Value) + Send + Sync + 'static {
    move |path, json| {
        if path.contains("/send_join/") {
            lie(json);
        }
    }
}

#[tokio::test]
async fn the_answer_is_one_room() {
    for version in [RoomVersionId::V10, RoomVersionId::V12] {
        let (world, room) = with_room(version.clone()).await;
        let one = world.server("one");
        let ann = one.user_id("ann");
        let events_of = async |room: OwnedRoomId| {
            let rows = one.rows(&room).await;
            rows.iter().map(|row| serde_json::from_str::<Value>(row.json()).unwrap()).collect::<Vec<_>>()
        };
        // Without its create event nothing in the room is allowed.
        let no_create = in_answer(|json| {
            for name in ["state", "auth_chain"] {
                list(json, name).retain(|event| event["type"] != "m.room.create");
            }
        });
        assert!(refused(&world, &room, no_create).await.contains("missing"), "{version}");
        // Events of another room of the same server, genuine in all else.
        let other = events_of(one.create_room(&ann, version.clone()).await).await;
        let mixed = in_answer(move |json| list(json, "auth_chain").extend(other.clone()));
        assert!(refused(&world, &room, mixed).await.contains("another room"), "{version}");
        // Two names at a time.
        for name in ["A", "B"] {
            one.set(&room, &ann, "m.room.name", "", json!({"name": name})).await.unwrap();
        }
        let names: Vec<Value> =
            events_of(room.clone()).await.into_iter().filter(|event| event["type"] == "m.room.name").collect();
        let twice = in_answer(move |json| {
            list(json, "state").retain(|event| event["type"] != "m.room.name");
            list(json, "state").extend(names.clone());
        });
        assert!(refused(&world, &room, twice).await.contains("two events"), "{version}");
        let no_state = in_answer(|json| json["state"] = json!([]));
        let why = refused(&world, &room, no_state).await;
        assert!(why.contains("missing"), "{version}: {why}");
        let crowd = in_answer(|json| json["servers_in_room"] = json!(vec!["one"; 100_001]));
        assert!(refused(&world, &room, crowd).await.contains("more than 100000 entries"), "{version}");
        let endless = in_answer(|json| json["state"] = json!(vec![json!({}); 500_001]));
        assert!(refused(&world, &room, endless).await.contains("more than 500000 entries"), "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_signed_are_left_out() {
    let (world, room) = with_room(RoomVersionId::V11).await;
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
    one.set(&room, &ann, "m.room.name", "", json!({"name": "N"})).await.unwrap();
    one.set(&room, &ann, "m.room.topic", "", json!({"topic": "T"})).await.unwrap();
    let unsigned = in_answer(|json| {
        for event in list(json, "state").iter_mut().filter(|event| event["type"] == "m.room.name") {
            event["signatures"] = json!({});
        }
        for event in list(json, "state").iter_mut().filter(|event| event["type"] == "m.room.topic") {
            event["auth_events"][0] = json!("$nowhere");
        }
    });
    world.mesh.answer_by("one", lying(one, unsigned));
    world.mesh.judge(|_, call| if call.target.contains("/state") { Fate::LOST } else { Fate::DELIVERED });
    join(two, &ben, &room, &["one"]).await.unwrap();
    assert_eq!(two.content(&room, "m.room.name", "").await, Value::Null);
    assert_eq!(two.content(&room, "m.room.topic", "").await, Value::Null);
    assert_eq!(two.content(&room, "m.room.join_rules", "").await["join_rule"], "public");
    // The whole state, told later, has what was spoilt on its way.
    world.heal_all();
    two.engine().whole(&*two.room(&room).await, Duration::from_secs(3600)).await.unwrap();
    assert_eq!(one.state(&room).await, two.state(&room).await);
}

/// A room that Ben may enter as a member of a club, and is told why he did not.
async fn vouched_for_by(lie: impl Fn(&str, &mut Value) + Send + Sync + 'static) -> String {
    let (world, room) = with_room(RoomVersionId::V10).await;
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
    let club = one.create_room(&ann, RoomVersionId::V10).await;
    join(two, &ben, &club, &["one"]).await.unwrap();
    let allow = json!([{"type": "m.room_membership", "room_id": club}]);
    join_rules(one, &room, &ann, json!({"join_rule": "restricted", "allow": allow})).await;
    refused(&world, &room, lie).await
}

#[tokio::test]
async fn who_vouches_has_to_sign() {
    let none = in_answer(|json| {
        json.as_object_mut().unwrap().remove("event");
    });
    let why = vouched_for_by(none).await;
    assert!(why.contains("not signed"), "{why}");
    let stripped = in_answer(|json| {
        json["event"]["signatures"].as_object_mut().unwrap().remove("one");
    });
    let why = vouched_for_by(stripped).await;
    assert!(why.contains("one did not sign"), "{why}");
    let changed = in_answer(|json| json["event"]["content"]["displayname"] = json!("Eve"));
    let why = vouched_for_by(changed).await;
    assert!(why.contains("not the one"), "{why}");
}
