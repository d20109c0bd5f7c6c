use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use http::StatusCode;
use image::{DynamicImage, ImageFormat};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use url::Url;

use super::TestMedia;
use crate::{
    MediaConfig, PreviewConfig,
    preview::web::{Web, WebAnswer, WebError, WebLimits},
};

const DAY_MS: u64 = 24 * 3600 * 1000;

#[derive(Clone)]
enum Site {
    Page(u16, &'static str, Bytes),
    To(&'static str),
    Failing(WebError),
}

/// The web: what is at each URL.
#[derive(Default)]
pub(crate) struct Sites {
    sites: Mutex<HashMap<String, Site>>,
    asked: AtomicUsize,
    gate: Mutex<Option<Arc<Semaphore>>>,
}

impl std::fmt::Debug for Sites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sites").finish_non_exhaustive()
    }
}

impl Sites {
    fn has(&self, url: &str, content_type: &'static str, body: impl Into<Bytes>) {
        self.put(url, Site::Page(200, content_type, body.into()));
    }

    fn put(&self, url: &str, site: Site) {
        self.sites.lock().insert(url.to_owned(), site);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Web for Sites {
    fn get<'a>(&'a self, url: &'a Url, limits: WebLimits) -> BoxFuture<'a, Result<WebAnswer, WebError>> {
        async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let gate = self.gate.lock().clone();
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            let site = self.sites.lock().get(url.as_str()).cloned();
            let answer = |status, content_type: Option<&str>, location: Option<&str>, body: Bytes| {
                let mut left = usize::try_from(limits.max_size).unwrap();
                let pieces: Vec<_> = body
                    .chunks(700)
                    .map(|piece| match left.checked_sub(piece.len()) {
                        Some(rest) => {
                            left = rest;
                            Ok(Bytes::copy_from_slice(piece))
                        }
                        None => Err(WebError::TooLarge),
                    })
                    .collect();
                WebAnswer {
                    status: StatusCode::from_u16(status).unwrap(),
                    content_type: content_type.map(str::to_owned),
                    location: location.map(str::to_owned),
                    content: futures::stream::iter(pieces).boxed(),
                }
            };
            match site {
                Some(Site::Page(status, content_type, body)) => Ok(answer(status, Some(content_type), None, body)),
                Some(Site::To(location)) => Ok(answer(302, None, Some(location), Bytes::new())),
                Some(Site::Failing(error)) => Err(error),
                None => Ok(answer(404, None, None, Bytes::new())),
            }
        }
        .boxed()
    }
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    DynamicImage::new_rgb8(width, height).write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}

fn config(change: impl FnOnce(&mut PreviewConfig)) -> MediaConfig {
    let mut url_previews = PreviewConfig { enabled: true, ..PreviewConfig::default() };
    change(&mut url_previews);
    MediaConfig { url_previews, ..MediaConfig::default() }
}

fn with_previews() -> TestMedia {
    TestMedia::with(config(|_| {}))
}

impl TestMedia {
    async fn preview(&self, who: &str, url: &str) -> super::Answer {
        let url: String = url::form_urlencoded::byte_serialize(url.as_bytes()).collect();
        self.get(who, &format!("/_matrix/client/v1/media/preview_url?url={url}&ts=1510610716656")).await
    }

    async fn shown(&self, url: &str) -> Value {
        self.preview("alice", url).await.ok().json()
    }
}

fn picture_id(shown: &Value) -> String {
    shown["og:image"].as_str().unwrap().strip_prefix("mxc://hs/").unwrap().to_owned()
}

#[tokio::test]
async fn a_page_with_a_picture() {
    let test = with_previews();
    let picture = png(60, 30);
    let html = r#"<title>No</title><meta property="og:title" content="The Rock">
        <meta property="og:image" content="/rock.png">"#;
    test.sites.has("https://example.org/film", "text/html; charset=utf-8", html);
    test.sites.has("https://example.org/rock.png", "application/octet-stream", picture.clone());
    let shown = test.shown("https://example.org/film#part").await;
    let id = picture_id(&shown);
    assert_eq!(
        shown,
        json!({"og:title": "The Rock", "og:image": format!("mxc://hs/{id}"), "og:image:type": "image/png",
            "og:image:width": 60, "og:image:height": 30, "matrix:image:size": picture.len()})
    );
    let had = test.download(&format!("hs/{id}")).await.ok();
    assert_eq!((had.header("content-type"), &*had.bytes), ("image/png", &*picture));
    let small = format!("/_matrix/client/v1/media/thumbnail/hs/{id}?width=32&height=32&method=crop");
    assert_eq!(test.get("alice", &small).await.ok().header("content-type"), "image/png");
    let old = test.get("alice", "/_matrix/media/v3/preview_url?url=https://example.org/film").await.ok();
    assert_eq!(old.json()["og:title"], "The Rock");
    test.get("", "/_matrix/client/v1/media/preview_url?url=x").await.refused(401, "M_MISSING_TOKEN");
    test.get("alice", "/_matrix/client/v1/media/preview_url").await.refused(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn without_previews_there_is_no_such_endpoint() {
    let test = TestMedia::new();
    test.preview("alice", "https://example.org/").await.refused(404, "M_UNRECOGNIZED");
    assert_eq!(test.sites.asked(), 0);
}

#[tokio::test]
async fn other_things_than_pages() {
    let test = with_previews();
    test.sites.has("https://example.org/a.png", "image/png", png(5, 7));
    let shown = test.shown("https://example.org/a.png").await;
    assert_eq!((&shown["og:image:width"], &shown["og:image:height"]), (&json!(5), &json!(7)));
    test.sites.has("https://example.org/a.svg", "image/svg+xml", "<svg/>");
    test.sites.has("https://example.org/a.zip", "application/zip", "PK");
    for nothing in ["https://example.org/a.svg", "https://example.org/a.zip"] {
        assert_eq!(test.shown(nothing).await, json!({}));
    }
    // A page whose picture cannot be had, or is none, is a page without a picture; the next one is tried.
    let html = "<meta property=og:title content=T><meta property=og:image content=gone.png>\
        <meta property=og:image content=page.html><meta name=twitter:image content=a.png>";
    test.sites.has("https://example.org/page.html", "text/html", html);
    assert_eq!(test.shown("https://example.org/page.html").await["og:image:height"], 7);
    test.sites.has("https://example.org/bare", "text/html", "<meta property=og:image content=gone.png>");
    assert_eq!(test.shown("https://example.org/bare").await, json!({}));
    assert_eq!(test.objects().await.1, 0);
}

#[tokio::test]
async fn rules_hold_for_every_step() {
    let test = TestMedia::with(config(|config| config.deny = vec!["*.corp.example".to_owned()]));
    for (url, to) in [
        ("https://example.org/file", "file:///etc/passwd"),
        ("https://example.org/port", "http://example.org:6379/"),
        ("https://example.org/host", "//wiki.corp.example/"),
        ("https://example.org/name", "https://root@example.org/"),
    ] {
        test.sites.put(url, Site::To(to));
        test.preview("alice", url).await.refused(403, "M_FORBIDDEN");
    }
    assert_eq!(test.sites.asked(), 4, "what is not allowed is not asked for");
    test.preview("alice", "https://wiki.corp.example/").await.refused(403, "M_FORBIDDEN");
    assert_eq!(test.sites.asked(), 4);
    // The connection says no.
    test.sites.put("https://router.example/", Site::Failing(WebError::ForbiddenAddress));
    test.preview("alice", "https://router.example/").await.refused(403, "M_FORBIDDEN");
    let html = "<title>T</title><img src='http://10.0.0.1:6379/x.png'><base href='file:///'>";
    test.sites.has("https://example.org/inside", "text/html", html);
    let asked = test.sites.asked();
    assert_eq!(test.shown("https://example.org/inside").await, json!({"og:title": "T"}));
    assert_eq!(test.sites.asked(), asked + 1);
    for (url, to) in [("https://example.org/1", "/2"), ("https://example.org/2", "https://example.com/3")] {
        test.sites.put(url, Site::To(to));
    }
    test.sites.has("https://example.com/3", "text/html", "<title>Moved</title>");
    assert_eq!(test.shown("https://example.org/1").await["og:title"], "Moved");
    test.sites.put("https://example.org/round", Site::To("/round"));
    let asked = test.sites.asked();
    test.preview("alice", "https://example.org/round").await.refused(502, "M_UNKNOWN");
    assert_eq!(test.sites.asked(), asked + 6);
}

#[tokio::test]
async fn bytes_are_bounded() {
    let test = TestMedia::with(config(|config| config.max_picture_mib = 1));
    let html = format!("<title>Long</title>{}<meta property=og:title content=late>", " ".repeat(2 << 20));
    test.sites.has("https://example.org/long", "text/html", html);
    assert_eq!(test.shown("https://example.org/long").await["og:title"], "Long");
    let mut large = png(9, 9);
    large.resize(2 << 20, 0);
    test.sites.has("https://example.org/large.png", "image/png", large);
    assert_eq!(test.shown("https://example.org/large.png").await, json!({}));
    assert_eq!(test.objects().await, (0, 0));
}

#[tokio::test]
async fn one_fetch_for_all_and_none_while_it_is_fresh() {
    let test = Arc::new(with_previews());
    let gate = Arc::new(Semaphore::new(0));
    *test.sites.gate.lock() = Some(Arc::clone(&gate));
    test.sites.has("https://example.org/", "text/html", "<title>One</title>");
    let asks: Vec<_> = ["alice", "bob", "alice"]
        .map(|who| {
            let test = Arc::clone(&test);
            tokio::spawn(async move { test.preview(who, "https://example.org").await.ok().json() })
        })
        .into();
    while test.sites.asked() == 0 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(100);
    for ask in asks {
        assert_eq!(ask.await.unwrap()["og:title"], "One");
    }
    assert_eq!(test.sites.asked(), 1);
    test.sites.has("https://example.org/", "text/html", "<title>Two</title>");
    test.clock.advance(DAY_MS - 1);
    assert_eq!(test.shown("https://example.org/").await["og:title"], "One");
    test.clock.advance(1);
    assert_eq!(test.shown("https://example.org/").await["og:title"], "Two");
    assert_eq!(test.sites.asked(), 2);
    // That there is none is remembered for a moment.
    for _ in 0..3 {
        test.preview("alice", "https://example.org/gone").await.refused(502, "M_UNKNOWN");
    }
    assert_eq!(test.sites.asked(), 3);
    test.clock.advance(60_000);
    test.preview("alice", "https://example.org/gone").await.refused(502, "M_UNKNOWN");
    assert_eq!(test.sites.asked(), 4);
}

#[tokio::test]
async fn pictures_go_when_nobody_looks_at_them() {
    let test = with_previews();
    test.sites.has("https://example.org/a.png", "image/png", png(5, 5));
    let id = picture_id(&test.shown("https://example.org/a.png").await);
    let own = test.upload("", "text/plain", "mine").await.id();
    let path = format!("hs/{id}");
    test.clock.advance(29 * DAY_MS);
    test.download(&path).await.ok();
    test.clock.advance(29 * DAY_MS);
    test.media.expire_previews().await.unwrap();
    test.download(&path).await.ok();
    test.clock.advance(31 * DAY_MS);
    test.media.expire_previews().await.unwrap();
    test.download(&path).await.refused(404, "M_NOT_FOUND");
    test.download(&format!("hs/{own}")).await.ok();
    assert_eq!(test.objects().await, (1, 0));
    assert_ne!(picture_id(&test.shown("https://example.org/a.png").await), id, "it is fetched again");
}

#[tokio::test]
async fn a_preview_whose_picture_had_to_go_is_made_anew() {
    let test = TestMedia::with(MediaConfig { remote_cache_mib: 0, ..config(|_| {}) });
    test.sites.has("https://example.org/a.png", "image/png", png(5, 5));
    test.sites.has("https://example.org/b.png", "image/png", png(6, 6));
    let first = picture_id(&test.shown("https://example.org/a.png").await);
    test.clock.advance(1);
    test.shown("https://example.org/b.png").await;
    test.download(&format!("hs/{first}")).await.refused(404, "M_NOT_FOUND");
    let again = picture_id(&test.shown("https://example.org/a.png").await);
    assert_ne!(again, first);
    test.download(&format!("hs/{again}")).await.ok();
}

#[tokio::test]
async fn a_quarantined_picture_is_shown_to_nobody() {
    let test = with_previews();
    test.sites.has("https://example.org/a.png", "image/png", png(5, 5));
    let id = picture_id(&test.shown("https://example.org/a.png").await);
    test.media.quarantine("hs".try_into().unwrap(), &id, true).await.unwrap();
    test.download(&format!("hs/{id}")).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn everybody_may_have_so_many_made() {
    let test = TestMedia::with(config(|config| config.rate = http_kit::LimitConfig::new(1.0, 2)));
    for n in 0..2 {
        test.sites.has(&format!("https://example.org/{n}"), "text/html", "<title>T</title>");
        test.shown(&format!("https://example.org/{n}")).await;
    }
    test.preview("alice", "https://example.org/2").await.refused(429, "M_LIMIT_EXCEEDED");
    test.shown("https://example.org/1").await;
    test.preview("bob", "https://example.org/2").await.refused(502, "M_UNKNOWN");
}
