use super::*;
use crate::testing::{Bench, json};

#[tokio::test]
async fn the_same_filter_gets_the_same_id_across_restarts() {
    let bench = Bench::new();
    let users = bench.users();
    let first = users.filters.upload(1, &json(r#"{"room":{}}"#)).await.unwrap();
    let second = users.filters.upload(1, &json("{}")).await.unwrap();
    assert_ne!(first, second);
    let users = bench.users();
    assert_eq!(users.filters.upload(1, &json(r#"{"room":{}}"#)).await.unwrap(), first);
    assert_eq!(&*users.filters.get(1, &first).await.unwrap(), r#"{"room":{}}"#);
    for (user, id) in [(2, first.as_str()), (1, "99"), (1, "{}"), (1, "-1"), (1, "")] {
        assert!(matches!(users.filters.get(user, id).await, Err(UsersError::FilterNotFound)), "{id}");
    }
}

#[tokio::test]
async fn filters_are_bounded_in_kind_size_and_number() {
    let users = Bench::new().users();
    assert!(matches!(users.filters.upload(1, &json("[]")).await, Err(UsersError::NotAnObject(_))));
    let large = json(&format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_FILTER)));
    assert!(matches!(users.filters.upload(1, &large).await, Err(UsersError::TooLarge { .. })));
    for n in 0..MAX_FILTERS {
        users.filters.upload(1, &json(&format!("{{\"n\":{n}}}"))).await.unwrap();
    }
    assert!(matches!(users.filters.upload(1, &json("{}")).await, Err(UsersError::TooLarge { .. })));
    assert_eq!(users.filters.upload(1, &json("{\"n\":0}")).await.unwrap(), "1");
}
