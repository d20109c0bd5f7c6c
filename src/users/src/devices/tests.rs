use std::net::{IpAddr, Ipv4Addr};

use ruma::{device_id, owned_device_id};
use store::{Clock, Keyspace, Table};

use super::*;
use crate::testing::{Bench, tokens};

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn new(id: &str, tokens: NewTokens<'static>) -> NewDevice<'static> {
    NewDevice { device_id: id.into(), display_name: Some(format!("{id} of Ann")), tokens }
}

#[tokio::test]
async fn devices_are_created_listed_and_renamed() {
    let bench = Bench::new();
    let users = bench.users();
    users.number(ruma::user_id!("@ann:example.org")).await.unwrap();
    users.devices.create(1, &new("B", tokens("b"))).await.unwrap();
    users.devices.create(1, &new("A", tokens("a"))).await.unwrap();
    users.devices.create(2, &new("C", tokens("c"))).await.unwrap();
    users.devices.rename(1, device_id!("B"), None).await.unwrap();
    let users = bench.users();
    let names: Vec<_> =
        users.devices.list(1).await.unwrap().into_iter().map(|d| (d.device_id, d.display_name)).collect();
    let expected = [(owned_device_id!("A"), Some("A of Ann".to_owned())), (owned_device_id!("B"), None)];
    assert_eq!(names, expected);
    let created = users.devices.get(2, device_id!("C")).await.unwrap().created_ts;
    assert_eq!(created, bench.clock.now_ms());
    let missing = users.devices.rename(2, device_id!("A"), None).await;
    assert!(matches!(missing, Err(UsersError::DeviceNotFound)));
    let long = Some("x".repeat(MAX_DISPLAY_NAME + 1));
    assert!(matches!(users.devices.rename(1, device_id!("A"), long).await, Err(UsersError::TooLarge { .. })));
    for bad in [String::new(), "x".repeat(MAX_ID + 1)] {
        assert!(matches!(users.devices.create(1, &new(&bad, tokens("d"))).await, Err(UsersError::InvalidId(_))));
    }
}

#[tokio::test]
async fn logging_a_device_in_anew_ends_its_older_tokens_only() {
    let users = Bench::new().users();
    users.number(ruma::user_id!("@ann:example.org")).await.unwrap();
    users.devices.create(1, &new("A", tokens("a1"))).await.unwrap();
    users.devices.create(1, &new("AB", tokens("ab"))).await.unwrap();
    users.tokens.session("a1").await.unwrap();
    let again = NewDevice { display_name: None, ..new("A", tokens("a2")) };
    users.devices.create(1, &again).await.unwrap();
    assert!(matches!(users.tokens.session("a1").await, Err(UsersError::UnknownToken)));
    assert!(users.tokens.session("a2").await.is_ok() && users.tokens.session("ab").await.is_ok());
    let device = users.devices.get(1, device_id!("A")).await.unwrap();
    assert_eq!(device.display_name.as_deref(), Some("A of Ann"));
}

#[tokio::test]
async fn deleting_a_device_takes_its_tokens_and_what_hooks_name() {
    const OTHERS: Table<(u64, String), u64> = Table::new(Keyspace::Index, 250, "others");
    let bench = Bench::new();
    let users = bench.users();
    users.number(ruma::user_id!("@ann:example.org")).await.unwrap();
    users.devices.on_delete(Arc::new(|user, device| {
        let ops = vec![OTHERS.delete(&(user, device.as_str().to_owned()))];
        Box::pin(std::future::ready(Ok(ops)))
    }));
    let db = &users.core.db;
    let mut write = db.write();
    for id in ["A", "B", "C"] {
        write.put(&OTHERS, &(1, id.to_owned()), &1);
    }
    write.commit().await.unwrap();
    for (id, token) in [("A", "a"), ("B", "b"), ("C", "c")] {
        users.devices.create(1, &new(id, tokens(token))).await.unwrap();
        users.tokens.session(token).await.unwrap();
    }
    users.devices.delete(1, &[owned_device_id!("A"), owned_device_id!("nope")]).await.unwrap();
    assert!(users.tokens.session("a").await.is_err());
    assert!(users.tokens.session("b").await.is_ok());
    assert_eq!(db.scan_all(&OTHERS, &1u64).await.unwrap().len(), 2);
    users.devices.delete_all(1, Some(device_id!("C"))).await.unwrap();
    let left: Vec<_> = users.devices.list(1).await.unwrap().into_iter().map(|device| device.device_id).collect();
    assert_eq!(left, [owned_device_id!("C")]);
    assert_eq!(db.scan_all(&OTHERS, &1u64).await.unwrap(), [((1, "C".to_owned()), 1)]);
    let users = bench.users();
    assert!(users.tokens.session("b").await.is_err());
    assert!(users.tokens.session("c").await.is_ok());
}

#[tokio::test]
async fn last_seen_is_in_memory_until_flushed_and_dies_with_the_device() {
    let bench = Bench::new();
    let users = bench.users();
    users.devices.create(1, &new("A", tokens("a"))).await.unwrap();
    users.devices.create(1, &new("B", tokens("b"))).await.unwrap();
    bench.clock.advance(10);
    users.devices.seen(1, device_id!("A"), IP);
    let seen = |device: Device| (device.last_seen_ts, device.last_seen_ip);
    let now = bench.clock.now_ms();
    assert_eq!(seen(users.devices.get(1, device_id!("A")).await.unwrap()), (Some(now), Some(IP)));
    assert_eq!(seen(bench.users().devices.get(1, device_id!("A")).await.unwrap()), (None, None));
    users.devices.flush().await.unwrap();
    assert_eq!(seen(bench.users().devices.get(1, device_id!("A")).await.unwrap()), (Some(now), Some(IP)));
    users.devices.seen(1, device_id!("B"), IP);
    users.devices.rename(1, device_id!("A"), None).await.unwrap();
    assert_eq!(seen(bench.users().devices.get(1, device_id!("B")).await.unwrap()), (Some(now), Some(IP)));

    users.devices.delete(1, &[owned_device_id!("A")]).await.unwrap();
    users.devices.seen(1, device_id!("A"), IP);
    users.devices.flush().await.unwrap();
    let rows = users.core.db.scan_all(&DEVICE_SEEN, &1u64).await.unwrap();
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn settings_of_notifications_end_with_their_device_in_the_same_commit() {
    let bench = Bench::new();
    let users = bench.users();
    users.number(ruma::user_id!("@ann:example.org")).await.unwrap();
    let kind = |device: &str| format!("org.matrix.msc3890.local_notification_settings.{device}");
    for device in ["A", "B"] {
        users.devices.create(1, &new(device, tokens(device))).await.unwrap();
        let content = crate::testing::json(r#"{"is_silenced":true}"#);
        users.account_data.set(1, None, &kind(device), &content).await.unwrap();
    }
    let since = users.core.db.frontier();
    users.devices.delete(1, &[owned_device_id!("A")]).await.unwrap();
    for users in [users, bench.users()] {
        assert!(users.account_data.get(1, None, &kind("A")).await.unwrap().is_none());
        assert!(users.account_data.get(1, None, &kind("B")).await.unwrap().is_some());
        let told = users.account_data.changes(1, since, users.core.db.frontier()).await.unwrap();
        assert_eq!(told.iter().map(|item| &*item.event_type).collect::<Vec<_>>(), [kind("A")]);
        assert_eq!(told[0].content.get(), "{}");
    }
}
