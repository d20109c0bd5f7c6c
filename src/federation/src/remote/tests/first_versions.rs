//! Rooms of versions 1 and 2, whose events are named by their senders' servers and cite others with their hashes.

use std::time::Duration;

use engine::HistoryPoint;
use http_kit::MatrixError;
use ruma::{EventId, OwnedRoomId, RoomId, RoomVersionId, UserId};
use serde_json::{Value, json};

use super::{change_of, hostile::lying, join, join_rules, with_room};
use crate::testing::{Event, TestServer, World};

const FIRST: [RoomVersionId; 2] = [RoomVersionId::V1, RoomVersionId::V2];

async fn redact(server: &TestServer, room: &RoomId, sender: &UserId, target: &EventId) -> bool {
    let event = Event { sender, kind: "m.room.redaction", state_key: None, content: json!({}), redacts: Some(target) };
    server.send(room, event).await.is_ok()
}

/// A room in which Ann (one) and Ben (two) are.
async fn shared(version: RoomVersionId) -> (World, OwnedRoomId) {
    let (world, room) = with_room(version).await;
    let two = world.server("two");
    join(two, &two.user_id("ben"), &room, &["one"]).await.unwrap();
    (world, room)
}

/// Until both servers see the same room.
async fn agree(world: &World, room: &RoomId) {
    let (one, two) = (world.server("one"), world.server("two"));
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if one.extremities(room).await == two.extremities(room).await && one.state(room).await == two.state(room).await
        {
            return;
        }
    }
    assert_eq!(one.extremities(room).await, two.extremities(room).await);
    assert_eq!(one.state(room).await, two.state(room).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_crosses_and_is_redacted_by_who_may() {
    for version in FIRST {
        let (world, room) = shared(version.clone()).await;
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
        let said = one.say(&room, &ann, "hello").await;
        let answer = two.say(&room, &ben, "hello yourself").await;
        assert_eq!((said.server_name().unwrap().as_str(), answer.server_name().unwrap().as_str()), ("one", "two"));
        agree(&world, &room).await;
        let rows = one.rows(&room).await;
        let row = rows.iter().find(|row| row.event_id() == answer.as_str()).unwrap();
        let fields: Value = serde_json::from_str(row.json()).unwrap();
        assert_eq!(fields["event_id"], answer.as_str());
        assert!(fields["auth_events"].as_array().unwrap().iter().all(|cited| cited[1]["sha256"].is_string()));
        // Ben may not redact what Ann said, Ann may redact what Ben said.
        assert!(!redact(two, &room, &ben, &said).await);
        assert!(redact(two, &room, &ben, &answer).await);
        let third = two.say(&room, &ben, "sorry").await;
        agree(&world, &room).await;
        assert!(redact(one, &room, &ann, &third).await);
        agree(&world, &room).await;
        for server in [one, two] {
            assert_eq!(server.texts(&room).await, ["hello"], "{version}");
        }
    }
}

/// Synapse names an event that allows another without its hash where it has not worked that out.
#[tokio::test(start_paused = true)]
async fn a_template_may_leave_hashes_out() {
    for version in FIRST {
        let (world, room) = with_room(version).await;
        let (one, two) = (world.server("one"), world.server("two"));
        let router = lying(one, |path, json| {
            if path.contains("/make_join/") {
                json["event"]["auth_events"].as_array_mut().unwrap().iter_mut().for_each(|cited| cited[1] = json!({}));
            }
        });
        world.mesh.answer_by("one", router);
        let ben = two.user_id("ben");
        join(two, &ben, &room, &["one"]).await.unwrap();
        two.say(&room, &ben, "hello").await;
        agree(&world, &room).await;
        assert_eq!(one.texts(&room).await, ["hello"]);
    }
}

#[tokio::test(start_paused = true)]
async fn branches_meet_and_gaps_close() {
    for version in FIRST {
        let (world, room) = shared(version.clone()).await;
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
        let levels = json!({"users": {ann.as_str(): 100, ben.as_str(): 100}, "events": {"m.room.topic": 0}});
        one.set(&room, &ann, "m.room.power_levels", "", levels).await.unwrap();
        agree(&world, &room).await;
        world.cut("one", "two");
        for n in 0..30 {
            one.say(&room, &ann, &format!("one {n}")).await;
            two.say(&room, &ben, &format!("two {n}")).await;
        }
        for (server, user) in [(one, &ann), (two, &ben)] {
            let name = json!({"name": server.name, "topic": server.name});
            server.set(&room, user, "m.room.name", "", name.clone()).await.unwrap();
            server.set(&room, user, "m.room.topic", "", name).await.unwrap();
        }
        join_rules(two, &room, &ben, json!({"join_rule": "invite"})).await;
        two.set(&room, &ben, "m.room.name", "", json!({"name": "last"})).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        world.heal("one", "two");
        one.say(&room, &ann, "back").await;
        // Whoever is tried first, the other hears of it.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        agree(&world, &room).await;
        let (mut here, mut there) = (one.texts(&room).await, two.texts(&room).await);
        here.sort();
        there.sort();
        assert_eq!((here.len(), here), (61, there), "{version}");
        assert_eq!(one.content(&room, "m.room.join_rules", "").await["join_rule"], "invite");
        // The deeper one is the newer one in version 1; in version 2 it follows what the sender saw last.
        assert_eq!(one.content(&room, "m.room.name", "").await["name"], "last", "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn history_is_read_back_and_the_room_left_and_entered_again() {
    for version in FIRST {
        let (world, room) = with_room(version.clone()).await;
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
        for n in 0..40 {
            one.say(&room, &ann, &n.to_string()).await;
        }
        join(two, &ben, &room, &["one"]).await.unwrap();
        let (copy, federation) = (two.room(&room).await, two.federation());
        let all = (HistoryPoint::START, HistoryPoint::END);
        while federation.backfill(&copy, all, 100).await.unwrap() > 0 {}
        assert_eq!(one.accepted(&room).await, two.accepted(&room).await, "{version}");
        two.member(&room, &ben, &ben, "leave").await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(one.content(&room, "m.room.member", ben.as_str()).await["membership"], "leave");
        one.set(&room, &ann, "m.room.topic", "", json!({"topic": "while away"})).await.unwrap();
        join(two, &ben, &room, &[]).await.unwrap();
        assert_eq!(one.state(&room).await, two.state(&room).await, "{version}");
    }
}

#[tokio::test]
async fn nobody_knocks_where_versions_know_no_knocking() {
    for version in FIRST {
        let (world, room) = with_room(version).await;
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, ben) = (one.user_id("ann"), two.user_id("ben"));
        join_rules(one, &room, &ann, json!({"join_rule": "knock"})).await;
        let refused = MatrixError::from(two.federation().knock(change_of(&ben, &room, &["one"])).await.unwrap_err());
        assert_eq!((refused.status.as_u16(), &*refused.errcode), (403, "M_FORBIDDEN"));
    }
}
