use axum::body::Body;
use bytes::Bytes;
use http::{Method, header};
use serde_json::json;

use super::TestMedia;
use crate::MediaConfig;

fn small() -> MediaConfig {
    MediaConfig { max_upload_mib: 1, ..MediaConfig::default() }
}

#[tokio::test]
async fn only_who_has_logged_in_uploads() {
    let test = TestMedia::new();
    for (method, path) in [
        (Method::POST, "/_matrix/media/v3/upload"),
        (Method::POST, "/_matrix/media/v1/create"),
        (Method::PUT, "/_matrix/media/v3/upload/hs/abc"),
        (Method::GET, "/_matrix/client/v1/media/config"),
        (Method::GET, "/_matrix/media/v3/config"),
    ] {
        test.request(method, "", path, &[], Body::empty()).await.refused(401, "M_MISSING_TOKEN");
    }
    test.request(Method::POST, "eve", "/_matrix/media/v3/upload", &[], Body::empty())
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(test.objects().await, (0, 0));
}

#[tokio::test]
async fn the_limit_is_told_and_kept() {
    let test = TestMedia::with(small());
    for path in ["/_matrix/client/v1/media/config", "/_matrix/media/v3/config"] {
        assert_eq!(test.get("alice", path).await.ok().json(), json!({"m.upload.size": 1 << 20}));
    }
    test.upload("", "text/plain", vec![b'x'; 1 << 20]).await.ok();
    test.upload("", "text/plain", vec![b'x'; (1 << 20) + 1]).await.refused(413, "M_TOO_LARGE");
    // One that does not say how long it will be.
    let pieces = (0..20).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 100_000])));
    let endless = Body::from_stream(futures::stream::iter(pieces));
    test.upload("", "text/plain", endless).await.refused(413, "M_TOO_LARGE");
    assert_eq!(test.objects().await, (1, 0));
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let test = TestMedia::new();
    let pieces = vec![Ok(Bytes::from(vec![1; 700_000])), Err(std::io::Error::other("gone"))];
    test.upload("", "text/plain", Body::from_stream(futures::stream::iter(pieces))).await.refused(400, "M_UNKNOWN");
    assert_eq!(test.objects().await, (0, 0));
}

#[tokio::test]
async fn names_have_a_length() {
    let test = TestMedia::new();
    test.upload(&format!("?filename={}", "x".repeat(1024)), "text/plain", "a").await.ok();
    test.upload(&format!("?filename={}", "x".repeat(1025)), "text/plain", "a").await.refused(400, "M_INVALID_PARAM");
    assert_eq!(test.objects().await, (1, 0));
}

#[tokio::test]
async fn an_id_is_reserved_and_filled_once() {
    let test = TestMedia::new();
    let created = test.create("alice").await.ok();
    assert_eq!(created.json()["unused_expires_at"], 1_700_000_000_000_u64 + 86_400_000);
    let id = created.id();
    test.download(&format!("hs/{id}?timeout_ms=0")).await.refused(504, "M_NOT_YET_UPLOADED");
    test.upload_to("bob", &id, "his").await.refused(403, "M_FORBIDDEN");
    test.upload_to("alice", "unknown", "x").await.refused(404, "M_NOT_FOUND");
    test.upload_to("alice", "..%2Fx", "x").await.refused(404, "M_NOT_FOUND");
    let elsewhere = format!("/_matrix/media/v3/upload/other/{id}");
    test.request(Method::PUT, "alice", &elsewhere, &[], "x".into()).await.refused(404, "M_NOT_FOUND");
    assert_eq!(test.upload_to("alice", &id, "hers").await.ok().json(), json!({}));
    test.upload_to("alice", &id, Body::empty()).await.refused(409, "M_CANNOT_OVERWRITE_MEDIA");
    test.upload_to("bob", &id, "his").await.refused(403, "M_FORBIDDEN");
    let got = test.download(&format!("hs/{id}")).await.ok();
    assert_eq!((&*got.bytes, got.header("content-type")), (&b"hers"[..], "text/plain"));
    assert_eq!(got.header("content-disposition"), "inline; filename=later.txt");
    // What was uploaded at once is not uploaded to again either.
    let other = test.upload("", "text/plain", "x").await.id();
    test.upload_to("alice", &other, "y").await.refused(409, "M_CANNOT_OVERWRITE_MEDIA");
    assert_eq!(test.objects().await, (2, 0));
}

#[tokio::test]
async fn of_two_uploads_to_an_id_one_counts() {
    let test = TestMedia::new();
    let id = test.create("alice").await.id();
    let (one, two) = futures::join!(test.upload_to("alice", &id, "one"), test.upload_to("alice", &id, "two"));
    let (kept, lost, text) = if one.status == 200 { (one, two, "one") } else { (two, one, "two") };
    kept.ok();
    lost.refused(409, "M_CANNOT_OVERWRITE_MEDIA");
    assert_eq!(test.download(&format!("hs/{id}")).await.ok().bytes, text);
    assert_eq!(test.objects().await, (1, 0));
}

#[tokio::test]
async fn who_waits_gets_the_upload() {
    let test = TestMedia::new();
    let id = test.create("alice").await.id();
    let what = format!("hs/{id}?timeout_ms=60000");
    let mut waiting = Box::pin(test.download(&what));
    // It waits: it would have been refused otherwise.
    for _ in 0..20 {
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    let (uploaded, got) = futures::join!(test.upload_to("alice", &id, "late"), waiting);
    uploaded.ok();
    assert_eq!(got.ok().bytes, "late");
}

#[tokio::test]
async fn so_many_ids_are_reserved_at_a_time() {
    let test = TestMedia::new();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(test.create("alice").await.id());
    }
    test.clock.advance(1000);
    let refused = test.create("alice").await.refused(429, "M_LIMIT_EXCEEDED");
    assert_eq!(refused["retry_after_ms"], 86_400_000 - 1000);
    test.create("bob").await.ok();
    test.upload_to("alice", &ids[0], "x").await.ok();
    test.create("alice").await.ok();
    test.create("alice").await.refused(429, "M_LIMIT_EXCEEDED");
    // What was not uploaded in time is free again, and no id any more.
    test.clock.advance(86_400_000);
    test.upload_to("alice", &ids[1], "x").await.refused(404, "M_NOT_FOUND");
    test.download(&format!("hs/{}", ids[1])).await.refused(404, "M_NOT_FOUND");
    test.create("alice").await.ok();
    assert_eq!(test.download(&format!("hs/{}", ids[0])).await.ok().bytes, "x");
    let rows = test.media.db.scan_all(&crate::tables::PENDING, &()).await.unwrap();
    assert_eq!(rows.len(), 2, "Alice's new one and Bob's, which nobody swept: {rows:?}");
}

#[tokio::test]
async fn many_reservations_at_once_do_not_pass_the_limit() {
    let test = TestMedia::new();
    let made = futures::future::join_all((0..20).map(|_| test.create("alice"))).await;
    assert_eq!(made.iter().filter(|answer| answer.status == 200).count(), 5);
}

#[tokio::test]
async fn browsers_may_upload() {
    let test = TestMedia::new();
    let answer = test.upload("", "text/plain", "x").await.ok();
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let preflight = test
        .request(Method::OPTIONS, "", "/_matrix/media/v3/upload", &[(header::ORIGIN, "https://a")], Body::empty())
        .await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, "*"));
    test.request(Method::PATCH, "alice", "/_matrix/media/v3/upload", &[], Body::empty())
        .await
        .refused(405, "M_UNRECOGNIZED");
    test.get("alice", "/_matrix/media/v3/unknown").await.refused(404, "M_UNRECOGNIZED");
}
