use super::*;
use crate::testing::{Bench, json};

#[tokio::test]
async fn fields_are_set_read_and_removed_across_restarts() {
    let bench = Bench::new();
    let profiles = &bench.users().profiles;
    profiles.set(1, "displayname", &json(r#""Ann""#)).await.unwrap();
    profiles.set(1, "avatar_url", &json(r#""mxc://example.org/a""#)).await.unwrap();
    profiles.set(1, "org.example.pets", &json(r#"[ 1, {"a": null} ]"#)).await.unwrap();
    profiles.set(2, "m.tz", &json(r#""Europe/Berlin""#)).await.unwrap();
    let profiles = &bench.users().profiles;
    let all = profiles.all(1).await.unwrap();
    let texts: Vec<_> = all.iter().map(|field| (field.key.as_str(), field.value.get())).collect();
    let expected = [
        ("avatar_url", r#""mxc://example.org/a""#),
        ("displayname", r#""Ann""#),
        ("org.example.pets", r#"[1,{"a":null}]"#),
    ];
    assert_eq!(texts, expected);
    profiles.delete(1, "avatar_url").await.unwrap();
    profiles.delete(1, "avatar_url").await.unwrap();
    assert_eq!(profiles.names(1).await.unwrap(), (Some("Ann".to_owned()), None));
    profiles.set(1, "displayname", &json("null")).await.unwrap();
    assert!(profiles.get(1, "displayname").await.unwrap().is_none());
    assert_eq!(profiles.get(2, "m.tz").await.unwrap().unwrap().get(), r#""Europe/Berlin""#);
}

#[tokio::test]
async fn keys_follow_the_grammar() {
    let profiles = &Bench::new().users().profiles;
    for bad in ["", "Upper", "1a", ".a", "ü", "a b", "a/b"] {
        assert!(matches!(profiles.set(1, bad, &json("1")).await, Err(UsersError::InvalidProfileKey)), "{bad}");
        assert!(matches!(profiles.delete(1, bad).await, Err(UsersError::InvalidProfileKey)), "{bad}");
    }
    profiles.set(1, &"a".repeat(MAX_KEY), &json("1")).await.unwrap();
    let long = "a".repeat(MAX_KEY + 1);
    assert!(matches!(profiles.set(1, &long, &json("1")).await, Err(UsersError::ProfileKeyTooLarge)));
}

#[tokio::test]
async fn known_fields_take_texts_of_their_kind() {
    let profiles = &Bench::new().users().profiles;
    let long = format!("\"{}\"", "x".repeat(MAX_DISPLAY_NAME + 1));
    for (key, value) in [
        ("displayname", "1"),
        ("displayname", &long),
        ("avatar_url", "{}"),
        ("avatar_url", r#""http://x/y""#),
        ("m.tz", "[]"),
    ] {
        let done = profiles.set(1, key, &json(value)).await;
        assert!(matches!(done, Err(UsersError::InvalidProfileValue(_))), "{key}");
    }
    profiles.set(1, "avatar_url", &json(r#""mxc://example.org/a""#)).await.unwrap();
    profiles.set(1, "avatar_url", &json(r#""""#)).await.unwrap();
    assert_eq!(profiles.names(1).await.unwrap(), (None, None));
}

#[tokio::test]
async fn the_whole_profile_stays_under_64_kib() {
    let profiles = &Bench::new().users().profiles;
    let half = json(&format!("\"{}\"", "x".repeat(32_700)));
    profiles.set(1, "a.a", &half).await.unwrap();
    profiles.set(1, "a.b", &half).await.unwrap();
    let rest = json(&format!("\"{}\"", "x".repeat(200)));
    assert!(matches!(profiles.set(1, "a.c", &rest).await, Err(UsersError::ProfileTooLarge)));
    // Replacing counts what is replaced no more.
    profiles.set(1, "a.b", &rest).await.unwrap();
    profiles.set(1, "a.c", &rest).await.unwrap();
    let huge = json(&format!("\"{}\"", "x".repeat(MAX_PROFILE)));
    assert!(matches!(profiles.set(1, "a.c", &huge).await, Err(UsersError::ProfileTooLarge)));
    let all = profiles.all(1).await.unwrap();
    let text: serde_json::Map<_, _> =
        all.iter().map(|field| (field.key.clone(), serde_json::from_str(field.value.get()).unwrap())).collect();
    assert!(serde_json::to_string(&text).unwrap().len() < MAX_PROFILE);
}
