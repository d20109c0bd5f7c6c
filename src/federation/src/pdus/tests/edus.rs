use bytes::Bytes;
use http::StatusCode;
use ruma::{device_id, presence::PresenceState};
use serde_json::{Value, json};
use store::{Keyspace, Table};
use users::{devices::NewDevice, tokens::NewTokens};

use super::Pair;

fn edu(kind: &str, content: Value) -> Value {
    json!({"edu_type": kind, "content": content})
}

#[tokio::test(start_paused = true)]
async fn only_a_servers_own_members_type() {
    let pair = Pair::new().await;
    let (engine, room) = (pair.good().engine(), pair.good().room(&pair.room).await);
    let typing = |user: &str, is: bool| edu("m.typing", json!({"room_id": pair.room, "user_id": user, "typing": is}));
    let edus = [typing("@ann:good", true), typing("@stranger:evil", true), json!(7), edu("m.typing", json!([]))];
    pair.send("1", &[], &edus).await.unwrap();
    assert_eq!(engine.typing.changed(room.num, None), None);
    pair.send("2", &[], &[typing("@mallory:evil", true)]).await.unwrap();
    let mallory = engine.user_num(&pair.mallory).await.unwrap();
    assert_eq!(engine.typing.changed(room.num, None), Some(vec![mallory]));
    pair.send("3", &[], &[typing("@mallory:evil", false)]).await.unwrap();
    assert_eq!(engine.typing.changed(room.num, None), None);
    let acl = json!({"allow": ["*"], "deny": ["evil"]});
    pair.good().set(&pair.room, &pair.ann, "m.room.server_acl", "", acl).await.unwrap();
    pair.send("4", &[], &[typing("@mallory:evil", true)]).await.unwrap();
    assert_eq!(engine.typing.changed(room.num, None), None);
}

#[tokio::test(start_paused = true)]
async fn receipts_arrive_with_their_threads() {
    let pair = Pair::new().await;
    let (engine, room) = (pair.good().engine(), pair.good().room(&pair.room).await);
    let said = pair.good().say(&pair.room, &pair.ann, "hello").await;
    let receipt = |user: &str, event: &str, thread: Option<&str>| {
        let mut data = json!({"ts": 5});
        if let Some(thread) = thread {
            data["thread_id"] = json!(thread);
        }
        edu("m.receipt", json!({pair.room.as_str(): {"m.read": {user: {"data": data, "event_ids": [event]}}}}))
    };
    let edus = [
        receipt("@ann:good", said.as_str(), None),
        receipt("@stranger:evil", said.as_str(), None),
        receipt("@mallory:evil", "$nowhere", None),
        receipt("@mallory:evil", said.as_str(), Some("no id")),
    ];
    pair.send("1", &[], &edus).await.unwrap();
    let mallory = engine.user_num(&pair.mallory).await.unwrap();
    assert_eq!(engine.receipts_between(room.num, 0, u64::MAX - 1, 10).await.unwrap(), []);
    let edus = [receipt("@mallory:evil", said.as_str(), None), receipt("@mallory:evil", said.as_str(), Some("main"))];
    pair.send("2", &[], &edus).await.unwrap();
    let found = engine.receipts_of(room.num, mallory).await.unwrap();
    let threads: Vec<(&str, u64)> = found.iter().map(|receipt| (receipt.thread.as_str(), receipt.row.ts)).collect();
    assert_eq!(threads, [("", 5), ("main", 5)]);
}

#[tokio::test(start_paused = true)]
async fn presence_is_believed_of_a_servers_own_users() {
    let pair = Pair::new().await;
    let (engine, users) = (pair.good().engine(), pair.good().users());
    let online =
        |user: &str| json!({"user_id": user, "presence": "online", "last_active_ago": 10, "currently_active": true});
    let push = [online("@ann:good"), json!({"user_id": 1}), online("@stranger:evil"), online("@mallory:evil")];
    pair.send("1", &[], &[edu("m.presence", json!({"push": push}))]).await.unwrap();
    let (ann, mallory) = (engine.user_num(&pair.ann).await.unwrap(), engine.user_num(&pair.mallory).await.unwrap());
    assert_eq!(users.presence.get(ann), None);
    assert_eq!(users.presence.get(mallory).unwrap().state, PresenceState::Online);
    // Silence of a few minutes makes a user of ours idle, not one of theirs.
    tokio::time::advance(std::time::Duration::from_secs(600)).await;
    assert_eq!(users.presence.tick(), Vec::<u64>::new());
    tokio::time::advance(std::time::Duration::from_secs(1300)).await;
    assert_eq!(users.presence.tick(), [mallory]);
    assert_eq!(users.presence.get(mallory).unwrap().state, PresenceState::Offline);
}

#[tokio::test(start_paused = true)]
async fn of_what_a_transaction_says_of_a_user_the_last_word_counts() {
    let pair = Pair::new().await;
    let (engine, users) = (pair.good().engine(), pair.good().users());
    let mallory = engine.user_num(&pair.mallory).await.unwrap();
    let is = |presence: &str| json!({"user_id": "@mallory:evil", "presence": presence});
    let changing: Vec<Value> = (0..10).flat_map(|_| [is("online"), is("unavailable")]).collect();
    let edus: Vec<Value> = (0..20).map(|_| edu("m.presence", json!({"push": changing}))).collect();
    let before = users.presence.pos();
    pair.send("1", &[], &edus).await.unwrap();
    assert_eq!(users.presence.pos().n, before.n + 1);
    assert_eq!(users.presence.get(mallory).unwrap().state, PresenceState::Unavailable);
}

/// The messages that are known to have come, by their ids, as bytes.
const COME: Table<(String, String), Bytes> = Table::new(Keyspace::Index, 57, "remote_messages");

#[tokio::test(start_paused = true)]
async fn a_message_that_could_not_be_kept_is_asked_for_again() {
    let pair = Pair::new().await;
    let (engine, users) = (pair.good().engine(), pair.good().users());
    let federation = pair.good().federation();
    let db = &federation.db;
    let ann = engine.user_num(&pair.ann).await.unwrap();
    let tokens = NewTokens { access: "phone", expires_ts: None, refresh: None };
    let phone = NewDevice { device_id: "PHONE".into(), display_name: None, tokens };
    users.devices.create(ann, &phone).await.unwrap();
    let message = json!({
        "sender": pair.mallory, "type": "m.test", "message_id": "m1", "messages": {"@ann:good": {"PHONE": {"n": 1}}},
    });
    let typing = json!({"room_id": pair.room, "user_id": pair.mallory, "typing": true});
    let edus = [edu("m.direct_to_device", message), edu("m.typing", typing)];
    let received = async || {
        let inbox = users.to_device.read(ann, device_id!("PHONE"), 0, u64::MAX - 1, 10).await.unwrap();
        inbox.events.len()
    };
    // A row that cannot be read stands for a disk that cannot be.
    let id = ("evil".to_owned(), "m1".to_owned());
    let mut write = db.write();
    write.put(&COME, &id, &Bytes::from_static(b"?"));
    write.commit().await.unwrap();
    let failed = pair.send("1", &[], &edus).await.unwrap_err();
    assert!(failed.is_status(StatusCode::INTERNAL_SERVER_ERROR), "{failed}");
    assert_eq!(received().await, 0);
    let room = pair.good().room(&pair.room).await;
    assert!(engine.typing.changed(room.num, None).is_some(), "the rest was taken");
    let mut write = db.write();
    write.delete(&COME, &id);
    write.commit().await.unwrap();
    // The same transaction again is no known one.
    for _ in 0..2 {
        pair.send("1", &[], &edus).await.unwrap();
        assert_eq!(received().await, 1);
    }
}
