use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId, user_id};
use serde_json::{Value, json, value::to_raw_value};

use super::*;
use crate::{
    EDUS_OUT, LIST_UPDATES, Users, UsersError,
    accounts::NewAccount,
    devices::NewDevice,
    testing::{Bench, json as raw, tokens},
};

mod signing;

async fn user(users: &Users, name: &str) -> (u64, OwnedUserId) {
    let account = users.register(NewAccount::user(name), None).await.unwrap();
    (account.num, account.user_id)
}

async fn device(users: &Users, user: u64, id: &str) -> OwnedDeviceId {
    let token = format!("{user}-{id}");
    let new = NewDevice { device_id: id.into(), display_name: None, tokens: tokens(&token) };
    users.devices.create(user, &new).await.unwrap();
    id.into()
}

fn object(value: Value) -> Object {
    value.as_object().unwrap().clone()
}

fn device_keys(user_id: &UserId, device: &str, key: &str) -> Object {
    object(json!({
        "user_id": user_id, "device_id": device, "algorithms": ["m.olm"], "keys": {format!("ed25519:{device}"): key},
        "signatures": {}, "org.example.more": 1,
    }))
}

fn one_time(keys: &[(&str, &str)]) -> BTreeMap<String, Value> {
    keys.iter().map(|(id, key)| (format!("signed_curve25519:{id}"), json!({"key": key}))).collect()
}

fn upload(keys: &[(&str, &str)]) -> Upload {
    Upload { one_time_keys: one_time(keys), ..Upload::default() }
}

#[tokio::test]
async fn one_time_keys_go_once_in_the_order_of_uploads_and_then_the_fallback_key() {
    let bench = Bench::new();
    let users = bench.users();
    let (ann, ann_id) = user(&users, "ann").await;
    let phone = device(&users, ann, "P").await;
    let keys = &users.keys;
    let put = async |upload: Upload| keys.upload(ann, &ann_id, &phone, upload).await;
    let counts = put(upload(&[("b", "1")])).await.unwrap();
    assert_eq!(counts["signed_curve25519"], 1);
    assert_eq!(put(upload(&[("a", "2")])).await.unwrap()["signed_curve25519"], 2);
    // The same again changes nothing, another key of the name is refused.
    assert_eq!(put(upload(&[("b", "1"), ("a", "2")])).await.unwrap()["signed_curve25519"], 2);
    assert!(matches!(put(upload(&[("b", "other")])).await, Err(UsersError::KeyExists(_))));
    let fallback = Upload { fallback_keys: one_time(&[("f", "9")]), ..Upload::default() };
    put(fallback.clone()).await.unwrap();
    let left = keys.counts(ann, &phone).await.unwrap();
    assert!(left.unused_fallback.contains("signed_curve25519"));

    let users = bench.users();
    let keys = &users.keys;
    let claim = async || keys.claim(ann, "P", "signed_curve25519").await.unwrap();
    let given = [claim().await, claim().await, claim().await, claim().await];
    let named = |id: &str, key: &str| Some((format!("signed_curve25519:{id}"), json!({"key": key})));
    assert_eq!(given, [named("b", "1"), named("a", "2"), named("f", "9"), named("f", "9")]);
    assert_eq!(keys.claim(ann, "P", "other").await.unwrap(), None);
    let after = keys.counts(ann, &phone).await.unwrap();
    assert!(after.unused_fallback.is_empty() && after.pos > left.pos);
    assert_eq!(after.counts["signed_curve25519"], 0);
    // The same fallback key stays used, a new one is not.
    keys.upload(ann, &ann_id, &phone, fallback).await.unwrap();
    assert!(keys.counts(ann, &phone).await.unwrap().unused_fallback.is_empty());
    let fallback = Upload { fallback_keys: one_time(&[("g", "8")]), ..Upload::default() };
    keys.upload(ann, &ann_id, &phone, fallback).await.unwrap();
    assert_eq!(keys.counts(ann, &phone).await.unwrap().unused_fallback.len(), 1);
}

#[tokio::test]
async fn a_key_is_given_to_one_of_many_who_claim_at_once() {
    let bench = Bench::new();
    let users = bench.users();
    let (ann, ann_id) = user(&users, "ann").await;
    let phone = device(&users, ann, "P").await;
    let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "k")).collect();
    users.keys.upload(ann, &ann_id, &phone, upload(&all)).await.unwrap();
    let claims = (0..20).map(|_| users.keys.claim(ann, "P", "signed_curve25519"));
    let given = futures::future::try_join_all(claims).await.unwrap();
    let mut ids: Vec<String> = given.into_iter().flatten().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 10);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

#[tokio::test]
async fn device_keys_are_checked_kept_as_they_are_and_die_with_the_device() {
    let bench = Bench::new();
    let users = bench.users();
    let (ann, ann_id) = user(&users, "ann").await;
    let phone = device(&users, ann, "P").await;
    let put = async |keys: Object| {
        let upload = Upload { device_keys: Some(keys), ..upload(&[("a", "1")]) };
        users.keys.upload(ann, &ann_id, &phone, upload).await
    };
    let mut without = device_keys(&ann_id, "P", "x");
    without.remove("keys");
    assert!(matches!(put(without).await, Err(UsersError::BadKey(_))));
    assert!(matches!(put(device_keys(&ann_id, "Q", "x")).await, Err(UsersError::OthersKey)));
    assert!(matches!(put(device_keys(user_id!("@bob:example.org"), "P", "x")).await, Err(UsersError::OthersKey)));
    let before = users.device_lists.stream_id(ann).await.unwrap();
    put(device_keys(&ann_id, "P", "x")).await.unwrap();
    let first = users.device_lists.stream_id(ann).await.unwrap();
    assert!(first > before);
    put(device_keys(&ann_id, "P", "x")).await.unwrap();
    assert_eq!(users.device_lists.stream_id(ann).await.unwrap(), first);
    users.devices.rename(ann, &phone, Some("Phone".to_owned())).await.unwrap();
    assert!(users.device_lists.stream_id(ann).await.unwrap() > first);
    let found = users.keys.of_user(ann, &ann_id, &[], None).await.unwrap().devices;
    let mut wanted = device_keys(&ann_id, "P", "x");
    wanted.insert("unsigned".to_owned(), json!({"device_display_name": "Phone"}));
    assert_eq!(found["P"], wanted);
    assert!(users.keys.of_user(ann, &ann_id, &["Q".to_owned()], None).await.unwrap().devices.is_empty());

    users.devices.delete(ann, std::slice::from_ref(&phone)).await.unwrap();
    assert!(users.keys.of_user(ann, &ann_id, &[], None).await.unwrap().devices.is_empty());
    assert_eq!(users.keys.claim(ann, "P", "signed_curve25519").await.unwrap(), None);
    let gone = put(device_keys(&ann_id, "P", "x")).await;
    assert!(matches!(gone, Err(UsersError::DeviceNotFound)));
}

#[tokio::test]
async fn the_list_of_changes_has_each_user_once_and_outlives_a_restart() {
    let bench = Bench::new();
    let users = bench.users();
    let (ann, _) = user(&users, "ann").await;
    let (bob, _) = user(&users, "bob").await;
    let start = users.core.db.frontier();
    device(&users, ann, "A").await;
    let middle = users.core.db.frontier();
    device(&users, bob, "B").await;
    device(&users, ann, "A2").await;
    let users = bench.users();
    let end = users.core.db.frontier();
    let lists = &users.device_lists;
    assert_eq!(lists.changes(bob, start, end).await.unwrap(), [(bob, true), (ann, false)]);
    assert_eq!(lists.changes(bob, start, middle).await.unwrap(), []);
    assert_eq!(lists.changes(bob, end, end).await.unwrap(), []);
}

#[tokio::test]
async fn changes_for_other_servers_are_queued_in_a_chain_where_somebody_asks_for_them() {
    let bench = Bench::new();
    let users = bench.users();
    let (ann, _) = user(&users, "ann").await;
    device(&users, ann, "A").await;
    assert!(users.core.db.scan_all(&LIST_UPDATES, &()).await.unwrap().is_empty());
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    users.device_lists.on_outgoing(Arc::new(move |servers| heard.lock().push(servers.to_vec())));
    device(&users, ann, "B").await;
    users.devices.delete_all(ann, None).await.unwrap();
    let rows = users.core.db.scan_all(&LIST_UPDATES, &()).await.unwrap();
    let chain: Vec<(String, u64, u64)> = rows
        .into_iter()
        .map(|(pos, row)| match row.0 {
            ListUpdate::Device { device, stream, prev, .. } if stream == pos => (device, stream, prev),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(chain.iter().map(|(device, ..)| device.as_str()).collect::<Vec<_>>(), ["B", "A", "B"]);
    assert!(chain.windows(2).all(|pair| pair[1].2 == pair[0].1));
    assert_eq!(chain[2].1, users.device_lists.stream_id(ann).await.unwrap());
    assert_eq!(*told.lock(), [Vec::<u64>::new(), Vec::new()]);
}

fn messages<'a>(
    sender: &'a UserId,
    local: &'a [Addressed],
    remote: &'a BTreeMap<u64, Box<serde_json::value::RawValue>>,
) -> Messages<'a> {
    Messages { sender, event_type: "m.test", local, remote }
}

fn to(user: u64, device: Option<&str>, n: u64) -> Addressed {
    Addressed { user, device: device.map(ToOwned::to_owned), content: raw(&format!("{{\"n\":{n}}}")) }
}

async fn numbers(users: &Users, user: u64, device: &DeviceId, from: u64) -> Vec<u64> {
    let inbox = users.to_device.read(user, device, from, users.core.db.frontier(), 100).await.unwrap();
    let number =
        |event: &bytes::Bytes| serde_json::from_slice::<Value>(event).unwrap()["content"]["n"].as_u64().unwrap();
    inbox.events.iter().map(number).collect()
}

#[tokio::test]
async fn messages_wait_until_they_are_confirmed_also_over_a_restart() {
    let bench = Bench::new();
    let users = bench.users();
    let ((ann, ann_id), (bob, _)) = (user(&users, "ann").await, user(&users, "bob").await);
    let (one, two) = (device(&users, bob, "ONE").await, device(&users, bob, "TWO").await);
    let nowhere = BTreeMap::new();
    let send = async |users: &Users, txn_id: &str, local: &[Addressed]| {
        let transaction = Transaction::Client { user: ann, device: "A", txn_id };
        users.to_device.send(transaction, messages(&ann_id, local, &nowhere)).await.unwrap();
    };
    send(&users, "1", &[to(bob, Some("ONE"), 1), to(bob, Some("GONE"), 7)]).await;
    send(&users, "2", &[to(bob, None, 2)]).await;
    // Sent again by a client that got no answer.
    send(&users, "2", &[to(bob, None, 2)]).await;
    assert_eq!(numbers(&users, bob, &one, 0).await, [1, 2]);
    assert_eq!(numbers(&users, bob, &two, 0).await, [2]);
    let users = bench.users();
    send(&users, "2", &[to(bob, None, 2)]).await;
    assert_eq!(numbers(&users, bob, &one, 0).await, [1, 2]);
    let cut = users.to_device.read(bob, &one, 0, users.core.db.frontier(), 1).await.unwrap();
    let first = cut.cut_at.unwrap();
    let event: Value = serde_json::from_slice(&cut.events[0]).unwrap();
    assert_eq!(event, json!({"type": "m.test", "sender": "@ann:example.org", "content": {"n": 1}}));
    assert_eq!(numbers(&users, bob, &one, first).await, [2]);
    assert_eq!(numbers(&users, bob, &one, 0).await, [1, 2], "nothing was confirmed");
    users.to_device.confirm(bob, &one, first).await.unwrap();
    assert_eq!(numbers(&users, bob, &one, 0).await, [2]);
    // Who logs in as the same device again finds nothing of the old one.
    users.devices.delete(bob, std::slice::from_ref(&one)).await.unwrap();
    device(&users, bob, "ONE").await;
    assert_eq!(numbers(&users, bob, &one, 0).await, Vec::<u64>::new());
}

#[tokio::test]
async fn messages_from_and_for_other_servers_are_taken_once() {
    let bench = Bench::new();
    let users = bench.users();
    let (bob, bob_id) = user(&users, "bob").await;
    let phone = device(&users, bob, "P").await;
    let (zoe, nowhere) = (user_id!("@zoe:far"), BTreeMap::new());
    for message_id in ["m1", "m1", "m2"] {
        let transaction = Transaction::Server { origin: "far", message_id };
        let local = [to(bob, Some("P"), 3)];
        users.to_device.send(transaction, messages(zoe, &local, &nowhere)).await.unwrap();
    }
    assert_eq!(numbers(&users, bob, &phone, 0).await, [3, 3]);

    users.device_lists.on_outgoing(Arc::new(|_| ()));
    let remote = BTreeMap::from([(5, to_raw_value(&json!({"@zoe:far": {"Z": {"n": 1}}})).unwrap())]);
    for _ in 0..2 {
        let transaction = Transaction::Client { user: bob, device: "P", txn_id: "t" };
        users.to_device.send(transaction, messages(&bob_id, &[], &remote)).await.unwrap();
    }
    let rows = users.core.db.scan_all(&EDUS_OUT, &()).await.unwrap();
    assert_eq!((rows.len(), rows[0].0.0), (1, 5));
    let OutgoingEdu::ToDevice(content) = &rows[0].1.0 else { panic!("{rows:?}") };
    let content: Value = serde_json::from_str(content.get()).unwrap();
    assert_eq!(content["messages"], json!({"@zoe:far": {"Z": {"n": 1}}}));
    assert_eq!((&content["sender"], &content["type"]), (&json!("@bob:example.org"), &json!("m.test")));
    assert!(!content["message_id"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn who_sends_too_much_pushes_out_nothing_of_others() {
    let bench = Bench::new();
    let users = bench.users();
    let (bob, bob_id) = user(&users, "bob").await;
    let phone = device(&users, bob, "P").await;
    let nowhere = BTreeMap::new();
    let keys = Transaction::Client { user: bob, device: "Q", txn_id: "keys" };
    users.to_device.send(keys, messages(&bob_id, &[to(bob, Some("P"), 7)], &nowhere)).await.unwrap();
    for batch in 0..60 {
        let local: Vec<Addressed> = (0..100).map(|n| to(bob, Some("P"), batch * 100 + n)).collect();
        let transaction = Transaction::Server { origin: "evil", message_id: &batch.to_string() };
        let mallory = user_id!("@mallory:evil");
        users.to_device.send(transaction, messages(mallory, &local, &nowhere)).await.unwrap();
    }
    let all = async || users.to_device.read(bob, &phone, 0, users.core.db.frontier(), 10_000).await.unwrap().events;
    let sent: Vec<Value> = all().await.iter().map(|event| serde_json::from_slice(event).unwrap()).collect();
    assert_eq!((&sent[0]["sender"], &sent[0]["content"]["n"]), (&json!(bob_id), &json!(7)));
    assert!((2501..2700).contains(&sent.len()), "{}", sent.len());
    assert_eq!(sent[2500]["content"]["n"], 2499, "of the sender's the oldest stay");
    // What is confirmed makes room, also by a token from nowhere, and what comes later is confirmed in its turn.
    for token in [u64::MAX - 1, users.core.db.frontier() + 2] {
        users.to_device.confirm(bob, &phone, token).await.unwrap();
        assert!(all().await.is_empty());
        let more = Transaction::Client { user: bob, device: "Q", txn_id: &token.to_string() };
        users.to_device.send(more, messages(&bob_id, &[to(bob, Some("P"), 8)], &nowhere)).await.unwrap();
        assert_eq!(all().await.len(), 1);
    }
    users.to_device.confirm(bob, &phone, users.core.db.frontier()).await.unwrap();
    assert!(all().await.is_empty());
    assert!(users.core.db.scan_all(&crate::tables::INBOX_SIZES, &()).await.unwrap().is_empty());
}

#[tokio::test]
async fn messages_from_before_they_were_counted_are_confirmed_as_well() {
    let bench = Bench::new();
    let users = bench.users();
    let (bob, bob_id) = user(&users, "bob").await;
    let phone = device(&users, bob, "P").await;
    let transaction = Transaction::Client { user: bob, device: "Q", txn_id: "t" };
    users.to_device.send(transaction, messages(&bob_id, &[to(bob, None, 1)], &BTreeMap::new())).await.unwrap();
    let mut write = users.core.db.write();
    write.op(crate::tables::INBOX_SIZES.delete_prefix(&bob));
    write.commit().await.unwrap();
    assert_eq!(numbers(&users, bob, &phone, 0).await, [1]);
    users.to_device.confirm(bob, &phone, users.core.db.frontier()).await.unwrap();
    assert!(numbers(&users, bob, &phone, 0).await.is_empty());
}

#[tokio::test]
async fn a_better_room_key_takes_the_place_of_another_and_versions_are_kept_apart() {
    let bench = Bench::new();
    let users = bench.users();
    let (ann, _) = user(&users, "ann").await;
    let backups = &users.backups;
    let auth = raw("{\"a\":1}");
    assert!(matches!(backups.get(ann, None).await, Err(UsersError::NoBackup(_))));
    let first = backups.create(ann, "m.one", &auth).await.unwrap();
    let key = |index: u64, forwarded: u64, verified: bool| {
        let data = json!({
            "first_message_index": index, "forwarded_count": forwarded, "is_verified": verified, "session_data": {"x": index},
        });
        [SessionKey { room_id: "!r".to_owned(), session_id: "s".to_owned(), data: to_raw_value(&data).unwrap() }]
    };
    let index = async || {
        let found = backups.keys(ann, first, Some("!r"), Some("s")).await.unwrap();
        let data: Value = serde_json::from_str(found[0].data.get()).unwrap();
        (data["first_message_index"].as_u64().unwrap(), data["is_verified"].as_bool().unwrap())
    };
    let state = backups.put(ann, first, &key(10, 5, false)).await.unwrap();
    assert_eq!(state, BackupState { etag: 1, count: 1 });
    for worse in [key(11, 0, false), key(10, 5, false), key(10, 6, false)] {
        assert_eq!(backups.put(ann, first, &worse).await.unwrap(), state);
    }
    backups.put(ann, first, &key(10, 4, false)).await.unwrap();
    backups.put(ann, first, &key(9, 9, false)).await.unwrap();
    assert_eq!(index().await, (9, false));
    let state = backups.put(ann, first, &key(50, 50, true)).await.unwrap();
    assert_eq!((index().await, state), ((50, true), BackupState { etag: 4, count: 1 }));
    assert_eq!(backups.put(ann, first, &key(1, 0, false)).await.unwrap(), state);
    let bad = [SessionKey { data: raw("{\"first_message_index\":1}"), ..key(1, 1, true)[0].clone() }];
    assert!(matches!(backups.put(ann, first, &bad).await, Err(UsersError::BadKey(_))));

    assert!(matches!(backups.update(ann, first, "m.two", &auth).await, Err(UsersError::BackupMismatch(_))));
    backups.update(ann, first, "m.one", &raw("{\"b\":2}")).await.unwrap();
    assert_eq!(backups.get(ann, Some(first)).await.unwrap().auth_data.get(), "{\"b\":2}");
    let second = backups.create(ann, "m.two", &auth).await.unwrap();
    let stale = backups.put(ann, first, &key(0, 0, true)).await;
    assert!(matches!(stale, Err(UsersError::WrongBackupVersion { current }) if current == second));
    assert_eq!(backups.get(ann, None).await.unwrap().version, second);
    backups.delete(ann, second).await.unwrap();
    backups.delete(ann, second).await.unwrap();
    assert_eq!(backups.get(ann, None).await.unwrap().version, first);
    assert!(matches!(backups.delete(ann, 99).await, Err(UsersError::NoBackup(_))));
    assert!(backups.create(ann, "m.three", &auth).await.unwrap() > second);
    let state = backups.delete_keys(ann, first, Some("!r"), None).await.unwrap();
    assert_eq!(state, BackupState { etag: 5, count: 0 });
    assert!(backups.keys(ann, first, None, None).await.unwrap().is_empty());
}

fn remote_device(key: &str) -> RemoteDevice {
    let keys = device_keys(user_id!("@zoe:far"), "Z", key);
    RemoteDevice { display_name: Some("Zoe's".to_owned()), keys: Some(keys) }
}

fn update(stream_id: u64, prev: &[u64], device: Option<RemoteDevice>) -> DeviceUpdate {
    DeviceUpdate { device_id: "Z".to_owned(), stream_id, prev_id: prev.to_vec(), device }
}

#[tokio::test]
async fn a_remote_list_follows_its_changes_and_is_stale_where_one_is_missing() {
    let bench = Bench::new();
    let users = bench.users();
    let (ann, ann_id) = user(&users, "ann").await;
    let zoe_id = user_id!("@zoe:far");
    let zoe = users.number(zoe_id).await.unwrap();
    let remote = &users.remote_devices;
    let viewer = Viewer { user: ann, user_id: &ann_id };
    let key = async || {
        let keys = remote.keys(zoe, zoe_id, viewer).await.unwrap();
        keys.devices.get("Z").map(|keys| keys["keys"]["ed25519:Z"].as_str().unwrap().to_owned())
    };
    // Nobody was given the list yet: that it is there is no news, a change is.
    assert!(!remote.update(zoe, zoe_id, update(1, &[], Some(remote_device("a")))).await.unwrap());
    assert!(remote.update(zoe, zoe_id, update(2, &[1], Some(remote_device("a")))).await.unwrap());
    assert_eq!(remote.fetched(zoe).await.unwrap(), None);
    let list =
        RemoteList { stream_id: 2, devices: [("Z".to_owned(), remote_device("b"))].into(), ..Default::default() };
    remote.store(zoe, zoe_id, 9, list.clone()).await.unwrap();
    assert_eq!((remote.fetched(zoe).await.unwrap(), key().await), (Some(9), Some("b".to_owned())));
    assert!(!remote.update(zoe, zoe_id, update(2, &[], Some(remote_device("old")))).await.unwrap());
    assert!(remote.update(zoe, zoe_id, update(3, &[2], Some(remote_device("c")))).await.unwrap());
    assert_eq!((remote.fetched(zoe).await.unwrap(), key().await), (Some(9), Some("c".to_owned())));
    assert!(remote.update(zoe, zoe_id, update(4, &[3], None)).await.unwrap());
    assert_eq!(key().await, None);
    assert!(remote.update(zoe, zoe_id, update(7, &[6], Some(remote_device("e")))).await.unwrap());
    assert_eq!(remote.fetched(zoe).await.unwrap(), None);
    // An answer that is older than what was heard is not believed for long.
    remote.store(zoe, zoe_id, 10, list).await.unwrap();
    assert_eq!(remote.fetched(zoe).await.unwrap(), None);
    let start = users.core.db.frontier();
    remote.update_signing(zoe, zoe_id, None, None).await.unwrap();
    let seen = users.device_lists.changes(ann, start, users.core.db.frontier()).await.unwrap();
    assert_eq!(seen, [(zoe, false)]);
}

#[tokio::test]
async fn keys_of_a_remote_user_that_are_somebody_elses_are_left_out() {
    let zoe = user_id!("@zoe:far");
    let others = RemoteDevice { keys: Some(device_keys(user_id!("@ann:example.org"), "Z", "x")), display_name: None };
    let master = object(json!({"user_id": "@ann:example.org", "usage": ["master"], "keys": {"ed25519:k": "k"}}));
    let list =
        RemoteList { devices: [("Z".to_owned(), others)].into(), master: Some(master), ..Default::default() }.of(zoe);
    assert_eq!((list.devices["Z"].keys.clone(), list.master.clone()), (None, None));
    assert!(list.into_keys().devices.is_empty());
}
