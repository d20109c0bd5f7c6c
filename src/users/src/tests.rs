use ruma::owned_device_id;
use store::{Commit, Keyspace, Table};

use crate::{
    UserNum, UsersError,
    accounts::NewAccount,
    devices::NewDevice,
    testing::{Bench, tokens},
};

#[tokio::test]
async fn an_account_and_its_first_device_come_in_one_commit() {
    let bench = Bench::new();
    let users = bench.users();
    let device = |tokens| NewDevice { device_id: owned_device_id!("D"), display_name: None, tokens };
    let account = users.register(NewAccount::user("ann"), Some(&device(tokens("a")))).await.unwrap();
    let again = users.register(NewAccount::user("ann"), Some(&device(tokens("b")))).await;
    assert!(matches!(again, Err(UsersError::UserInUse)));
    let users = bench.users();
    let session = users.tokens.session("a").await.unwrap();
    assert_eq!((&session.user_id, session.num, &*session.device_id), (&account.user_id, account.num, "D".into()));
    assert!(matches!(users.tokens.session("b").await, Err(UsersError::UnknownToken)));
}

#[tokio::test]
async fn of_two_registrations_at_once_the_loser_leaves_nothing() {
    let users = Bench::new().users();
    let device = |tokens| NewDevice { device_id: owned_device_id!("D"), display_name: None, tokens };
    let (a, b) = (device(tokens("a")), device(tokens("b")));
    let (first, second) = futures::join!(
        users.register(NewAccount::user("ann"), Some(&a)),
        users.register(NewAccount::user("ann"), Some(&b)),
    );
    assert!(first.is_ok() != second.is_ok());
    let live = [users.tokens.session("a").await.is_ok(), users.tokens.session("b").await.is_ok()];
    assert_eq!(live, [first.is_ok(), second.is_ok()]);
}

#[tokio::test]
async fn what_comes_with_an_account_is_written_with_it_or_neither_is() {
    const LINKS: Table<String, UserNum> = Table::new(Keyspace::Index, 255, "links");
    let bench = Bench::new();
    let users = bench.users();
    let key = "somebody".to_owned();
    let link = |user| Commit { preconditions: vec![LINKS.absent(&key)], ops: vec![LINKS.put(&key, &user)] };
    let account = users.register_with(NewAccount::user("ann"), None, link).await.unwrap();
    assert_eq!(users.core.db.get(&LINKS, &key).await.unwrap(), Some(account.num));
    assert!(matches!(users.register_with(NewAccount::user("bob"), None, link).await, Err(UsersError::UserInUse)));
    assert!(users.accounts.find("bob").await.unwrap().is_none());
    assert!(matches!(
        users.register_with(NewAccount::user("ann"), None, |_| Commit::default()).await,
        Err(UsersError::UserInUse)
    ));
    assert_eq!(users.core.db.get(&LINKS, &key).await.unwrap(), Some(account.num));
}

#[tokio::test]
async fn deactivation_closes_every_door_and_keeps_the_name() {
    let bench = Bench::new();
    let users = bench.users();
    let device = NewDevice { device_id: owned_device_id!("D"), display_name: None, tokens: tokens("a") };
    let account = NewAccount { admin: true, password_hash: Some("h".to_owned()), ..NewAccount::user("ann") };
    let num = users.register(account, Some(&device)).await.unwrap().num;
    users.tokens.session("a").await.unwrap();
    users.deactivate(num).await.unwrap();
    assert!(matches!(users.tokens.session("a").await, Err(UsersError::UnknownToken)));
    let users = bench.users();
    let account = users.accounts.get(num).await.unwrap().unwrap();
    assert!(account.deactivated && !account.admin && account.password_hash.is_none());
    assert!(users.devices.list(num).await.unwrap().is_empty());
    assert!(matches!(users.register(NewAccount::user("Ann"), None).await, Err(UsersError::InvalidLocalpart(_))));
    assert!(matches!(users.register(NewAccount::user("ann"), None).await, Err(UsersError::UserInUse)));
    assert!(matches!(users.deactivate(999).await, Err(UsersError::UserNotFound)));
}
