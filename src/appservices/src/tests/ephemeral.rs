//! Receipts, typing and presence.

use engine::NewReceipt;
use ruma::presence::PresenceState;
use serde_json::json;

use super::*;

async fn read(hs: &Hs, room: &Arc<Room>, user: &str, kind: &str, thread: &str, event_id: &str) {
    let user_num = hs.num(user).await;
    let new = NewReceipt { user: user_num, user_id: user, kind, thread, event_id, ts: None };
    assert!(hs.engine.set_receipt(room, new).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn receipts_come_with_their_room_and_private_ones_to_their_owner_only() {
    let mut hs = Hs::new(&[IRC]).await;
    let (room, other) = (hs.room().await, hs.room().await);
    hs.member(&room, GHOST, GHOST, "join").await;
    let said = hs.say(&room, ALICE, "x").await;
    let elsewhere = hs.say(&other, ALICE, "x").await;
    read(&hs, &other, ALICE, "m.read", "", &elsewhere).await;
    read(&hs, &room, ALICE, "m.read.private", "", &said).await;
    read(&hs, &room, GHOST, "m.read.private", "", &said).await;
    read(&hs, &room, ALICE, "m.read", "main", &said).await;
    hs.tell();
    let ts = hs.clock.now_ms();
    let receipt = |content: Value| json!({"type": "m.receipt", "room_id": room.id, "content": {said.clone(): content}});
    assert_eq!(
        hs.bridge.ephemeral().await,
        [
            receipt(json!({"m.read.private": {GHOST: {"ts": ts}}})),
            receipt(json!({"m.read": {ALICE: {"ts": ts, "thread_id": "main"}}})),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn typing_is_told_where_it_begins_and_where_it_ends() {
    let mut hs = Hs::new(&[IRC]).await;
    let (room, other) = (hs.room().await, hs.room().await);
    let joined = hs.member(&room, GHOST, GHOST, "join").await;
    hs.tell();
    hs.bridge.until(&joined).await;
    let alice = hs.num(ALICE).await;
    hs.engine.typing.set(other.num, alice, 10_000);
    hs.engine.typing.set(room.num, alice, 10_000);
    let typing = |users: &[&str]| json!({"type": "m.typing", "room_id": room.id, "content": {"user_ids": users}});
    assert_eq!(hs.bridge.ephemeral().await, [typing(&[ALICE])]);
    hs.engine.typing.set(room.num, alice, 0);
    assert_eq!(hs.bridge.ephemeral().await, [typing(&[])]);
    // Whose time is over has stopped, too.
    hs.engine.typing.set(room.num, alice, 10_000);
    assert_eq!(hs.bridge.ephemeral().await, [typing(&[ALICE])]);
    hs.clock.advance(20_000);
    assert_eq!(hs.bridge.ephemeral().await, [typing(&[])]);
}

#[tokio::test(start_paused = true)]
async fn presence_is_told_of_who_shares_a_room() {
    let mut hs = Hs::new(&[IRC]).await;
    let room = hs.room().await;
    let joined = hs.member(&room, GHOST, GHOST, "join").await;
    hs.tell();
    hs.bridge.until(&joined).await;
    let (alice, bob) = (hs.num(ALICE).await, hs.num(BOB).await);
    hs.users.presence.set(bob, PresenceState::Online, None).unwrap();
    hs.users.presence.set(alice, PresenceState::Online, Some("here")).unwrap();
    let content = json!({"presence": "online", "last_active_ago": 0, "currently_active": true, "status_msg": "here"});
    let told = hs.bridge.ephemeral().await;
    assert_eq!(told, [json!({"type": "m.presence", "sender": ALICE, "content": content})]);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_ask_for_it_gets_none_of_it() {
    let text = IRC.replace("receive_ephemeral: true", "receive_ephemeral: false");
    let mut hs = Hs::new(&[&text]).await;
    let room = hs.room().await;
    hs.member(&room, GHOST, GHOST, "join").await;
    let said = hs.say(&room, ALICE, "x").await;
    read(&hs, &room, ALICE, "m.read", "", &said).await;
    let end = hs.say(&room, ALICE, "y").await;
    hs.tell();
    let seen = hs.bridge.transaction().await;
    assert!(seen.events().contains(&end) && seen.body.get("ephemeral").is_none(), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_it_by_its_old_name_finds_it_under_that_too() {
    for (asked, old) in [("receive_ephemeral", false), ("de.sorunome.msc2409.push_ephemeral", true)] {
        let mut hs = Hs::new(&[&IRC.replace("receive_ephemeral", asked)]).await;
        let room = hs.room().await;
        hs.member(&room, GHOST, GHOST, "join").await;
        let said = hs.say(&room, ALICE, "x").await;
        hs.tell();
        hs.bridge.until(&said).await;
        read(&hs, &room, ALICE, "m.read", "", &said).await;
        hs.tell();
        let body = hs.bridge.transaction().await.body;
        assert!(!body["ephemeral"].as_array().unwrap().is_empty(), "{body}");
        assert_eq!(body.get("de.sorunome.msc2409.ephemeral") == body.get("ephemeral"), old, "{body}");
    }
}
