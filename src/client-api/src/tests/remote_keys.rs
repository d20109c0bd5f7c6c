use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use engine::{Direction, Listing, NewEvent, Room, SpaceView};
use futures::FutureExt as _;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomId, ServerName, UserId,
    directory::Filter, events::TimelineEventType, user_id,
};
use serde_json::{Map, Value, json};
use users::encryption::{DeviceUpdate, RemoteDevice, RemoteList, UserKeys};

use crate::{ClaimedKeys, Claims, ClientApiConfig, NoRemoteRooms, RemoteAnswer, RemoteQueries, testing::TestApp};

fn zoe_id() -> &'static UserId {
    user_id!("@zoe:far")
}

/// Servers that have a list of each user's devices, and count how often they are asked for what.
#[derive(Debug, Default)]
struct Far {
    lists: AtomicUsize,
    queries: AtomicUsize,
}

fn device() -> RemoteDevice {
    let keys = json!({"user_id": zoe_id(), "device_id": "Z", "algorithms": [], "keys": {}, "signatures": {}});
    RemoteDevice { display_name: None, keys: keys.as_object().cloned() }
}

fn list() -> RemoteList {
    RemoteList { stream_id: 5, devices: [("Z".to_owned(), device())].into(), ..RemoteList::default() }
}

impl RemoteQueries for Far {
    fn profile<'a>(&'a self, _: &'a UserId, _: Option<&'a str>) -> RemoteAnswer<'a, Map<String, Value>> {
        panic!("nobody asks that here")
    }

    fn alias<'a>(&'a self, _: &'a RoomAliasId) -> RemoteAnswer<'a, (OwnedRoomId, Vec<OwnedServerName>)> {
        panic!("nobody asks that here")
    }

    fn public_rooms<'a>(
        &'a self,
        _: &'a ServerName,
        _: &'a Filter,
        _: Option<&'a str>,
        _: Option<usize>,
    ) -> RemoteAnswer<'a, Listing> {
        panic!("nobody asks that here")
    }

    fn hierarchy<'a>(&'a self, _: &'a [OwnedServerName], _: &'a RoomId, _: bool) -> RemoteAnswer<'a, SpaceView> {
        panic!("nobody asks that here")
    }

    fn timestamp_to_event<'a>(
        &'a self,
        _: &'a Arc<Room>,
        _: u64,
        _: Direction,
    ) -> RemoteAnswer<'a, (OwnedEventId, u64)> {
        panic!("nobody asks that here")
    }

    fn device_list<'a>(&'a self, _: &'a UserId, _: Duration) -> RemoteAnswer<'a, RemoteList> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        async { Ok(list()) }.boxed()
    }

    fn query_keys<'a>(
        &'a self,
        _: &'a ServerName,
        users: &'a BTreeMap<OwnedUserId, Vec<String>>,
        _: Duration,
    ) -> RemoteAnswer<'a, BTreeMap<OwnedUserId, UserKeys>> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        async { Ok(users.keys().map(|user| (user.clone(), list().into_keys())).collect()) }.boxed()
    }

    fn claim_keys<'a>(&'a self, _: &'a ServerName, claims: &'a Claims, _: Duration) -> RemoteAnswer<'a, ClaimedKeys> {
        let of = |devices: &BTreeMap<String, String>| {
            let key = |kind: &String| [(format!("{kind}:1"), json!({"key": "z"}))].into();
            devices.iter().map(|(device, kind)| (device.clone(), key(kind))).collect()
        };
        async move { Ok(claims.iter().map(|(user, devices)| (user.clone(), of(devices))).collect()) }.boxed()
    }
}

/// Zoe's membership changes, as if her server had said so.
async fn zoe(test: &TestApp, room: &str, membership: &str) {
    let engine = &test.app.engine;
    let room = engine.room(room.try_into().unwrap()).await.unwrap();
    let content = json!({"membership": membership}).to_string();
    let new = NewEvent {
        sender: zoe_id(),
        sender_num: engine.user_num(zoe_id()).await.unwrap(),
        event_type: TimelineEventType::RoomMember,
        state_key: Some(zoe_id().as_str()),
        content: &content,
        redacts: None,
        origin_server_ts: None,
        device: None,
        txn_id: None,
    };
    engine.send(&room, new, None).await.unwrap();
}

#[tokio::test]
async fn lists_of_remote_users_are_kept_for_as_long_as_their_servers_tell_of_changes() {
    let far = Arc::new(Far::default());
    let config = ClientApiConfig::default();
    let test = TestApp::asking(config, Arc::new(NoRemoteRooms), Arc::clone(&far) as _, &["alice", "carol"]).await;
    let room = test.room("alice", json!({"preset": "public_chat"})).await;
    let since = test.sync("alice", None).await["next_batch"].as_str().unwrap().to_owned();
    zoe(&test, &room, "join").await;
    let sync = test.sync("alice", Some(&since)).await;
    assert_eq!(sync["device_lists"]["changed"], json!(["@zoe:far"]));
    let ask = async |who: &str| {
        let found = test.post(who, "/v3/keys/query", json!({"device_keys": {"@zoe:far": []}})).await.ok();
        assert_eq!(found["device_keys"]["@zoe:far"]["Z"]["device_id"], "Z");
        (far.lists.load(Ordering::SeqCst), far.queries.load(Ordering::SeqCst))
    };
    assert_eq!(ask("alice").await, (1, 0));
    assert_eq!(ask("alice").await, (1, 0), "it is known now");
    assert_eq!(ask("carol").await, (1, 1), "nobody tells Carol of changes");
    let user = test.app.engine.user_num(zoe_id()).await.unwrap();
    let update = |stream_id: u64, prev: u64| DeviceUpdate {
        device_id: "Z".to_owned(),
        stream_id,
        prev_id: vec![prev],
        device: Some(device()),
    };
    let since = sync["next_batch"].as_str().unwrap().to_owned();
    let remote = &test.app.users.remote_devices;
    remote.update(user, zoe_id(), update(6, 5)).await.unwrap();
    assert_eq!(test.sync("alice", Some(&since)).await["device_lists"]["changed"], json!(["@zoe:far"]));
    assert_eq!(test.sync("carol", Some(&since)).await["device_lists"], json!({}));
    assert_eq!(ask("alice").await, (1, 1));
    remote.update(user, zoe_id(), update(9, 8)).await.unwrap();
    assert_eq!(ask("alice").await, (2, 1), "a change is missing");
    let far_user = test.post("alice", "/v3/keys/claim", json!({"one_time_keys": {"@zoe:far": {"Z": "k"}}})).await.ok();
    assert_eq!(far_user["one_time_keys"], json!({"@zoe:far": {"Z": {"k:1": {"key": "z"}}}}));
    // The answer was older than what had been heard: it is not believed the next time.
    assert_eq!(ask("alice").await, (3, 1));
}

#[tokio::test]
async fn a_list_from_before_somebody_came_back_is_not_used() {
    let far = Arc::new(Far::default());
    let config = ClientApiConfig::default();
    let test = TestApp::asking(config, Arc::new(NoRemoteRooms), Arc::clone(&far) as _, &["alice"]).await;
    let room = test.room("alice", json!({"preset": "public_chat"})).await;
    let ask = async || {
        test.post("alice", "/v3/keys/query", json!({"device_keys": {"@zoe:far": []}})).await.ok();
        (far.lists.load(Ordering::SeqCst), far.queries.load(Ordering::SeqCst))
    };
    zoe(&test, &room, "join").await;
    assert_eq!((ask().await, ask().await), ((1, 0), (1, 0)));
    let since = test.sync("alice", None).await["next_batch"].as_str().unwrap().to_owned();
    zoe(&test, &room, "leave").await;
    let gone = test.sync("alice", Some(&since)).await;
    assert_eq!(gone["device_lists"], json!({"changed": [], "left": ["@zoe:far"]}));
    assert_eq!(ask().await, (1, 1), "her server tells this one nothing any more");
    zoe(&test, &room, "join").await;
    assert_eq!(ask().await, (2, 1));
    assert_eq!(ask().await, (2, 1));
}
