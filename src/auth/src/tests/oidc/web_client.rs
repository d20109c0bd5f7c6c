//! The real client, against a server on this machine.

use axum::{
    response::Redirect,
    routing::{get, post},
};
use bytes::Bytes;

use super::*;
use crate::{MAX_ANSWER, UpstreamError, UpstreamHttp as _, WebClient};

#[tokio::test]
async fn answers_are_read_within_their_bounds_and_redirects_are_not_followed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/away", get(|| async { Redirect::temporary("/echo") }))
        .route("/fits", get(|| async { vec![b'x'; MAX_ANSWER] }))
        .route("/large", get(|| async { vec![b'x'; MAX_ANSWER + 1] }));
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let client = WebClient::new().unwrap();
    let call = async |method: Method, path: &str, body: &'static str| {
        let request = Request::builder().method(method).uri(format!("{base}{path}"));
        client.call(request.body(Bytes::from_static(body.as_bytes())).unwrap()).await
    };
    assert_eq!(&call(Method::POST, "/echo", "hello").await.unwrap().into_body()[..], b"hello");
    assert_eq!(call(Method::GET, "/away", "").await.unwrap().status(), 307);
    assert_eq!(call(Method::GET, "/fits", "").await.unwrap().into_body().len(), MAX_ANSWER);
    assert!(matches!(call(Method::GET, "/large", "").await, Err(UpstreamError::TooLarge)));
    serving.abort();
    let _ = serving.await;
    assert!(matches!(
        WebClient::new().unwrap().call(Request::get(&base).body(Bytes::new()).unwrap()).await,
        Err(UpstreamError::Unreachable(_))
    ));
}
