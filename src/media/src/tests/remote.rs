use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{TestMedia, file, pieces};
use crate::{
    MediaConfig,
    remote::RemoteMediaError,
    tables::{REMOTE, REMOTE_USED},
};

/// A mebibyte.
fn large(fill: u8) -> Vec<u8> {
    vec![fill; 1 << 20]
}

fn room_for(mib: u64) -> MediaConfig {
    MediaConfig { remote_cache_mib: mib, max_remote_mib: 2, ..MediaConfig::default() }
}

#[tokio::test]
async fn a_file_is_fetched_once_and_kept() {
    let test = TestMedia::new();
    test.others.has("theirs", "text/plain", large(b'x'));
    for _ in 0..3 {
        let got = test.download("other/theirs").await.ok();
        assert!(got.bytes == large(b'x'));
        assert_eq!(got.header("content-type"), "text/plain");
        assert_eq!(got.header("content-disposition"), "inline; filename=theirs.bin");
    }
    let test = test.restarted(MediaConfig::default());
    test.download("other/theirs").await.ok();
    assert_eq!(test.others.asked(), 0);
    assert_eq!(test.objects().await, (1, 0));
}

#[tokio::test]
async fn those_who_ask_at_once_share_a_fetch_also_when_the_first_goes_away() {
    let test = TestMedia::new();
    let gate = Arc::new(Semaphore::new(0));
    *test.others.gate.lock() = Some(Arc::clone(&gate));
    test.others.has("theirs", "text/plain", b"x".to_vec());
    let mut first = Box::pin(test.download("other/theirs"));
    while test.others.asked() == 0 {
        assert!(futures::poll!(first.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    drop(first);
    gate.add_permits(10);
    let all = futures::future::join_all((0..10).map(|_| test.download("other/theirs"))).await;
    assert!(all.into_iter().all(|answer| answer.ok().bytes == "x"));
    assert_eq!(test.others.asked(), 1);
}

#[tokio::test]
async fn what_cannot_be_had_says_why_and_is_not_asked_for_at_once_again() {
    let test = TestMedia::new();
    test.others.answer("gone", || Err(RemoteMediaError::Failed("no route".to_owned())));
    test.others.answer("large", || Err(RemoteMediaError::TooLarge));
    test.others.answer("later", || Err(RemoteMediaError::NotYetUploaded));
    for _ in 0..3 {
        test.download("other/gone").await.refused(502, "M_UNKNOWN");
        test.download("other/large").await.refused(502, "M_TOO_LARGE");
        test.download("other/nothing").await.refused(404, "M_NOT_FOUND");
    }
    assert_eq!(test.others.asked(), 3);
    for _ in 0..2 {
        test.download("other/later").await.refused(504, "M_NOT_YET_UPLOADED");
    }
    assert_eq!(test.others.asked(), 5);
    test.others.has("gone", "text/plain", b"x".to_vec());
    test.clock.advance(10_000);
    test.download("other/gone").await.ok();
}

#[tokio::test]
async fn what_is_too_large_or_breaks_off_leaves_nothing() {
    let test = TestMedia::with(room_for(100));
    test.others.has("large", "text/plain", [large(0), large(0), vec![0]].concat());
    test.others.answer("broken", || {
        let mut pieces = pieces(&large(0));
        pieces.push(Err(RemoteMediaError::Failed("it broke off".to_owned())));
        Ok(file("text/plain", pieces))
    });
    test.download("other/large").await.refused(502, "M_TOO_LARGE");
    test.download("other/broken").await.refused(502, "M_UNKNOWN");
    assert_eq!(test.objects().await, (0, 0));
    assert!(test.media.db.scan_all(&REMOTE, &()).await.unwrap().is_empty());
    test.others.has("large", "text/plain", [large(0), large(0)].concat());
    test.clock.advance(10_000);
    test.download("other/large").await.ok();
}

#[tokio::test]
async fn what_nobody_looked_at_for_longest_goes_first() {
    let test = TestMedia::with(room_for(3));
    for id in ["a", "b", "c", "d", "e"] {
        test.others.has(id, "text/plain", large(1));
    }
    for id in ["a", "b", "c"] {
        test.download(&format!("other/{id}")).await.ok();
        test.clock.advance(1);
    }
    // A use counts once it is some time after the one before.
    test.clock.advance(600_000);
    test.download("other/a").await.ok();
    let kept = async || -> Vec<String> {
        let rows = test.media.db.scan_all(&REMOTE_USED, &()).await.unwrap();
        rows.into_iter().map(|((_, _, id), _)| id).collect()
    };
    assert_eq!(kept().await, ["b", "c", "a"]);
    test.download("other/d").await.ok();
    assert_eq!(kept().await, ["c", "a", "d"]);
    // What is kept from everybody stays known.
    test.media.quarantine("other".try_into().unwrap(), "c", true).await.unwrap();
    test.clock.advance(1);
    test.download("other/e").await.ok();
    assert_eq!(kept().await, ["c", "d", "e"]);
    assert_eq!(test.objects().await, (3, 0));
    let asked = test.others.asked();
    test.download("other/c").await.refused(404, "M_NOT_FOUND");
    assert_eq!(test.others.asked(), asked);
    test.download("other/a").await.ok();
    assert_eq!(test.others.asked(), asked + 1);
    // The bound holds after a restart too.
    let test = test.restarted(room_for(2));
    test.others.has("f", "text/plain", vec![0]);
    test.download("other/f").await.ok();
    let size: u64 = test.media.db.scan_all(&REMOTE_USED, &()).await.unwrap().iter().map(|(_, size)| size).sum();
    assert!(size <= 2 << 20, "{size}");
}

#[tokio::test]
async fn odd_words_of_other_servers_do_no_harm() {
    let test = TestMedia::new();
    test.others.answer("odd", || {
        let mut file = file("text/html\r\nX-Evil: 1", vec![Ok(Bytes::from_static(b"x"))]);
        file.filename = Some(format!("a\r\nb{}", "\u{e9}".repeat(2000)));
        Ok(file)
    });
    let got = test.download("other/odd").await.ok();
    assert_eq!(got.header("content-type"), "application/octet-stream");
    assert!(got.header("content-disposition").starts_with("attachment; filename*=utf-8''a%0D%0Ab"));
    assert!(!got.headers.contains_key("x-evil"));
}

#[tokio::test]
async fn a_slow_server_holds_up_only_its_own() {
    let test = TestMedia::new();
    let gate = Arc::new(Semaphore::new(0));
    *test.others.gate.lock() = Some(Arc::clone(&gate));
    let ids: Vec<String> = (0..40).map(|n| format!("f{n}")).collect();
    for id in &ids {
        test.others.has(id, "text/plain", b"x".to_vec());
    }
    let paths: Vec<String> = ids.iter().map(|id| format!("slow/{id}")).collect();
    let mut slow = Box::pin(futures::future::join_all(paths.iter().map(|path| test.download(path))));
    while test.others.asked() < 8 {
        assert!(futures::poll!(slow.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    *test.others.gate.lock() = None;
    test.download("quick/f1").await.ok();
    assert_eq!(test.others.asked(), 9);
    gate.add_permits(8);
    assert!(slow.await.into_iter().all(|answer| answer.ok().bytes == "x"));
}
