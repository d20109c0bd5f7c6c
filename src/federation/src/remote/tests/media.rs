//! Files of other servers: in parts, from where they point to, and from servers that know the older endpoint only.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use http::{HeaderMap, StatusCode, header};
use http_kit::MatrixError;

use crate::{
    CallError, CallLimits, OwnMedia, Picture, TransportError,
    remote::RemoteFile,
    testing::{TestServer, World},
};

const LIMITS: CallLimits = CallLimits { timeout: Duration::from_secs(20), max_body: 1 << 20 };

/// Failures in a row after which a server is let alone for a while.
const TRIES: usize = 10;

/// Files whose content is their id, over and over; thumbnails whose content is their size.
struct Echo;

fn file(content: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "image/png".to_owned()),
        (header::CONTENT_DISPOSITION, "inline; filename*=utf-8''%E2%98%95".to_owned()),
        (header::CONTENT_LENGTH, content.len().to_string()),
    ];
    (headers, content).into_response()
}

impl OwnMedia for Echo {
    fn file<'a>(&'a self, id: &'a str, wait: Duration) -> BoxFuture<'a, Result<Response, MatrixError>> {
        let answer = match id {
            "later" => Err(MatrixError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "M_NOT_YET_UPLOADED",
                format!("not within {} ms", wait.as_millis()),
            )),
            "nothing" => Err(MatrixError::not_found("no such file")),
            id => Ok(file(id.repeat(10_000))),
        };
        std::future::ready(answer).boxed()
    }

    fn thumbnail<'a>(
        &'a self,
        id: &'a str,
        picture: Picture,
        _: Duration,
    ) -> BoxFuture<'a, Result<Response, MatrixError>> {
        let Picture { width, height, crop } = picture;
        std::future::ready(Ok(file(format!("{id} {width} {height} {crop}")))).boxed()
    }
}

fn world() -> World {
    let world = World::new(&["one", "two"]);
    let _ = world.server("two").federation().own_media.set(Arc::new(Echo));
    world
}

async fn fetch(from: &TestServer, id: &str) -> Result<(RemoteFile, Bytes), CallError> {
    let wait = Duration::from_millis(1234);
    let mut file = from.federation().fetch_media("two".try_into().unwrap(), id, wait, LIMITS).await?;
    let mut whole = Vec::new();
    while let Some(piece) = file.content.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok((file, whole.into()))
}

#[tokio::test]
async fn a_file_comes_in_parts() {
    let world = world();
    let (file, content) = fetch(world.server("one"), "abc").await.unwrap();
    assert!(content == "abc".repeat(10_000));
    assert_eq!((file.content_type.as_deref(), file.filename.as_deref()), (Some("image/png"), Some("\u{2615}")));
}

#[tokio::test]
async fn thumbnails_are_served_in_parts_and_to_servers_only() {
    let world = world();
    let (one, path) = (world.server("one"), "/_matrix/federation/v1/media/thumbnail/abc?width=5&height=6&method=crop");
    let client = Arc::clone(&one.federation().client);
    let two = "two".try_into().unwrap();
    let mut answer = client.file(two, path.to_owned(), true, LIMITS).await.unwrap();
    let mut whole = Vec::new();
    while let Some(piece) = answer.body.next().await {
        whole.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(answer.headers["content-length"], whole.len().to_string().as_str());
    let text = String::from_utf8(whole).unwrap();
    let boundary = answer.headers["content-type"].to_str().unwrap().strip_prefix("multipart/mixed; boundary=").unwrap();
    let expected = format!(
        "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\ncontent-type: image/png\r\n\
         content-disposition: inline; filename*=utf-8''%E2%98%95\r\n\r\nabc 5 6 true\r\n--{boundary}--\r\n"
    );
    assert_eq!(text, expected);
    for path in [path, "/_matrix/federation/v1/media/download/abc"] {
        let refused = client.file(two, path.to_owned(), false, LIMITS).await.unwrap_err();
        assert!(refused.is_status(StatusCode::UNAUTHORIZED), "{refused}");
    }
}

#[tokio::test]
async fn what_is_not_there_does_not_mean_that_the_server_is_not() {
    let world = world();
    let one = world.server("one");
    let (client, two) = (Arc::clone(&one.federation().client), "two".try_into().unwrap());
    // More often than a server is forgiven for not being there.
    for _ in 0..TRIES {
        let refused = fetch(one, "later").await.unwrap_err();
        let CallError::Status { status, errcode, error, .. } = refused else { panic!("{refused}") };
        let what = (status.as_u16(), &*errcode, &*error);
        assert_eq!(what, (504, "M_NOT_YET_UPLOADED", "not within 1234 ms"));
        assert!(fetch(one, "nothing").await.unwrap_err().is_status(StatusCode::NOT_FOUND));
    }
    assert_eq!(client.not_before(two), None);
    // A proxy that speaks for nobody.
    world.mesh.answer_by("two", Router::new().fallback(|| async { StatusCode::BAD_GATEWAY }));
    assert!(fetch(one, "abc").await.unwrap_err().is_status(StatusCode::BAD_GATEWAY));
    for _ in 1..TRIES {
        fetch(one, "abc").await.unwrap_err();
    }
    assert!(client.not_before(two).is_some());
}

#[tokio::test]
async fn older_servers_are_asked_at_the_older_endpoint() {
    for refusal in [
        || MatrixError::unrecognized("what is that?").into_response(),
        || (StatusCode::BAD_REQUEST, "complaints in plain text").into_response(),
    ] {
        let world = world();
        let seen: Arc<Mutex<Vec<(String, HeaderMap)>>> = Arc::default();
        let asked = Arc::clone(&seen);
        let older = move |request: Request| {
            let target = request.uri().to_string();
            let newer = target.starts_with("/_matrix/federation/");
            asked.lock().unwrap().push((target, request.headers().clone()));
            std::future::ready(if newer { refusal() } else { file("old".to_owned()) })
        };
        world.mesh.answer_by("two", Router::new().fallback(older));
        let (file, content) = fetch(world.server("one"), "a-b_c").await.unwrap();
        assert_eq!((&*content, file.filename.as_deref()), (&b"old"[..], Some("\u{2615}")));
        let seen = seen.lock().unwrap();
        let targets: Vec<&str> = seen.iter().map(|(target, _)| target.as_str()).collect();
        assert_eq!(
            targets,
            [
                "/_matrix/federation/v1/media/download/a-b_c?timeout_ms=1234",
                "/_matrix/media/v3/download/two/a-b_c?allow_remote=false&timeout_ms=1234"
            ]
        );
        assert!(seen[0].1.contains_key(header::AUTHORIZATION) && !seen[1].1.contains_key(header::AUTHORIZATION));
    }
}

/// A server whose files are elsewhere.
fn pointing(to: &'static str) -> Router {
    Router::new().fallback(move || {
        let parts = format!("--b\r\n\r\n{{}}\r\n--b\r\nLocation: {to}\r\n\r\n\r\n--b--\r\n");
        std::future::ready(([(header::CONTENT_TYPE, "multipart/mixed; boundary=b")], parts))
    })
}

#[tokio::test]
async fn a_file_is_fetched_from_where_its_server_points() {
    let world = world();
    let elsewhere = Router::new().fallback(|request: Request| {
        assert!(!request.headers().contains_key(header::AUTHORIZATION));
        std::future::ready(match request.uri().to_string().as_str() {
            "/file?signed=1" => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/there")]).into_response(),
            "/there" => file("elsewhere".to_owned()),
            "/round" => (StatusCode::FOUND, [(header::LOCATION, "/round")]).into_response(),
            "/down" => (StatusCode::FOUND, [(header::LOCATION, "http://cdn/there")]).into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        })
    });
    world.mesh.answer_by("cdn", elsewhere);
    world.mesh.answer_by("two", pointing("https://cdn/file?signed=1"));
    let (file, content) = fetch(world.server("one"), "abc").await.unwrap();
    assert_eq!((&*content, file.content_type.as_deref()), (&b"elsewhere"[..], Some("image/png")));
    for to in
        ["https://cdn/round", "https://cdn/down", "http://cdn/there", "https://cdn/nothing", "file:///etc/passwd", "x"]
    {
        world.mesh.answer_by("two", pointing(to));
        let refused = fetch(world.server("one"), "abc").await.unwrap_err();
        assert!(matches!(refused, CallError::BadReply(_)), "{to}: {refused}");
    }
}

#[tokio::test]
async fn what_is_too_large_ends_and_what_is_no_parts_is_refused() {
    let world = world();
    let one = world.server("one");
    let endless = || {
        let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 100_000])));
        let start = futures::stream::iter([Ok(Bytes::from_static(b"--b\r\n\r\n{}\r\n--b\r\n\r\n"))]);
        let headers = [(header::CONTENT_TYPE, "multipart/mixed; boundary=b")];
        std::future::ready((headers, Body::from_stream(start.chain(pieces))))
    };
    world.mesh.answer_by("two", Router::new().fallback(endless));
    let refused = fetch(one, "abc").await.unwrap_err();
    assert!(matches!(refused, CallError::Transport(TransportError::TooLarge(_))), "{refused}");
    world.mesh.answer_by("two", Router::new().fallback(|| async { "plain text" }));
    assert!(matches!(fetch(one, "abc").await.unwrap_err(), CallError::BadReply(_)));
}
