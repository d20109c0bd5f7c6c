use super::TestMedia;
use crate::MediaConfig;

fn open() -> MediaConfig {
    MediaConfig { unauthenticated_downloads: true, ..MediaConfig::default() }
}

#[tokio::test]
async fn what_was_uploaded_is_downloaded() {
    let test = TestMedia::new();
    let bytes: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
    let id = test.upload("?filename=a%3Bb%20c.png", "img/png", bytes.clone()).await.id();
    let got = test.download(&format!("hs/{id}")).await.ok();
    assert!(got.bytes == bytes);
    assert_eq!(got.header("content-type"), "img/png");
    assert_eq!(got.header("content-length"), "600000");
    assert_eq!(got.header("content-disposition"), "attachment; filename=\"a;b c.png\"");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert_eq!(got.header("cross-origin-resource-policy"), "cross-origin");
    assert!(got.header("content-security-policy").starts_with("sandbox; default-src 'none'; script-src 'none';"));
    assert_eq!(got.header("access-control-allow-origin"), "*");
    let renamed = test.download(&format!("hs/{id}/%E2%98%95")).await.ok();
    assert_eq!(renamed.header("content-disposition"), "attachment; filename*=utf-8''%E2%98%95");
    assert!(renamed.bytes == bytes);
}

#[tokio::test]
async fn what_says_nothing_of_itself_is_an_attachment() {
    let test = TestMedia::new();
    let id =
        test.request(http::Method::POST, "alice", "/_matrix/media/v3/upload?filename=", &[], "x".into()).await.id();
    let got = test.download(&format!("hs/{id}")).await.ok();
    assert_eq!(got.header("content-type"), "application/octet-stream");
    assert_eq!(got.header("content-disposition"), "attachment");
    // An empty file is a file.
    let id = test.upload("", "text/plain", "").await.id();
    let got = test.download(&format!("hs/{id}")).await.ok();
    assert_eq!((got.bytes.len(), got.header("content-length")), (0, "0"));
}

#[tokio::test]
async fn strangers_and_odd_addresses_get_nothing() {
    let test = TestMedia::new();
    let id = test.upload("", "text/plain", "x").await.id();
    for path in ["download", "thumbnail"] {
        let path = format!("/_matrix/client/v1/media/{path}/hs/{id}?width=1&height=1");
        test.get("", &path).await.refused(401, "M_MISSING_TOKEN");
    }
    test.download("hs/unknown").await.refused(404, "M_NOT_FOUND");
    test.download("hs/..%2F..%2Fetc%2Fpasswd").await.refused(404, "M_NOT_FOUND");
    test.download("..%2F..%2Fhs/x").await.refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn the_deprecated_paths_are_closed() {
    let test = TestMedia::new();
    let id = test.upload("", "text/plain", "x").await.id();
    for path in
        [format!("download/hs/{id}"), format!("download/hs/{id}/n"), format!("thumbnail/hs/{id}?width=9&height=9")]
    {
        test.get("", &format!("/_matrix/media/v3/{path}")).await.refused(404, "M_NOT_FOUND");
        // A token changes nothing: they do not look at it.
        test.get("alice", &format!("/_matrix/media/v3/{path}")).await.refused(404, "M_NOT_FOUND");
    }
    let pending = test.create("alice").await.id();
    let path = format!("/_matrix/media/v3/download/hs/{pending}?timeout_ms=0");
    test.get("alice", &path).await.refused(504, "M_NOT_YET_UPLOADED");
    // Nothing is fetched for strangers.
    test.others.has("theirs", "text/plain", b"x".to_vec());
    test.get("", "/_matrix/media/v3/download/other/theirs").await.refused(404, "M_NOT_FOUND");
    assert_eq!(test.others.asked(), 0);
    test.download("other/theirs").await.ok();
    test.get("", "/_matrix/media/v3/download/other/theirs").await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn what_was_uploaded_while_they_were_open_stays_open() {
    let test = TestMedia::with(open());
    let id = test.upload("", "text/plain", "old").await.id();
    test.others.has("theirs", "text/plain", b"old".to_vec());
    let (own, theirs) = (format!("/_matrix/media/v3/download/hs/{id}"), "/_matrix/media/v3/download/other/theirs");
    assert_eq!(test.get("", &own).await.ok().bytes, "old");
    assert_eq!(test.get("", &format!("{own}/n")).await.ok().header("content-disposition"), "inline; filename=n");
    test.get("", &format!("{theirs}?allow_remote=false")).await.refused(404, "M_NOT_FOUND");
    assert_eq!(test.get("", theirs).await.ok().bytes, "old");
    let test = test.restarted(MediaConfig::default());
    assert_eq!(test.get("", &own).await.ok().bytes, "old");
    assert_eq!(test.get("", theirs).await.ok().bytes, "old");
    let new = test.upload("", "text/plain", "new").await.id();
    test.get("", &format!("/_matrix/media/v3/download/hs/{new}")).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn what_is_quarantined_is_gone_for_everybody_and_can_come_back() {
    let test = TestMedia::with(open());
    let id = test.upload("", "text/plain", "x").await.id();
    test.others.has("theirs", "text/plain", b"y".to_vec());
    test.download("other/theirs").await.ok();
    let (us, other) = (super::SERVER.try_into().unwrap(), "other".try_into().unwrap());
    for closed in [true, true, false] {
        test.media.quarantine(us, &id, closed).await.unwrap();
        test.media.quarantine(other, "theirs", closed).await.unwrap();
        for what in [format!("hs/{id}"), "other/theirs".to_owned()] {
            for answer in
                [test.download(&what).await, test.get("", &format!("/_matrix/media/v3/download/{what}")).await]
            {
                if closed {
                    answer.refused(404, "M_NOT_FOUND");
                } else {
                    answer.ok();
                }
            }
        }
    }
    test.media.quarantine(us, &id, true).await.unwrap();
    test.upload_to("alice", &id, "y").await.refused(409, "M_CANNOT_OVERWRITE_MEDIA");
    assert!(test.media.quarantine(us, "unknown", true).await.is_err());
}
