use std::time::Duration;

use engine::{NewReceipt, RECEIPTS_OUT};
use ruma::{OwnedRoomId, UserId, presence::PresenceState, user_id};
use serde_json::{Value, json};

use super::peer::Bench;
use crate::outbox::receipts::MAX_QUEUED;

const BOB: &str = "@bob:far";

fn of_type(edus: &[Value], kind: &str) -> Vec<Value> {
    edus.iter().filter(|edu| edu["edu_type"] == kind).map(|edu| edu["content"].clone()).collect()
}

async fn receipt(bench: &Bench, room: &OwnedRoomId, kind: &str, event_id: &str) {
    let engine = bench.one().engine();
    let user = engine.user_num(&bench.ann).await.unwrap();
    let room = bench.one().room(room).await;
    let new = NewReceipt { user, user_id: bench.ann.as_str(), kind, thread: "", event_id, ts: None };
    assert!(engine.set_receipt(&room, new).await.unwrap());
}

async fn later(bench: &Bench) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    bench.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn others_see_who_types_and_when_they_stop() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    let engine = bench.one().engine();
    let num = bench.one().room(&room).await.num;
    let ann = engine.user_num(&bench.ann).await.unwrap();
    // Those who live elsewhere are told of by their own servers.
    let bob = engine.user_num(user_id!("@bob:far")).await.unwrap();
    engine.typing.set(num, bob, 30_000);
    engine.typing.set(num, ann, 30_000);
    later(&bench).await;
    let notice = |typing: bool| json!({"room_id": room, "user_id": "@ann:one", "typing": typing});
    assert_eq!(of_type(&bench.peer.edus(), "m.typing"), [notice(true)]);
    engine.typing.set(num, ann, 0);
    later(&bench).await;
    assert_eq!(of_type(&bench.peer.edus(), "m.typing"), [notice(true), notice(false)]);
    // Told again while it lasts, and when the time runs out.
    engine.typing.set(num, ann, 30_000);
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(of_type(&bench.peer.edus(), "m.typing")[2..], [notice(true), notice(true), notice(false)]);
}

#[tokio::test(start_paused = true)]
async fn receipts_leave_unless_they_are_private() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    let first = bench.one().say(&room, &bench.ann, "0").await;
    let second = bench.one().say(&room, &bench.ann, "1").await;
    receipt(&bench, &room, "m.read.private", second.as_str()).await;
    later(&bench).await;
    assert!(bench.peer.edus().is_empty());
    receipt(&bench, &room, "m.read", first.as_str()).await;
    later(&bench).await;
    let sent = of_type(&bench.peer.edus(), "m.receipt");
    assert_eq!(sent.len(), 1);
    let read = &sent[0][room.as_str()]["m.read"]["@ann:one"];
    assert_eq!(read["event_ids"], json!([first]));
    assert!(read["data"]["ts"].is_u64() && read["data"].get("thread_id").is_none());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_down_gets_the_newest_receipt_when_it_is_back_and_no_stale_typing() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    let engine = bench.one().engine();
    let num = bench.one().room(&room).await.num;
    let ann = engine.user_num(&bench.ann).await.unwrap();
    let first = bench.one().say(&room, &bench.ann, "0").await;
    let second = bench.one().say(&room, &bench.ann, "1").await;
    bench.quiet().await;
    bench.world.cut("one", "far");
    receipt(&bench, &room, "m.read", first.as_str()).await;
    engine.typing.set(num, ann, 10_000);
    tokio::time::sleep(Duration::from_secs(60)).await;
    receipt(&bench, &room, "m.read", second.as_str()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.world.heal("one", "far");
    bench.empty().await;
    let edus = bench.peer.edus();
    assert!(of_type(&edus, "m.typing").is_empty());
    // What was sent in vain is sent again as it was; of what came after it, the newest.
    let sent = of_type(&edus, "m.receipt");
    let read: Vec<&Value> = sent.iter().map(|content| &content[room.as_str()]["m.read"]["@ann:one"]).collect();
    assert_eq!(read.len(), 2);
    assert_eq!((&read[0]["event_ids"], &read[1]["event_ids"]), (&json!([first]), &json!([second])));
}

#[tokio::test(start_paused = true)]
async fn receipts_outlive_a_restart_and_an_outage() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    let first = bench.one().say(&room, &bench.ann, "0").await;
    let second = bench.one().say(&room, &bench.ann, "1").await;
    bench.quiet().await;
    // Ended before anything of it was sent.
    receipt(&bench, &room, "m.read", first.as_str()).await;
    bench.one().start();
    later(&bench).await;
    let told = |bench: &Bench| -> Vec<Value> {
        let sent = of_type(&bench.peer.edus(), "m.receipt");
        sent.iter().map(|content| content[room.as_str()]["m.read"]["@ann:one"]["event_ids"][0].clone()).collect()
    };
    assert_eq!(told(&bench), [json!(first)]);
    // Sent in vain, and taken up again by the next life, with the same id and body.
    bench.peer.fails();
    let before = bench.peer.attempts().len();
    receipt(&bench, &room, "m.read", second.as_str()).await;
    later(&bench).await;
    bench.one().start();
    bench.peer.takes_all();
    bench.empty().await;
    let attempts = bench.peer.attempts().split_off(before);
    assert!(attempts.len() >= 2 && attempts.iter().all(|attempt| *attempt == attempts[0]));
    assert_eq!(told(&bench), [json!(first), json!(second)]);
    assert!(bench.one().engine().db.scan_all(&RECEIPTS_OUT, &()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_receipts_that_wait_only_the_newest_of_each_is_told_and_they_are_bounded() {
    let bench = Bench::new().await;
    let room = bench.room_with(BOB).await;
    bench.world.cut("one", "far");
    bench.say(&room, "down").await;
    bench.quiet().await;
    let (engine, here) = (bench.one().engine(), bench.one().room(&room).await);
    let mut events = Vec::new();
    for n in 0..3 {
        events.push(bench.one().say(&room, &bench.ann, &n.to_string()).await);
    }
    let set = async |name: String, event: usize| {
        let user_id = format!("@{name}:one");
        let user = engine.user_num(<&UserId>::try_from(&*user_id).unwrap()).await.unwrap();
        let event_id = events[event].as_str();
        let new = NewReceipt { user, user_id: &user_id, kind: "m.read", thread: "", event_id, ts: None };
        assert!(engine.set_receipt(&here, new).await.unwrap());
    };
    for n in 0..MAX_QUEUED + 200 {
        set(format!("u{n}"), 0).await;
    }
    let rows = async || engine.db.scan_all(&RECEIPTS_OUT, &()).await.unwrap().len();
    assert_eq!(rows().await, MAX_QUEUED + 200);
    for n in 100..300 {
        set(format!("u{n}"), 1).await;
    }
    // One row for each.
    assert_eq!(rows().await, MAX_QUEUED + 200);
    tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
    assert!(rows().await <= MAX_QUEUED);
    bench.world.heal("one", "far");
    bench.empty().await;
    assert_eq!(rows().await, 0);
    let mut read = std::collections::BTreeMap::new();
    for content in of_type(&bench.peer.edus(), "m.receipt") {
        for (user, receipt) in content[room.as_str()]["m.read"].as_object().unwrap() {
            read.insert(user.clone(), receipt["event_ids"][0].clone());
        }
    }
    assert_eq!(read.len(), MAX_QUEUED);
    assert!((100..300).all(|n| read[&format!("@u{n}:one")] == json!(events[1])));
    // Who is in the room no more is told nothing.
    bench.world.cut("one", "far");
    bench.say(&room, "down again").await;
    bench.quiet().await;
    set("u1".to_owned(), 2).await;
    bench.one().member(&room, &bench.ann, user_id!("@bob:far"), "leave").await.unwrap();
    let before = of_type(&bench.peer.edus(), "m.receipt").len();
    bench.world.heal("one", "far");
    bench.empty().await;
    assert_eq!((rows().await, of_type(&bench.peer.edus(), "m.receipt").len()), (0, before));
}

#[tokio::test(start_paused = true)]
async fn presence_goes_to_those_who_share_a_room_and_no_faster_than_bearable() {
    let bench = Bench::new().await;
    bench.peer_is("stranger");
    let users = bench.one().users();
    let ann = bench.one().engine().user_num(&bench.ann).await.unwrap();
    users.presence.set(ann, PresenceState::Online, Some("alone")).unwrap();
    later(&bench).await;
    assert!(bench.peer.attempts().is_empty());
    let (_one, _two) = (bench.room_with(BOB).await, bench.room_with(BOB).await);
    let bob = bench.one().engine().user_num(user_id!("@bob:far")).await.unwrap();
    users.presence.set(bob, PresenceState::Online, None).unwrap();
    let before = bench.peer.attempts().len();
    for n in 0..100 {
        users.presence.set(ann, PresenceState::Unavailable, Some(&n.to_string())).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    later(&bench).await;
    let sent = of_type(&bench.peer.edus(), "m.presence");
    assert!((1..=3).contains(&sent.len()), "{}", sent.len());
    assert_eq!(bench.peer.attempts().len(), before + sent.len());
    assert!(sent.iter().all(|content| content["push"].as_array().unwrap().len() == 1));
    let last = &sent[sent.len() - 1]["push"][0];
    assert_eq!(
        (&last["user_id"], &last["presence"], &last["status_msg"]),
        (&json!("@ann:one"), &json!("unavailable"), &json!("99"))
    );
}
