use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::StatusCode;
use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId, UserId, device_id};
use serde_json::{Value, json, value::to_raw_value};
use users::{
    devices::NewDevice,
    encryption::{CrossSigningKeys, DeviceUpdate, Messages, Object, Transaction, Upload, Viewer},
    tokens::NewTokens,
};

use super::join;
use crate::testing::{TestServer, World};

const PATIENCE: Duration = Duration::from_secs(10);

fn object(value: Value) -> Object {
    value.as_object().unwrap().clone()
}

/// A user with a device that has keys.
async fn user(server: &TestServer, name: &str, device: &str) -> (u64, OwnedUserId) {
    let id = server.register(name).await;
    let num = server.engine().user_num(&id).await.unwrap();
    let tokens = NewTokens { access: &format!("{id}{device}"), expires_ts: None, refresh: None };
    let new = NewDevice { device_id: device.into(), display_name: Some("Phone".to_owned()), tokens };
    server.users().devices.create(num, &new).await.unwrap();
    publish(server, (num, &id), device, "k").await;
    (num, id)
}

async fn publish(server: &TestServer, (num, id): (u64, &UserId), device: &str, key: &str) {
    let keys = json!({
        "user_id": id, "device_id": device, "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": {format!("ed25519:{device}"): key}, "signatures": {id.as_str(): {"ed25519:x": "y"}}, "more": true,
    });
    let one_time_keys = [("signed_curve25519:A".to_owned(), json!({"key": "a"}))].into();
    let upload = Upload { device_keys: Some(object(keys)), one_time_keys, ..Upload::default() };
    server.users().keys.upload(num, id, device.into(), upload).await.unwrap();
}

#[tokio::test]
async fn keys_are_asked_of_their_servers_and_claimed_once() {
    let world = World::new(&["one", "two"]);
    let (one, two) = (world.server("one"), world.server("two").federation());
    let (ann, ann_id) = user(one, "ann", "PHONE").await;
    let master = object(json!({"user_id": ann_id, "usage": ["master"], "keys": {"ed25519:M": "M"}}));
    let keys = CrossSigningKeys { master: Some(master.clone()), ..CrossSigningKeys::default() };
    one.users().cross_signing.upload(ann, &ann_id, keys).await.unwrap();
    let list = two.device_list(&ann_id, PATIENCE).await.unwrap();
    assert_eq!(list.stream_id, one.users().device_lists.stream_id(ann).await.unwrap());
    assert_eq!(list.devices["PHONE"].display_name.as_deref(), Some("Phone"));
    assert_eq!((list.master.as_ref(), list.self_signing.as_ref()), (Some(&master), None));
    assert_eq!(list.devices["PHONE"].keys.as_ref().unwrap()["more"], true, "as it was signed");
    let gone = two.device_list(&one.user_id("nobody"), PATIENCE).await;
    assert!(gone.unwrap_err().is_status(StatusCode::NOT_FOUND));

    let asked: BTreeMap<OwnedUserId, Vec<String>> = [(ann_id.clone(), vec![]), (one.user_id("nobody"), vec![])].into();
    let found = two.query_keys(&one.name, &asked, PATIENCE).await.unwrap();
    assert_eq!((found.len(), &found[&ann_id]), (1, &list.clone().into_keys()));
    assert_eq!(found[&ann_id].devices["PHONE"]["unsigned"]["device_display_name"], "Phone");
    let other = [(ann_id.clone(), vec!["OTHER".to_owned()])].into();
    assert!(two.query_keys(&one.name, &other, PATIENCE).await.unwrap()[&ann_id].devices.is_empty());

    let claims = [(ann_id.clone(), [("PHONE".to_owned(), "signed_curve25519".to_owned())].into())].into();
    let claimed = two.claim_keys(&one.name, &claims, PATIENCE).await.unwrap();
    assert_eq!(json!(claimed), json!({ann_id.as_str(): {"PHONE": {"signed_curve25519:A": {"key": "a"}}}}));
    assert!(two.claim_keys(&one.name, &claims, PATIENCE).await.unwrap().is_empty());
}

/// Ann of one and Bob of two, in a room of Ann's; both with devices.
struct Shared {
    world: World,
    ann: (u64, OwnedUserId),
    bob: (u64, OwnedUserId),
    room: OwnedRoomId,
}

impl Shared {
    async fn new() -> Self {
        let world = World::new(&["one", "two"]);
        let (one, two) = (world.server("one"), world.server("two"));
        let (ann, bob) = (user(one, "ann", "ANNS").await, user(two, "bob", "BOBS").await);
        let room = one.create_room(&ann.1, RoomVersionId::V11).await;
        join(two, &bob.1, &room, &["one"]).await.unwrap();
        let shared = Self { world, ann, bob, room };
        shared.later().await;
        shared
    }

    fn one(&self) -> &Arc<TestServer> {
        self.world.server("one")
    }

    fn two(&self) -> &Arc<TestServer> {
        self.world.server("two")
    }

    async fn later(&self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    /// Ann's number on the second server.
    async fn ann_there(&self) -> u64 {
        self.two().engine().user_num(&self.ann.1).await.unwrap()
    }

    /// Whether Bob's server says since a position that Ann's devices changed.
    async fn changed_since(&self, pos: u64) -> bool {
        let (users, there) = (self.two().users(), self.ann_there().await);
        let changes = users.device_lists.changes(self.bob.0, pos, self.two().engine().frontier()).await.unwrap();
        changes.contains(&(there, false))
    }

    /// Bob's server asks for the list of Ann's devices, as when Bob wants it.
    async fn fetch(&self) {
        let (two, there) = (self.two(), self.ann_there().await);
        let at = two.engine().frontier();
        let list = two.federation().device_list(&self.ann.1, PATIENCE).await.unwrap();
        two.users().remote_devices.store(there, &self.ann.1, at, list).await.unwrap();
    }

    /// Ann's key as Bob's server has it, and whether that is right as far as it heard.
    async fn known(&self) -> (Option<Value>, bool) {
        let (remote, there) = (&self.two().users().remote_devices, self.ann_there().await);
        let fresh = remote.fetched(there).await.unwrap().is_some();
        let viewer = Viewer { user: self.bob.0, user_id: &self.bob.1 };
        let keys = remote.keys(there, &self.ann.1, viewer).await.unwrap();
        (keys.devices.get("ANNS").map(|keys| keys["keys"]["ed25519:ANNS"].clone()), fresh)
    }

    async fn message(&self, txn_id: &str, n: u64) {
        let one = self.one();
        let to = json!({self.bob.1.as_str(): {"BOBS": {"n": n}}});
        let two = one.engine().server_num(&self.two().name).await.unwrap();
        let remote = BTreeMap::from([(two, to_raw_value(&to).unwrap())]);
        let transaction = Transaction::Client { user: self.ann.0, device: "ANNS", txn_id };
        let messages = Messages { sender: &self.ann.1, event_type: "m.test", local: &[], remote: &remote };
        one.users().to_device.send(transaction, messages).await.unwrap();
    }

    async fn received(&self) -> Vec<Value> {
        let (two, to) = (self.two(), self.two().engine().frontier());
        let inbox = two.users().to_device.read(self.bob.0, device_id!("BOBS"), 0, to, 100).await.unwrap();
        inbox.events.iter().map(|event| serde_json::from_slice(event).unwrap()).collect()
    }
}

fn event(sender: &str, n: u64) -> Value {
    json!({"type": "m.test", "sender": sender, "content": {"n": n}})
}

#[tokio::test(start_paused = true)]
async fn messages_between_servers_outlive_outages_and_restarts_and_come_once() {
    let shared = Shared::new().await;
    shared.message("1", 1).await;
    shared.message("1", 1).await;
    shared.later().await;
    assert_eq!(shared.received().await, [event("@ann:one", 1)]);
    shared.world.cut("one", "two");
    shared.message("2", 2).await;
    shared.later().await;
    // Its answer is lost, and the sender starts anew.
    shared.one().start();
    shared.message("3", 3).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    shared.two().start();
    shared.world.heal("one", "two");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(shared.received().await, [1, 2, 3].map(|n| event("@ann:one", n)));
    assert!(shared.one().engine().db.scan_all(&users::EDUS_OUT, &()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_list_follows_what_its_server_tells() {
    let shared = Shared::new().await;
    let start = shared.two().engine().frontier();
    assert!(!shared.changed_since(start).await);
    publish(shared.one(), (shared.ann.0, &shared.ann.1), "ANNS", "second").await;
    shared.later().await;
    assert!(shared.changed_since(start).await, "also where nobody asked for the list before");
    shared.fetch().await;
    assert_eq!(shared.known().await, (Some(json!("second")), true));
    let start = shared.two().engine().frontier();
    publish(shared.one(), (shared.ann.0, &shared.ann.1), "ANNS", "third").await;
    shared.later().await;
    assert_eq!((shared.known().await, shared.changed_since(start).await), ((Some(json!("third")), true), true));
    // Cut off, it is told later, also by the next life of the other.
    shared.world.cut("one", "two");
    publish(shared.one(), (shared.ann.0, &shared.ann.1), "ANNS", "fourth").await;
    shared.later().await;
    shared.one().start();
    let start = shared.two().engine().frontier();
    shared.world.heal("one", "two");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((shared.known().await, shared.changed_since(start).await), ((Some(json!("fourth")), true), true));
    shared.one().users().devices.delete(shared.ann.0, &["ANNS".into()]).await.unwrap();
    shared.later().await;
    assert_eq!(shared.known().await, (None, true));
    // Of what happens while no room is shared nothing is told: the next change does not follow on what is known.
    let two = shared.two();
    two.member(&shared.room, &shared.bob.1, &shared.bob.1, "leave").await.unwrap();
    shared.later().await;
    let (ann, _) = (&shared.ann, start);
    let tokens = NewTokens { access: "again", expires_ts: None, refresh: None };
    let new = NewDevice { device_id: "ANNS".into(), display_name: None, tokens };
    shared.one().users().devices.create(ann.0, &new).await.unwrap();
    shared.later().await;
    join(two, &shared.bob.1, &shared.room, &["one"]).await.unwrap();
    publish(shared.one(), (ann.0, &ann.1), "ANNS", "fifth").await;
    shared.later().await;
    assert_eq!(shared.known().await, (None, false));
    shared.fetch().await;
    assert_eq!(shared.known().await, (Some(json!("fifth")), true));
}

#[tokio::test(start_paused = true)]
async fn who_enters_a_room_is_announced_there() {
    let shared = Shared::new().await;
    shared.fetch().await;
    let (before, start) = (shared.known().await, shared.two().engine().frontier());
    let room = shared.one().room(&shared.room).await.num;
    shared.one().users().device_lists.announce(shared.ann.0, room).await.unwrap();
    shared.later().await;
    assert_eq!(shared.known().await, before, "it is the list that is known");
    assert!(!shared.changed_since(start).await);
    let there = shared.ann_there().await;
    let other =
        DeviceUpdate { device_id: "X".to_owned(), stream_id: u64::MAX >> 1, prev_id: vec![1 << 40], device: None };
    shared.two().users().remote_devices.update(there, &shared.ann.1, other).await.unwrap();
    assert!(!shared.known().await.1);
}

#[tokio::test(start_paused = true)]
async fn cross_signing_keys_are_told() {
    let shared = Shared::new().await;
    let start = shared.two().engine().frontier();
    let master = object(json!({"user_id": shared.ann.1, "usage": ["master"], "keys": {"ed25519:M": "M"}}));
    let keys = CrossSigningKeys { master: Some(master.clone()), ..CrossSigningKeys::default() };
    shared.one().users().cross_signing.upload(shared.ann.0, &shared.ann.1, keys).await.unwrap();
    shared.later().await;
    assert!(shared.changed_since(start).await);
    let (there, viewer) = (shared.ann_there().await, Viewer { user: shared.bob.0, user_id: &shared.bob.1 });
    let known = shared.two().users().remote_devices.keys(there, &shared.ann.1, viewer).await.unwrap();
    assert_eq!(known.master, Some(master));
}

#[tokio::test(start_paused = true)]
async fn a_server_speaks_for_its_own_users_alone() {
    let shared = Shared::new().await;
    let two = shared.two().federation();
    let edu = |kind: &str, content: Value| to_raw_value(&json!({"edu_type": kind, "content": content})).unwrap();
    let message = |sender: &str, to: &str, id: &str| {
        let messages = json!({to: {"BOBS": {"n": 9}}});
        edu("m.direct_to_device", json!({"sender": sender, "type": "m.test", "message_id": id, "messages": messages}))
    };
    let start = shared.two().engine().frontier();
    let origin = &*shared.one().name;
    two.take_edus(origin, &[message("@eve:far", "@bob:two", "1")]).await.unwrap();
    two.take_edus(origin, &[message("@ann:one", "@ann:one", "2")]).await.unwrap();
    two.take_edus(origin, &[message("@ann:one", "@nobody:two", "3")]).await.unwrap();
    two.take_edus(origin, &[message("@ann:one", "@bob:two", &"x".repeat(300))]).await.unwrap();
    two.take_edus(origin, &[edu("m.direct_to_device", json!([]))]).await.unwrap();
    assert!(shared.received().await.is_empty());
    let far = <&ruma::ServerName>::try_from("far").unwrap();
    let change = json!({"user_id": "@ann:one", "device_id": "X", "stream_id": 9, "prev_id": [8]});
    two.take_edus(far, &[edu("m.device_list_update", change)]).await.unwrap();
    two.take_edus(far, &[edu("m.signing_key_update", json!({"user_id": "@ann:one"}))]).await.unwrap();
    let stranger = json!({"user_id": "@stranger:one", "device_id": "X", "stream_id": 1, "prev_id": [8]});
    two.take_edus(origin, &[edu("m.device_list_update", stranger)]).await.unwrap();
    assert!(!shared.changed_since(start).await);
    for _ in 0..2 {
        two.take_edus(origin, &[message("@ann:one", "@bob:two", "4")]).await.unwrap();
    }
    assert_eq!(shared.received().await, [event("@ann:one", 9)]);
}
