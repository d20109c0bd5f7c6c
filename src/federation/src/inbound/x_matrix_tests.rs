//! Requests signed well and badly.

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use room::SigningKey;
use ruma::{api::federation::authentication::XMatrix, serde::Base64, server_name, signatures::KeyPair as _};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{Api, testing::World};

/// What server `two` answers to a request with these headers.
async fn answer(world: &World, method: Method, target: &str, auth: &[String], body: &str) -> (StatusCode, Value) {
    let router = http_kit::finish(crate::router().with_state(Api(world.server("two").federation())));
    let mut request = Request::builder().method(method).uri(target);
    for value in auth {
        request = request.header(header::AUTHORIZATION, value);
    }
    let response = router.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

/// The header by which `origin` signs a request to `destination`.
fn sign(key: &SigningKey, origin: &str, destination: &str, method: &Method, target: &str, body: &str) -> String {
    let (origin, destination) = (origin.try_into().unwrap(), destination.try_into().unwrap());
    let request = Request::builder().method(method).uri(target).body(body.as_bytes().to_vec()).unwrap();
    let object = XMatrix::request_object(&request, origin, destination).unwrap();
    let signature = key.sign(&serde_json::to_vec(&object).unwrap());
    let id = signature.id().as_str().try_into().unwrap();
    let signature = Base64::new(signature.as_bytes().to_vec());
    XMatrix::new(origin.to_owned(), destination.to_owned(), id, signature).to_string()
}

const PROFILE: &str = "/_matrix/federation/v1/query/profile?user_id=%40nobody%3atwo&field=displayname";

#[tokio::test]
async fn only_what_is_signed_by_its_sender_for_us_is_taken() {
    let world = World::new(&["one", "two"]);
    let key = world.server("one").key();
    let get = Method::GET;
    let good = sign(&key, "one", "two", &get, PROFILE, "");
    let (status, body) = answer(&world, Method::GET, PROFILE, std::slice::from_ref(&good), "").await;
    assert_eq!((status, &body["errcode"]), (StatusCode::NOT_FOUND, &json!("M_NOT_FOUND")), "{body}");

    let without_destination = good.replace("destination=two,", "");
    assert_ne!(without_destination, good);
    let (status, _) = answer(&world, Method::GET, PROFILE, &[without_destination], "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let stranger = SigningKey::from_seed(&[3; 32], "k1").unwrap();
    let unknown = SigningKey::from_seed(&[3; 32], "k9").unwrap();
    let decoded = PROFILE.replace("%40", "@");
    for (case, auth) in [
        ("nothing", vec![]),
        ("another scheme", vec!["Bearer abc".to_owned()]),
        ("half a header", vec!["X-Matrix origin=one,key=\"ed25519:k1\"".to_owned()]),
        ("another destination", vec![sign(&key, "one", "three", &get, PROFILE, "")]),
        ("ourselves", vec![sign(&world.server("two").key(), "two", "two", &get, PROFILE, "")]),
        ("another method", vec![sign(&key, "one", "two", &Method::PUT, PROFILE, "")]),
        ("another path", vec![sign(&key, "one", "two", &get, "/_matrix/federation/v1/query/profile", "")]),
        ("another spelling", vec![sign(&key, "one", "two", &get, &decoded, "")]),
        ("another key", vec![sign(&stranger, "one", "two", &get, PROFILE, "")]),
        ("an unknown key", vec![sign(&unknown, "one", "two", &get, PROFILE, "")]),
        ("a server that is not there", vec![sign(&key, "nowhere", "two", &get, PROFILE, "")]),
        ("two servers", vec![good.clone(), sign(&key, "three", "two", &get, PROFILE, "")]),
    ] {
        let (status, body) = answer(&world, Method::GET, PROFILE, &auth, "").await;
        assert_eq!((status, &body["errcode"]), (StatusCode::UNAUTHORIZED, &json!("M_UNAUTHORIZED")), "{case}: {body}");
    }
    // One right signature among several is enough.
    let both = [sign(&stranger, "one", "two", &get, PROFILE, ""), good];
    assert_eq!(answer(&world, Method::GET, PROFILE, &both, "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_body_is_signed_too() {
    let world = World::new(&["one", "two"]);
    let key = world.server("one").key();
    let target = "/_matrix/federation/v1/publicRooms";
    let body = r#"{"limit": 5, "filter": {"generic_search_term": "a"}}"#;
    let auth = [sign(&key, "one", "two", &Method::POST, target, body)];
    let (status, answered) = answer(&world, Method::POST, target, &auth, body).await;
    assert_eq!(status, StatusCode::OK, "{answered}");
    let spaced = r#"{ "filter": {"generic_search_term": "\u0061"},"limit": 5}"#;
    assert_eq!(answer(&world, Method::POST, target, &auth, spaced).await.0, StatusCode::OK);
    let changed = body.replace('5', "6");
    for body in [changed.as_str(), "", "{}"] {
        assert_eq!(answer(&world, Method::POST, target, &auth, body).await.0, StatusCode::UNAUTHORIZED, "{body}");
    }
    let (status, answered) = answer(&world, Method::POST, target, &auth, "{").await;
    assert_eq!((status, &answered["errcode"]), (StatusCode::BAD_REQUEST, &json!("M_NOT_JSON")));
}

#[tokio::test]
async fn who_signs_is_heard_of() {
    let world = World::new(&["one", "two"]);
    let heard = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let federation = world.server("two").federation();
    let into = std::sync::Arc::clone(&heard);
    federation.client.on_heard(Box::new(move |server| into.lock().push(server.to_owned())));
    let key = world.server("one").key();
    let good = sign(&key, "one", "two", &Method::GET, PROFILE, "");
    answer(&world, Method::GET, PROFILE, &["X-Matrix origin=one".to_owned()], "").await;
    assert!(heard.lock().is_empty());
    answer(&world, Method::GET, PROFILE, &[good], "").await;
    assert_eq!(*heard.lock(), [server_name!("one")]);
}
