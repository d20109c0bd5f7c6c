//! Who is told of what, once, in its order, whatever happens in between.

use engine::FeedEntry;
use http::StatusCode;
use serde_json::json;
use store::Page;

use super::{bridge::Fate, *};
use crate::tables::{CURSORS, IN_FLIGHT};

fn bodies(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_service_is_told_of_the_rooms_of_its_users_while_they_are_there() {
    let mut hs = Hs::new(&[IRC, QUIET]).await;
    hs.tell();
    let (room, other) = (hs.room().await, hs.room().await);
    hs.say(&room, ALICE, "before").await;
    let joined = hs.member(&room, GHOST, GHOST, "join").await;
    hs.say(&room, ALICE, "hello").await;
    hs.say(&other, ALICE, "elsewhere").await;
    hs.say(&room, GHOST, "own").await;
    let left = hs.member(&room, GHOST, GHOST, "leave").await;
    hs.say(&room, ALICE, "after").await;
    // A membership of one of its users is told, whoever is in the room.
    let end = hs.member(&other, ALICE, GHOST, "invite").await;
    let events = hs.bridge.until(&end).await;
    assert_eq!(events[0]["event_id"], json!(joined));
    assert_eq!(bodies(&events), ["hello", "own"]);
    assert_eq!(events[3]["event_id"], json!(left));
    assert_eq!(events.len(), 5);
    // As clients get them, with the room.
    assert_eq!((&events[1]["room_id"], &events[1]["sender"]), (&json!(room.id), &json!(ALICE)));
    assert!(events[1]["unsigned"]["age"].is_i64());
    let shown = events[4]["unsigned"]["invite_room_state"].as_array().unwrap();
    assert!(shown.iter().any(|event| event["type"] == "m.room.create"), "{shown:?}");
}

#[tokio::test(start_paused = true)]
async fn who_was_there_counts_and_not_who_is_there_when_it_is_told() {
    let mut hs = Hs::new(&[IRC]).await;
    let room = hs.room().await;
    hs.say(&room, ALICE, "before").await;
    hs.member(&room, GHOST, GHOST, "join").await;
    hs.say(&room, ALICE, "during").await;
    hs.member(&room, GHOST, GHOST, "leave").await;
    hs.say(&room, ALICE, "between").await;
    hs.member(&room, GHOST, GHOST, "join").await;
    let end = hs.say(&room, ALICE, "again").await;
    hs.tell();
    assert_eq!(bodies(&hs.bridge.until(&end).await), ["during", "again"]);
}

#[tokio::test(start_paused = true)]
async fn rooms_and_aliases_are_followed_by_name() {
    let mut hs = Hs::new(&[IRC]).await;
    hs.tell();
    let watched = hs.room_named(Some("!watched:hs"), Vec::new()).await;
    let aliased = hs.room().await;
    hs.say(&aliased, ALICE, "no alias").await;
    let begin = hs.say(&watched, ALICE, "begin").await;
    let mut events = hs.bridge.until(&begin).await;
    hs.engine.set_alias("#irc_x:hs", &aliased, <&UserId>::try_from(ALICE).unwrap()).await.unwrap();
    let first = hs.say(&aliased, ALICE, "with alias").await;
    events.extend(hs.bridge.until(&first).await);
    hs.engine.remove_alias("#irc_x:hs").await.unwrap();
    hs.say(&aliased, ALICE, "no alias any more").await;
    let end = hs.say(&watched, ALICE, "watched").await;
    events.extend(hs.bridge.until(&end).await);
    assert_eq!(bodies(&events), ["begin", "with alias", "watched"]);
    assert!(events.iter().any(|event| event["type"] == "m.room.create" && event["room_id"] == "!watched:hs"));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_taken_is_sent_again_as_it_was() {
    let mut hs = Hs::new(&[IRC]).await;
    let room = hs.room().await;
    hs.member(&room, GHOST, GHOST, "join").await;
    let refused = Fate::Answer(StatusCode::BAD_GATEWAY, json!("no JSON object"));
    hs.bridge.then([Fate::Unreachable, Fate::Lost, refused, Fate::Silent]);
    hs.tell();
    let lost = hs.bridge.transaction().await;
    assert_eq!(
        (lost.token.as_str(), lost.target.starts_with("PUT irc.test/base/_matrix/app/v1/transactions/")),
        ("Bearer irc-hs", true)
    );
    // What comes meanwhile is for the next one.
    let later = hs.say(&room, ALICE, "later").await;
    for _ in 0..3 {
        assert_eq!(hs.bridge.transaction().await, lost);
    }
    let next = hs.bridge.transaction().await;
    assert_eq!(next.events(), [later]);
    assert_ne!(next.txn(), lost.txn());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_told_twice_when_the_server_starts_again() {
    let mut hs = Hs::new(&[IRC]).await;
    let room = hs.room().await;
    hs.member(&room, GHOST, GHOST, "join").await;
    hs.bridge.then([Fate::Lost]);
    hs.tell();
    let lost = hs.bridge.transaction().await;
    let room_id = room.id.clone();
    drop(room);
    let mut hs = hs.restarted(&[IRC]).await;
    let room = hs.engine.room(&room_id).await.unwrap();
    let missed = hs.say(&room, ALICE, "missed").await;
    hs.tell();
    assert_eq!(hs.bridge.transaction().await, lost);
    assert_eq!(hs.bridge.transaction().await.events(), [missed]);
    let last = hs.say(&room, ALICE, "last").await;
    assert_eq!(hs.bridge.transaction().await.events(), [last]);
    while hs.services.db.get(&IN_FLIGHT, &"irc".to_owned()).await.unwrap().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    drop(room);
    // What was taken before the stop does not come again.
    let mut hs = hs.restarted(&[IRC]).await;
    let room = hs.engine.room(&room_id).await.unwrap();
    hs.tell();
    let new = hs.say(&room, ALICE, "new").await;
    assert_eq!(hs.bridge.transaction().await.events(), [new]);
}

#[tokio::test(start_paused = true)]
async fn a_long_backlog_comes_in_parts_and_in_order() {
    let mut hs = Hs::new(&[IRC]).await;
    let (room, other) = (hs.room().await, hs.room().await);
    hs.member(&room, GHOST, GHOST, "join").await;
    let mut end = String::new();
    for n in 0..250 {
        hs.say(&other, ALICE, "elsewhere").await;
        end = hs.say(&room, ALICE, &n.to_string()).await;
    }
    hs.tell();
    let mut told = Vec::new();
    loop {
        let seen = hs.bridge.transaction().await;
        assert!(seen.events().len() <= 100);
        told.extend(seen.body["events"].as_array().unwrap().clone());
        if seen.events().contains(&end) {
            break;
        }
    }
    let wanted: Vec<String> = (0..250).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&told), wanted);
}

#[tokio::test(start_paused = true)]
async fn rows_of_the_feed_go_once_everybody_is_past_them() {
    let mut hs = Hs::new(&[IRC, QUIET]).await;
    let room = hs.room().await;
    for _ in 0..300 {
        hs.say(&room, ALICE, "x").await;
    }
    let before = hs.engine.feed(0, 1000).await.unwrap().len();
    assert!(before > 300);
    assert!(matches!(hs.engine.feed(0, 1).await.unwrap()[0].1, FeedEntry::Event(_)));
    hs.tell();
    hs.member(&room, GHOST, GHOST, "join").await;
    hs.bridge.transaction().await;
    while hs.engine.feed(0, 1000).await.unwrap().len() > 50 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_gone_holds_nothing_up_and_begins_anew_when_it_comes_back() {
    let hs = Hs::new(&[IRC, QUIET]).await;
    let cursors = async |hs: &Hs| {
        let rows = hs.services.db.scan_prefix(&CURSORS, &(), Page::first(10)).await.unwrap();
        rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(cursors(&hs).await, ["irc", "quiet"]);
    let room = hs.room().await;
    hs.member(&room, GHOST, GHOST, "join").await;
    let room_id = room.id.clone();
    drop(room);
    let hs = hs.restarted(&[QUIET]).await;
    assert_eq!(cursors(&hs).await, ["quiet"]);
    let mut hs = hs.restarted(&[IRC, QUIET]).await;
    hs.tell();
    let room = hs.engine.room(&room_id).await.unwrap();
    let end = hs.say(&room, ALICE, "anew").await;
    assert_eq!(bodies(&hs.bridge.until(&end).await), ["anew"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_heard_from_is_tried_at_once() {
    let mut hs = Hs::new(&[IRC]).await;
    hs.bridge.then(vec![Fate::Unreachable; 12]);
    let room = hs.room().await;
    hs.member(&room, GHOST, GHOST, "join").await;
    hs.tell();
    while !hs.bridge.transactions.lock().is_empty() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    // The wait is minutes by now.
    let begun = tokio::time::Instant::now();
    assert_eq!(hs.request(Method::POST, "irc-as", "/v1/appservice/quiet/ping", json!({})).await.0, 403);
    hs.bridge.transaction().await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_old_service_has_the_paths_of_old() {
    let mut hs = Hs::new(&[IRC]).await;
    hs.bridge.then([Fate::Answer(StatusCode::NOT_FOUND, json!({}))]);
    let room = hs.room().await;
    let joined = hs.member(&room, GHOST, GHOST, "join").await;
    hs.tell();
    let new = hs.bridge.transaction().await;
    let old = hs.bridge.transaction().await;
    assert_eq!((new.events(), old.events()), (vec![joined.clone()], vec![joined]));
    assert_eq!(old.target, format!("PUT irc.test/base/transactions/{}?access_token=irc-hs", new.txn()));
}
