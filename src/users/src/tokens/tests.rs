use ruma::{owned_device_id, user_id};
use store::Clock;

use super::*;
use crate::{
    Users,
    devices::NewDevice,
    testing::{Bench, tokens},
};

const ANN: u64 = 1;

async fn logged_in(bench: &Bench, tokens: NewTokens<'_>) -> Arc<Users> {
    let users = bench.users();
    assert_eq!(users.number(user_id!("@ann:example.org")).await.unwrap(), ANN);
    let device = NewDevice { device_id: owned_device_id!("D"), display_name: None, tokens };
    users.devices.create(ANN, &device).await.unwrap();
    users
}

fn pair<'a>(access: &'a str, refresh: &'a str) -> NewTokens<'a> {
    NewTokens { access, expires_ts: None, refresh: Some(refresh) }
}

async fn is_live(users: &Users, token: &str) -> bool {
    match users.tokens.session(token).await {
        Ok(session) => session.num == ANN && session.device_id == "D",
        Err(UsersError::UnknownToken) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn rows(users: &Users) -> usize {
    let tokens = users.core.db.scan_all(&TOKENS, &()).await.unwrap().len();
    assert_eq!(users.core.db.scan_all(&DEVICE_TOKENS, &()).await.unwrap().len(), tokens);
    tokens
}

#[tokio::test]
async fn a_warm_session_costs_no_read() {
    let users = logged_in(&Bench::new(), tokens("a")).await;
    let first = users.tokens.session("a").await.unwrap();
    let before = users.core.db.stats().snapshot().gets;
    assert!(Arc::ptr_eq(&first, &users.tokens.session("a").await.unwrap()));
    assert_eq!(users.core.db.stats().snapshot().gets, before);
    assert!(!is_live(&users, "").await);
    assert!(!is_live(&users, "b").await);
}

#[tokio::test]
async fn tokens_are_not_on_disk_in_clear() {
    let users = logged_in(&Bench::new(), pair("access-token-in-clear", "refresh-token-in-clear")).await;
    for keyspace in store::Keyspace::ALL {
        let all = (bytes::Bytes::new(), bytes::Bytes::from_static(&[u8::MAX; 4]));
        for (key, value) in users.core.db.scan_raw(keyspace, all.0, all.1, Page::first(1000)).await.unwrap() {
            for bytes in [key, value] {
                assert!(!bytes.windows(8).any(|part| part == b"in-clear"));
            }
        }
    }
}

#[tokio::test]
async fn an_expired_access_token_says_so_and_its_refresh_token_lives() {
    let bench = Bench::new();
    let end = bench.clock.now_ms() + 1000;
    let users = logged_in(&bench, NewTokens { expires_ts: Some(end), ..pair("a1", "r1") }).await;
    assert!(is_live(&users, "a1").await);
    bench.clock.advance(1000);
    assert!(matches!(users.tokens.session("a1").await, Err(UsersError::ExpiredToken)));
    assert!(!is_live(&users, "r1").await);
    assert!(matches!(users.tokens.refresh("a1", &pair("x", "y")).await, Err(UsersError::UnknownToken)));
    users.tokens.refresh("r1", &pair("a2", "r2")).await.unwrap();
    assert!(is_live(&users, "a2").await);
}

#[tokio::test]
async fn a_refresh_can_be_repeated_until_what_it_gave_is_used() {
    let bench = Bench::new();
    let users = logged_in(&bench, pair("a1", "r1")).await;
    assert!(is_live(&users, "a1").await);
    users.tokens.refresh("r1", &pair("a2", "r2")).await.unwrap();
    // The answer was lost: the same token is used again, and what was lost is worth nothing.
    let session = users.tokens.refresh("r1", &pair("a3", "r3")).await.unwrap();
    assert_eq!(session.user_id, "@ann:example.org");
    assert!(!is_live(&users, "a2").await);
    assert!(matches!(users.tokens.refresh("r2", &pair("x", "y")).await, Err(UsersError::UnknownToken)));
    assert!(is_live(&users, "a1").await);
    // The first use of the new token ends the old pair, in memory and on disk.
    assert!(is_live(&users, "a3").await);
    assert!(!is_live(&users, "a1").await);
    assert!(matches!(users.tokens.refresh("r1", &pair("x", "y")).await, Err(UsersError::UnknownToken)));
    assert_eq!(rows(&users).await, 2);
    let users = bench.users();
    assert!(is_live(&users, "a3").await && !is_live(&users, "a1").await);
    // So does the use of the new refresh token.
    users.tokens.refresh("r3", &pair("a4", "r4")).await.unwrap();
    users.tokens.refresh("r4", &pair("a5", "r5")).await.unwrap();
    assert!(!is_live(&users, "a3").await);
    assert!(matches!(users.tokens.refresh("r3", &pair("x", "y")).await, Err(UsersError::UnknownToken)));
    assert_eq!(rows(&users).await, 4);
}

#[tokio::test]
async fn of_a_repeated_refresh_and_the_first_use_at_once_one_wins() {
    for round in 0..50 {
        let users = logged_in(&Bench::new(), pair("a1", "r1")).await;
        users.tokens.refresh("r1", &pair("a2", "r2")).await.unwrap();
        let again = pair("a3", "r3");
        let repeated = match round % 2 {
            0 => futures::join!(users.tokens.refresh("r1", &again), users.tokens.session("a2")).0,
            _ => futures::join!(users.tokens.session("a2"), users.tokens.refresh("r1", &again)).1,
        };
        assert_eq!(is_live(&users, "a2").await, repeated.is_err());
        assert_eq!(is_live(&users, "a1").await, repeated.is_ok());
        assert_eq!(rows(&users).await, if repeated.is_ok() { 4 } else { 2 });
    }
}

#[tokio::test]
async fn a_refresh_without_a_successor_replaces_the_access_token_at_once() {
    let users = logged_in(&Bench::new(), pair("a1", "r1")).await;
    for access in ["a2", "a3"] {
        users.tokens.refresh("r1", &tokens(access)).await.unwrap();
        assert!(is_live(&users, access).await);
    }
    assert!(!is_live(&users, "a1").await && !is_live(&users, "a2").await);
    assert_eq!(rows(&users).await, 2);
}

#[tokio::test]
async fn all_tokens_die_with_the_device() {
    let users = logged_in(&Bench::new(), pair("a1", "r1")).await;
    users.tokens.refresh("r1", &pair("a2", "r2")).await.unwrap();
    assert!(is_live(&users, "a1").await);
    users.devices.delete_all(ANN, None).await.unwrap();
    assert!(!is_live(&users, "a1").await && !is_live(&users, "a2").await);
    assert!(users.tokens.refresh("r2", &pair("x", "y")).await.is_err());
    assert_eq!(rows(&users).await, 0);
}

#[tokio::test]
async fn a_grant_outlives_refreshes_and_dies_with_its_log_in() {
    let bench = Bench::new();
    let users = bench.users();
    assert_eq!(users.number(user_id!("@ann:example.org")).await.unwrap(), ANN);
    let device = owned_device_id!("D");
    let new = |tokens| NewDevice { device_id: device.clone(), display_name: None, tokens };
    let grant = |id| NewGrant { id, note: "client" };
    users.devices.create_granted(ANN, &new(pair("a1", "r1")), &grant("g1"), Vec::new()).await.unwrap();
    users.tokens.refresh("r1", &pair("a2", "r2")).await.unwrap();
    assert!(is_live(&users, "a2").await);
    let users = bench.users();
    let found = users.tokens.grant("g1").await.unwrap().unwrap();
    assert_eq!((found.user, found.note.as_str()), (ANN, "client"));
    assert_eq!(users.tokens.grant_of(ANN, &device).await.unwrap(), Some(found));
    // It is no token, and tokens are no grants.
    assert!(!is_live(&users, "g1").await && users.tokens.refresh("g1", &pair("x", "y")).await.is_err());
    assert_eq!((users.tokens.grant("a2").await.unwrap(), users.tokens.owner("g1").await.unwrap()), (None, None));
    assert_eq!(users.tokens.owner("r2").await.unwrap(), Some((ANN, device.clone())));
    users.devices.create_granted(ANN, &new(pair("a3", "r3")), &grant("g2"), Vec::new()).await.unwrap();
    assert_eq!(users.tokens.grant("g1").await.unwrap(), None);
    users.devices.create(ANN, &new(tokens("a4"))).await.unwrap();
    assert_eq!(users.tokens.grant("g2").await.unwrap(), None);
    assert_eq!(users.tokens.grant_of(ANN, &device).await.unwrap(), None);
    assert_eq!(rows(&users).await, 1);
}

#[tokio::test]
async fn a_login_token_opens_once_and_in_time_only() {
    let bench = Bench::new();
    let users = bench.users();
    let end = bench.clock.now_ms() + 100;
    users.tokens.issue_login(7, "one", end).await.unwrap();
    users.tokens.issue_login(8, "two", end).await.unwrap();
    let (a, b) = futures::join!(users.tokens.use_login("one"), users.tokens.use_login("one"));
    assert!(a.is_ok() != b.is_ok());
    assert_eq!(a.or(b).unwrap(), 7);
    let users = bench.users();
    bench.clock.advance(100);
    assert!(matches!(users.tokens.use_login("two").await, Err(UsersError::ExpiredToken)));
    assert!(matches!(users.tokens.use_login("two").await, Err(UsersError::UnknownToken)));
}

#[tokio::test]
async fn expired_login_tokens_are_swept() {
    let bench = Bench::new();
    let users = bench.users();
    for n in 0..20 {
        users.tokens.issue_login(7, &format!("t{n}"), bench.clock.now_ms() + 10).await.unwrap();
    }
    bench.clock.advance(11);
    for n in 20..23 {
        users.tokens.issue_login(7, &format!("t{n}"), bench.clock.now_ms() + 10).await.unwrap();
    }
    assert_eq!(users.core.db.scan_all(&LOGIN_TOKENS, &()).await.unwrap().len(), 3);
    assert_eq!(users.core.db.scan_all(&LOGIN_TOKEN_ENDS, &()).await.unwrap().len(), 3);
}

/// What [`Tokens::session`] relies on: what was read before a removal does not enter the cache after it.
#[tokio::test]
async fn the_cache_keeps_nothing_that_was_removed_while_it_was_loaded() {
    let cache: Cache<u64, u64> = Cache::new(10);
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let load = cache.get_or_insert_async(&1, async {
        wait.await.unwrap();
        Ok::<_, ()>(5)
    });
    let remove = async {
        cache.remove(&1);
        go.send(()).unwrap();
    };
    let (loaded, ()) = futures::join!(load, remove);
    assert_eq!(loaded, Ok(5));
    assert_eq!(cache.get(&1), None);
}
