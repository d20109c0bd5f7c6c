//! How invitations are sent to servers of every age, and what they show of a room.

use axum::{Router, extract::Request, response::IntoResponse as _};
use engine::{Membership, NewEvent};
use http::{Method, StatusCode};
use ruma::{OwnedRoomId, RoomVersionId, events::TimelineEventType};
use serde_json::{Value, json, value::to_raw_value};
use tower::ServiceExt as _;

use super::{change_of, invite, join, membership, with_room};
use crate::{
    Api, CallError,
    remote::{SMALL, join::path},
    testing::{TestServer, World},
};

/// A server that does not know the newer endpoint for invitations.
fn older(server: &TestServer, status: StatusCode, errcode: &'static str) -> Router {
    let inner: Router = crate::router().with_state(Api(server.federation()));
    Router::new().fallback(move |request: Request| {
        let inner = inner.clone();
        async move {
            if request.uri().path().contains("/v2/invite/") {
                return (status, axum::Json(json!({"errcode": errcode, "error": "what is that?"}))).into_response();
            }
            inner.oneshot(request).await.unwrap()
        }
    })
}

#[tokio::test]
async fn older_servers_are_invited_to_rooms_of_the_first_versions() {
    for (status, errcode) in [(StatusCode::NOT_FOUND, "M_UNRECOGNIZED"), (StatusCode::BAD_REQUEST, "M_UNKNOWN")] {
        for version in [RoomVersionId::V1, RoomVersionId::V2, RoomVersionId::V3, RoomVersionId::V11] {
            let (world, room) = with_room(version.clone()).await;
            let (one, two) = (world.server("one"), world.server("two"));
            let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
            world.mesh.answer_by("two", older(two, status, errcode));
            let invited = invite(one, &ann, &room, &ben).await;
            if !matches!(version, RoomVersionId::V1 | RoomVersionId::V2) {
                assert!(invited.unwrap_err().to_string().contains("what is that?"));
                assert_eq!(membership(two, &ben, &room).await, None);
                continue;
            }
            invited.unwrap();
            assert_eq!(membership(two, &ben, &room).await, Some(Membership::Invite), "{version}");
            assert_eq!(one.content(&room, "m.room.member", ben.as_str()).await["membership"], "invite");
            // Which of the two versions it is was not said; refusing and accepting work all the same.
            two.federation().leave(change_of(&ben, &room, &[])).await.unwrap();
            assert_eq!(one.content(&room, "m.room.member", ben.as_str()).await["membership"], "leave", "{version}");
            invite(one, &ann, &room, &ben).await.unwrap();
            join(two, &ben, &room, &[]).await.unwrap();
            assert_eq!(two.room(&room).await.version, version);
            assert_eq!(one.state(&room).await, two.state(&room).await);
            // Where the room is known, its version is as well.
            let bob = two.register("bob").await;
            invite(one, &ann, &room, &bob).await.unwrap();
            assert_eq!(two.content(&room, "m.room.member", bob.as_str()).await["membership"], "invite", "{version}");
        }
    }
}

/// Ann's server invites Ben and shows this of the room: what his says to that.
async fn show(world: &World, room: &OwnedRoomId, shown: &[Value]) -> Result<(), (u16, String)> {
    let (one, two) = (world.server("one"), world.server("two"));
    let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
    let (engine, here) = (one.engine(), one.room(room).await);
    let event = NewEvent {
        sender: &ann,
        sender_num: engine.user_num(&ann).await.unwrap(),
        event_type: TimelineEventType::RoomMember,
        state_key: Some(ben.as_str()),
        content: r#"{"membership":"invite"}"#,
        redacts: None,
        origin_server_ts: None,
        device: None,
        txn_id: None,
    };
    let drafted = engine.write(&here).await.unwrap().draft(&event).await.unwrap();
    let event: Value = serde_json::from_str(&drafted.json).unwrap();
    let body = json!({"room_version": here.version, "event": event, "invite_room_state": shown});
    let (to, body) = ("two".try_into().unwrap(), to_raw_value(&body).unwrap());
    let client = one.federation().client.clone();
    let answer = client.json::<Value>(to, Method::PUT, path("v2/invite", &drafted), Some(&body), SMALL).await;
    answer.map(drop).map_err(|error| match error {
        CallError::Status { status, errcode, .. } => (status.as_u16(), errcode),
        other => panic!("{other}"),
    })
}

/// The types of what the invited user is shown, without their own membership.
async fn seen(server: &TestServer, room: &OwnedRoomId) -> Vec<String> {
    let (engine, ben) = (server.engine(), server.user_id("ben"));
    let num = engine.ids.find(store::IdKind::Room, room.as_str()).await.unwrap().unwrap();
    let user = engine.user_num(&ben).await.unwrap();
    let state: Vec<Value> = serde_json::from_slice(&engine.invite_state(user, num).await.unwrap()).unwrap();
    let (own, rest) = state.split_last().unwrap();
    assert_eq!(own["content"]["membership"], "invite");
    for event in rest {
        let mut keys: Vec<&String> = event.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["content", "sender", "state_key", "type"], "clients get no more than stripped events");
    }
    rest.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

async fn named_room(version: RoomVersionId) -> (World, OwnedRoomId, Value, Value) {
    let (world, room) = with_room(version).await;
    let one = world.server("one");
    one.set(&room, &one.user_id("ann"), "m.room.name", "", json!({"name": "Dinner"})).await.unwrap();
    let rows = one.rows(&room).await;
    let of =
        |kind: &str| serde_json::from_str(rows.iter().find(|row| row.event_type() == kind).unwrap().json()).unwrap();
    let (create, name) = (of("m.room.create"), of("m.room.name"));
    (world, room, create, name)
}

fn stripped(event: &Value) -> Value {
    let fields = ["content", "sender", "state_key", "type"].map(|field| (field.to_owned(), event[field].clone()));
    Value::Object(fields.into_iter().collect())
}

#[tokio::test]
async fn from_version_12_on_a_room_is_shown_by_genuine_events_of_it_or_not_at_all() {
    let (world, room, create, name) = named_room(RoomVersionId::V12).await;
    let one = world.server("one");
    let other = one.create_room(&one.user_id("ann"), RoomVersionId::V12).await;
    let other = serde_json::from_str::<Value>(one.rows(&other).await[0].json()).unwrap();
    let mut changed = name.clone();
    changed["content"]["name"] = json!("Lunch");
    let mut unsigned = name.clone();
    unsigned["signatures"] = json!({});
    let of_other = json!({"type": "m.room.create", "state_key": ""});
    for bad in [
        vec![],
        vec![name.clone()],
        vec![stripped(&create), name.clone()],
        vec![other.clone(), name.clone()],
        vec![create.clone(), other],
        vec![create.clone(), changed],
        vec![create.clone(), unsigned],
        vec![create.clone(), stripped(&name)],
        vec![of_other],
    ] {
        assert_eq!(show(&world, &room, &bad).await, Err((400, "M_INVALID_PARAM".to_owned())), "{bad:?}");
        assert_eq!(membership(world.server("two"), &world.server("two").user_id("ben"), &room).await, None);
    }
    assert_eq!(show(&world, &room, &[create, name]).await, Ok(()));
    assert_eq!(seen(world.server("two"), &room).await, ["m.room.create", "m.room.name"]);
}

#[tokio::test]
async fn older_rooms_are_shown_as_well_as_their_servers_can() {
    for version in [RoomVersionId::V1, RoomVersionId::V11] {
        let (world, room, create, name) = named_room(version.clone()).await;
        let two = world.server("two");
        let mut changed = name.clone();
        changed["content"]["name"] = json!("Lunch");
        for (shown, expected) in [
            (vec![create.clone(), name.clone()], vec!["m.room.create", "m.room.name"]),
            (vec![stripped(&create), stripped(&name)], vec!["m.room.create", "m.room.name"]),
            (vec![stripped(&name)], vec!["m.room.name"]),
            // What claims to be genuine has to be.
            (vec![create.clone(), changed], vec!["m.room.create"]),
            (vec![], vec![]),
        ] {
            assert_eq!(show(&world, &room, &shown).await, Ok(()), "{version}");
            assert_eq!(seen(two, &room).await, expected, "{version}");
            two.engine().withdraw_outside(&room, &two.user_id("ben")).await.unwrap();
        }
    }
}
