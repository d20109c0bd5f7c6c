use ruma::{owned_user_id, room_id, user_id};

use super::*;
use crate::{
    Users,
    testing::{Bench, json},
};

fn room() -> &'static RoomId {
    room_id!("!room:example.org")
}

async fn changes(users: &Users, from: Pos, to: Pos) -> Vec<(bool, String, String)> {
    let items = users.account_data.changes(1, from, to).await.unwrap();
    items.into_iter().map(|i| (i.room_id.is_some(), i.event_type, i.content.get().to_owned())).collect()
}

fn change(in_room: bool, event_type: &str, content: &str) -> (bool, String, String) {
    (in_room, event_type.to_owned(), content.to_owned())
}

#[tokio::test]
async fn each_item_comes_once_with_its_newest_content() {
    let bench = Bench::new();
    let users = bench.users();
    let data = &users.account_data;
    let start = users.core.db.frontier();
    data.set(1, None, "a", &json(r#"{"n":1}"#)).await.unwrap();
    data.set(1, Some(room()), "a", &json(r#"{"n":2}"#)).await.unwrap();
    let middle = users.core.db.frontier();
    data.set(2, None, "a", &json(r#"{"n":3}"#)).await.unwrap();
    data.set(1, None, "a", &json(r#"{"n":4}"#)).await.unwrap();
    let end = users.core.db.frontier();
    let users = bench.users();
    assert_eq!(changes(&users, start, end).await, [change(true, "a", r#"{"n":2}"#), change(false, "a", r#"{"n":4}"#)]);
    assert_eq!(changes(&users, middle, end).await, [change(false, "a", r#"{"n":4}"#)]);
    assert_eq!(changes(&users, start, middle).await, [change(true, "a", r#"{"n":2}"#)]);
    assert!(changes(&users, end, end).await.is_empty());
    assert_eq!(users.account_data.get(1, Some(room()), "a").await.unwrap().unwrap().get(), r#"{"n":2}"#);
    assert!(users.account_data.get(1, Some(room_id!("!other:x")), "a").await.unwrap().is_none());
    assert_eq!(users.account_data.list(1).await.unwrap().len(), 2);
    assert_eq!(users.account_data.list_in(1, Some(room())).await.unwrap().len(), 1);
}

#[tokio::test]
async fn writes_that_race_for_an_item_leave_one_row_in_the_stream() {
    let users = Bench::new().users();
    let contents: Vec<_> = (0..50).map(|n| json(&format!("{{\"n\":{n}}}"))).collect();
    let writes = contents.iter().map(|content| users.account_data.set(1, None, "a", content));
    let positions = futures::future::try_join_all(writes).await.unwrap();
    let rows = users.core.db.scan_all(&ACCOUNT_DATA_STREAM, &1u64).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(Some(rows[0].0.1), positions.into_iter().flatten().max());
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_no_stale_row() {
    use futures::FutureExt;
    let users = Bench::new().users();
    let content = json("{}");
    for _ in 0..50 {
        // Dropped after its first steps, perhaps with the commit on its way.
        let _ = users.account_data.set(1, None, "a", &content).now_or_never();
    }
    users.account_data.set(1, None, "a", &content).await.unwrap();
    assert_eq!(users.core.db.scan_all(&ACCOUNT_DATA_STREAM, &1u64).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_removed_item_is_gone_and_the_next_sync_shows_it_empty() {
    let users = Bench::new().users();
    let data = &users.account_data;
    data.set(1, None, "a", &json(r#"{"n":1}"#)).await.unwrap();
    let before = users.core.db.frontier();
    assert!(data.delete(1, None, "a").await.unwrap().is_some());
    assert!(data.delete(1, None, "a").await.unwrap().is_none());
    assert!(data.get(1, None, "a").await.unwrap().is_none());
    assert!(data.list(1).await.unwrap().is_empty());
    assert_eq!(changes(&users, before, users.core.db.frontier()).await, [change(false, "a", "{}")]);
    // Something empty is the same, whether or not there was anything: a sync shows it to whoever set it.
    for before in ["{}", r#"{"n":1}"#] {
        data.set(1, None, "a", &json(before)).await.unwrap();
        let since = users.core.db.frontier();
        assert!(data.set(1, None, "a", &json("{ }")).await.unwrap().is_some());
        assert!(data.get(1, None, "a").await.unwrap().is_none());
        assert_eq!(changes(&users, since, users.core.db.frontier()).await, [change(false, "a", "{}")]);
    }
}

#[tokio::test]
async fn content_is_an_object_of_bounded_size() {
    let users = Bench::new().users();
    let data = &users.account_data;
    for bad in ["[]", "1", "null", r#"{"a":"\ud800"}"#] {
        assert!(matches!(data.set(1, None, "a", &json(bad)).await, Err(UsersError::NotAnObject(_))), "{bad}");
    }
    let large = json(&format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_CONTENT)));
    assert!(matches!(data.set(1, None, "a", &large).await, Err(UsersError::TooLarge { .. })));
    for name in ["", &"x".repeat(MAX_NAME + 1)] {
        assert!(matches!(data.set(1, None, name, &json("{}")).await, Err(UsersError::InvalidId(_))));
    }
    assert!(is_server_managed(false, "m.push_rules") && is_server_managed(true, "m.fully_read"));
    assert!(!is_server_managed(true, "m.push_rules") && !is_server_managed(false, "m.direct"));
}

#[tokio::test]
async fn a_commit_wakes_the_user_alone() {
    use futures::FutureExt;
    let users = Bench::new().users();
    let (ann, ben) = (users.core.db.notifier().register(1), users.core.db.notifier().register(2));
    users.account_data.set(1, None, "a", &json("{}")).await.unwrap();
    ann.woken().await;
    assert!(ben.woken().now_or_never().is_none());
}

#[tokio::test]
async fn tags_are_added_changed_and_taken() {
    let bench = Bench::new();
    let users = bench.users();
    let tag = |order| Tag { order, ..Tag::default() };
    users.account_data.set_tag(1, room(), "u.work", tag(Some(0.5))).await.unwrap();
    users.account_data.set_tag(1, room(), "m.favourite", tag(None)).await.unwrap();
    users.account_data.set_tag(1, room(), "u.work", tag(Some(0.25))).await.unwrap();
    assert!(users.account_data.delete_tag(1, room(), "nope").await.unwrap().is_none());
    assert!(users.account_data.delete_tag(1, room(), "m.favourite").await.unwrap().is_some());
    let users = bench.users();
    let tags = users.account_data.tags(1, room()).await.unwrap();
    assert_eq!(tags, BTreeMap::from([("u.work".to_owned(), tag(Some(0.25)))]));
    let content = users.account_data.get(1, Some(room()), "m.tag").await.unwrap().unwrap();
    assert_eq!(content.get(), r#"{"tags":{"u.work":{"order":0.25}}}"#);
    assert!(users.account_data.set_tag(1, room(), "", tag(None)).await.is_err());
}

#[tokio::test]
async fn the_ignored_follow_their_list() {
    let users = Bench::new().users();
    let data = &users.account_data;
    assert!(data.ignored(1).await.unwrap().is_empty());
    let list = json(r#"{"ignored_users":{"@ben:example.org":{},"@carl:example.org":{"x":1}}}"#);
    data.set(1, None, IGNORED_USER_LIST, &list).await.unwrap();
    let ignored = data.ignored(1).await.unwrap();
    assert!(ignored.contains(user_id!("@ben:example.org")) && ignored.contains(&owned_user_id!("@carl:example.org")));
    let gets = users.core.db.stats().snapshot().gets;
    data.ignored(1).await.unwrap();
    assert_eq!(users.core.db.stats().snapshot().gets, gets);
    data.set(1, None, IGNORED_USER_LIST, &json(r#"{"ignored_users":[]}"#)).await.unwrap();
    assert!(data.ignored(1).await.unwrap().is_empty());
}
