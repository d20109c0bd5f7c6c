use ruma::{OwnedUserId, owned_event_id, owned_room_id};
use serde_json::json;

use super::*;
use crate::{
    Users,
    accounts::NewAccount,
    testing::{Bench, json as raw},
};

const START: u64 = 1_700_000_000_000;

fn event(users: &Users, user: UserNum, delay_ms: u64, txn: Option<&str>) -> NewDelayed {
    let txn = txn.map(|path| DelayedTxn { scope: "PHONE".to_owned(), path: path.to_owned() });
    NewDelayed {
        user,
        user_id: OwnedUserId::try_from(format!("@u{user}:{}", users.core.server_name)).unwrap(),
        room_id: owned_room_id!("!room:example.org"),
        event_type: "org.example.x".to_owned(),
        state_key: None,
        content: raw(r#"{"a":1}"#),
        delay_ms,
        origin_server_ts: None,
        service: None,
        txn,
    }
}

async fn schedule(users: &Users, user: UserNum, id: &str, delay_ms: u64) {
    let made = users.delayed.schedule(id.to_owned(), event(users, user, delay_ms, None), 10).await.unwrap();
    assert_eq!(made, id);
}

async fn waiting(users: &Users, user: UserNum) -> Vec<String> {
    users.delayed.waiting(user, 100).await.unwrap().into_iter().map(|(id, _)| id).collect()
}

#[tokio::test]
async fn what_waits_is_kept_over_a_restart_and_due_in_order() {
    let bench = Bench::new();
    let users = bench.users();
    schedule(&users, 1, "late", 3000).await;
    schedule(&users, 2, "other", 2000).await;
    schedule(&users, 1, "early", 1000).await;
    // At the same time what was asked for first is first.
    schedule(&users, 1, "as late", 3000).await;
    let users = bench.users();
    assert_eq!(waiting(&users, 1).await, ["early", "late", "as late"]);
    assert_eq!(users.delayed.next_due().await.unwrap(), Some(START + 1000));
    let due = async |now| users.delayed.due(now, 10).await.unwrap();
    assert_eq!(due(START + 999).await, []);
    assert_eq!(due(START + 2000).await, [(1, "early".to_owned()), (2, "other".to_owned())]);
    assert_eq!(users.delayed.due(START + 9000, 1).await.unwrap(), [(1, "early".to_owned())]);

    bench.clock.advance(900);
    users.delayed.restart(users.delayed.hold("early").await.unwrap()).await.unwrap();
    assert_eq!(due(START + 1899).await, []);
    assert_eq!(due(START + 1900).await, [(1, "early".to_owned())]);
    let early = bench.users().delayed.get("early").await.unwrap().unwrap();
    assert_eq!((early.since_ts, early.due_ts, early.delay_ms), (START + 900, START + 1900, 1000));
}

#[tokio::test]
async fn what_became_of_one_can_be_looked_up_for_a_while() {
    let bench = Bench::new();
    let users = bench.users();
    for id in ["sent", "cancelled", "failed"] {
        schedule(&users, 1, id, 1000).await;
    }
    let hold = async |id: &str| users.delayed.hold(id).await.unwrap();
    let sent = Outcome::Sent(owned_event_id!("$x"));
    users.delayed.finalise(hold("sent").await, sent).await.unwrap();
    users.delayed.finalise(hold("cancelled").await, Outcome::Cancelled).await.unwrap();
    users.delayed.finalise(hold("failed").await, Outcome::Failed(json!({"errcode": "M_X"}))).await.unwrap();
    assert_eq!(waiting(&users, 1).await, [""; 0]);
    let users = bench.users();
    let end = async |id: &str| users.delayed.get(id).await.unwrap().unwrap().finalised.unwrap();
    assert!(end("sent").await.sent());
    assert!(!end("cancelled").await.sent() && end("cancelled").await.error.is_none());
    assert_eq!(end("failed").await.error, Some(json!({"errcode": "M_X"})));
    assert_eq!(users.delayed.due(START + RETENTION_MS - 1, 10).await.unwrap(), []);
    for (_, id) in users.delayed.due(START + RETENTION_MS, 10).await.unwrap() {
        users.delayed.forget(users.delayed.hold(&id).await.unwrap()).await.unwrap();
    }
    assert!(users.delayed.get("sent").await.unwrap().is_none());
    assert_eq!(users.delayed.next_due().await.unwrap(), None);
    assert!(matches!(users.delayed.hold("sent").await, Err(UsersError::DelayedNotFound)));
}

#[tokio::test]
async fn a_user_has_so_many_and_of_old_ones_the_newest() {
    let bench = Bench::new();
    let users = bench.users();
    let first = event(&users, 1, 5000, None);
    for id in ["a", "b"] {
        users.delayed.schedule(id.to_owned(), first.clone(), 2).await.unwrap();
    }
    let refused = users.delayed.schedule("c".to_owned(), first.clone(), 2).await;
    assert!(matches!(refused, Err(UsersError::TooManyDelayed { next_ts }) if next_ts == START + 5000));
    users.delayed.schedule("d".to_owned(), event(&users, 2, 5000, None), 2).await.unwrap();
    for nth in 0..=MAX_FINALISED {
        bench.clock.advance(1);
        let held = users.delayed.hold("a").await.unwrap();
        users.delayed.finalise(held, Outcome::Cancelled).await.unwrap();
        let gone = users.delayed.hold("a").await.unwrap();
        // Under another name, to have many.
        let mut write = users.core.db.write();
        write.ops(gone.event.delete("a")).ops(gone.event.put(&format!("old{nth:03}")));
        write.commit().await.unwrap();
        drop(gone);
        users.delayed.schedule("a".to_owned(), first.clone(), 2).await.unwrap();
    }
    let kept = users.core.db.scan_prefix(&DELAYED_OF, &(1u64, FINALISED), Page::first(1000)).await.unwrap();
    assert_eq!(kept.len(), MAX_FINALISED);
    assert!(
        users.delayed.get("old000").await.unwrap().is_none() && users.delayed.get("old001").await.unwrap().is_some()
    );
}

#[tokio::test]
async fn the_same_request_makes_one_until_its_device_or_the_event_is_gone() {
    let bench = Bench::new();
    let users = bench.users();
    let alice = users.register(NewAccount::user("alice"), None).await.unwrap().num;
    let make = async |id: &str, path: &str| {
        let new = event(&users, alice, 1000, Some(path));
        users.delayed.schedule(id.to_owned(), new, 10).await.unwrap()
    };
    assert_eq!(make("a", "/one").await, "a");
    assert_eq!(make("b", "/one").await, "a");
    assert_eq!(make("c", "/two").await, "c");
    assert!(users.delayed.get("b").await.unwrap().is_none());
    users.delayed.forget(users.delayed.hold("a").await.unwrap()).await.unwrap();
    assert_eq!(make("d", "/one").await, "d");
    users.deactivate(alice).await.unwrap();
    assert_eq!(waiting(&users, alice).await, [""; 0]);
    assert!(users.delayed.get("c").await.unwrap().is_none());
    assert_eq!(users.delayed.next_due().await.unwrap(), None);
    let txn = DelayedTxn { scope: "PHONE".to_owned(), path: "/two".to_owned() };
    assert_eq!(users.delayed.made_by(alice, &txn).await.unwrap(), None);
}
