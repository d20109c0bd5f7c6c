use std::io::Cursor;

use image::{DynamicImage, GenericImageView as _, ImageFormat, Rgb, RgbImage};

use super::TestMedia;
use crate::{
    MediaConfig,
    tables::{THUMBNAILS, ThumbnailRow},
    thumbnail::MAX_WAITING,
};

/// A picture that gets redder to the right and greener to the bottom.
fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let shade = |at: u32, of: u32| (at * 255 / of) as u8;
    let pixels = RgbImage::from_fn(width, height, |x, y| Rgb([shade(x, width), shade(y, height), 40]));
    let mut out = Vec::new();
    DynamicImage::ImageRgb8(pixels).write_to(&mut Cursor::new(&mut out), format).unwrap();
    out
}

async fn thumbnail(test: &TestMedia, what: &str, query: &str) -> super::Answer {
    test.get("alice", &format!("/_matrix/client/v1/media/thumbnail/{what}?{query}")).await
}

#[tokio::test]
async fn pictures_get_thumbnails() {
    let test = TestMedia::new();
    for (format, kind, made) in [
        (ImageFormat::Png, "image/png", "image/png"),
        (ImageFormat::Jpeg, "image/jpeg", "image/jpeg"),
        (ImageFormat::Gif, "image/gif", "image/png"),
        (ImageFormat::WebP, "image/webp", "image/png"),
    ] {
        // What it is said to be does not matter.
        let id = test.upload("?filename=a.svg", "image/svg+xml", picture(400, 200, format)).await.id();
        let what = format!("hs/{id}");
        let scaled = thumbnail(&test, &what, "width=32&height=32&method=scale").await.ok();
        assert_eq!((scaled.header("content-type"), scaled.header("x-content-type-options")), (made, "nosniff"));
        let name = format!("inline; filename=thumbnail.{}", made.strip_prefix("image/").unwrap());
        assert_eq!(scaled.header("content-disposition"), name);
        let image = image::load_from_memory(&scaled.bytes).unwrap();
        assert_eq!(image.dimensions(), (320, 160), "{kind}");
        // Left to right, and top to bottom.
        let (left, right, bottom) = (image.get_pixel(5, 5), image.get_pixel(314, 5), image.get_pixel(5, 154));
        assert!(left.0[0] < 30 && right.0[0] > 225 && left.0[1] < 30 && bottom.0[1] > 225, "{kind}");
        let cropped = thumbnail(&test, &what, "width=60&height=60&method=crop&animated=true").await.ok();
        let image = image::load_from_memory(&cropped.bytes).unwrap();
        assert_eq!(image.dimensions(), (96, 96), "{kind}");
        // Its middle: a quarter is cut off on either side.
        assert!((50..80).contains(&image.get_pixel(0, 50).0[0]), "{kind}: {:?}", image.get_pixel(0, 50));
        // It is made once.
        assert_eq!(thumbnail(&test, &what, "width=320&height=240").await.ok().bytes, scaled.bytes, "{kind}");
    }
    assert_eq!(test.objects().await, (12, 0));
}

#[tokio::test]
async fn small_pictures_are_their_own_thumbnails_unless_they_move() {
    let test = TestMedia::new();
    let (png, gif) = (picture(20, 10, ImageFormat::Png), picture(20, 10, ImageFormat::Gif));
    let id = test.upload("", "application/octet-stream", png.clone()).await.id();
    for _ in 0..2 {
        let got = thumbnail(&test, &format!("hs/{id}"), "width=20&height=20").await.ok();
        assert!(got.bytes == png);
        assert_eq!(got.header("content-type"), "image/png");
        assert_eq!(got.header("content-disposition"), "inline; filename=thumbnail.png");
    }
    let id = test.upload("", "image/gif", gif).await.id();
    let got = thumbnail(&test, &format!("hs/{id}"), "width=20&height=20").await.ok();
    assert_eq!(got.header("content-type"), "image/png");
    assert_eq!(image::load_from_memory(&got.bytes).unwrap().dimensions(), (20, 10));
}

#[tokio::test]
async fn what_is_no_picture_or_too_large_a_one_has_none() {
    let test = TestMedia::with(MediaConfig { max_thumbnail_megapixels: 1, ..MediaConfig::default() });
    let id = test.upload("", "image/png", "no picture").await.id();
    thumbnail(&test, &format!("hs/{id}"), "width=32&height=32").await.refused(400, "M_UNKNOWN");
    let mut broken = picture(100, 100, ImageFormat::Png);
    broken.truncate(broken.len() / 2);
    let id = test.upload("", "image/png", broken).await.id();
    thumbnail(&test, &format!("hs/{id}"), "width=32&height=32&method=crop").await.refused(400, "M_UNKNOWN");
    let wide = picture(1001, 1000, ImageFormat::Png);
    let id = test.upload("", "image/png", wide.clone()).await.id();
    thumbnail(&test, &format!("hs/{id}"), "width=32&height=32").await.refused(413, "M_TOO_LARGE");
    test.others.has("wide", "image/png", wide);
    thumbnail(&test, "other/wide", "width=32&height=32").await.refused(502, "M_TOO_LARGE");
    let id = test.upload("", "image/png", picture(10, 10, ImageFormat::Png)).await.id();
    thumbnail(&test, &format!("hs/{id}"), "width=0&height=32").await.refused(400, "M_UNKNOWN");
    thumbnail(&test, &format!("hs/{id}"), "width=-1&height=32").await.refused(400, "M_INVALID_PARAM");
    let pending = test.create("alice").await.id();
    thumbnail(&test, &format!("hs/{pending}"), "width=9&height=9&timeout_ms=0")
        .await
        .refused(504, "M_NOT_YET_UPLOADED");
    assert_eq!(test.objects().await, (5, 0));
}

#[tokio::test]
async fn few_sizes_are_made_whatever_is_asked_for() {
    let test = TestMedia::new();
    let id = test.upload("", "image/png", picture(120, 120, ImageFormat::Png)).await.id();
    for width in 1..20 {
        let query = format!("width={width}&height=40&method=crop");
        let got = thumbnail(&test, &format!("hs/{id}"), &query).await.ok();
        let wide = if width <= 10 { 24 } else { 48 };
        assert_eq!(image::load_from_memory(&got.bytes).unwrap().dimensions(), (wide, 96));
    }
    assert_eq!(test.objects().await, (3, 0));
}

#[tokio::test]
async fn nothing_is_made_for_who_left() {
    let test = TestMedia::with(MediaConfig { thumbnails_at_once: 1, ..MediaConfig::default() });
    let id = test.upload("", "image/png", picture(400, 200, ImageFormat::Png)).await.id();
    let what = format!("hs/{id}");
    let media = &test.media;
    let busy = std::sync::Arc::clone(&media.renders).acquire_owned().await.unwrap();
    {
        let mut asking = Box::pin(thumbnail(&test, &what, "width=32&height=32"));
        while media.rendering.len() == 0 || media.waiting.available_permits() == MAX_WAITING {
            assert!(futures::poll!(asking.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!((media.rendering.len(), media.waiting.available_permits()), (0, MAX_WAITING));
    drop(busy);
    // The next one finds the place free, and nothing made.
    assert_eq!(test.objects().await, (1, 0));
    thumbnail(&test, &what, "width=32&height=32").await.ok();
    assert_eq!(test.objects().await, (2, 0));
}

#[tokio::test]
async fn where_too_many_wait_the_next_are_told_to_come_again() {
    let test = TestMedia::new();
    let id = test.upload("", "image/png", picture(400, 200, ImageFormat::Png)).await.id();
    let what = format!("hs/{id}");
    thumbnail(&test, &what, "width=96&height=96&method=crop").await.ok();
    let all = test.media.waiting.acquire_many(MAX_WAITING.try_into().unwrap()).await.unwrap();
    thumbnail(&test, &what, "width=32&height=32").await.refused(429, "M_LIMIT_EXCEEDED");
    thumbnail(&test, &what, "width=96&height=96&method=crop").await.ok();
    drop(all);
    thumbnail(&test, &what, "width=32&height=32").await.ok();
}

#[tokio::test]
async fn thumbnails_of_other_servers_pictures_go_with_them() {
    let test = TestMedia::with(MediaConfig { remote_cache_mib: 1, ..MediaConfig::default() });
    test.others.has("picture", "image/png", picture(400, 300, ImageFormat::Png));
    thumbnail(&test, "other/picture", "width=320&height=240").await.ok();
    thumbnail(&test, "other/picture", "width=96&height=96&method=crop").await.ok();
    assert_eq!(test.others.asked(), 1);
    let rows = test.media.db.scan_all(&THUMBNAILS, &()).await.unwrap();
    let made: u64 =
        rows.iter().map(|(_, row)| if let ThumbnailRow::Made { size, .. } = &row.0 { *size } else { 0 }).sum();
    let total = test.media.cached_bytes().await.unwrap().load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!((test.objects().await, total), ((3, 0), made + picture(400, 300, ImageFormat::Png).len() as u64));
    test.clock.advance(1);
    test.others.has("other", "text/plain", vec![0; 1 << 20]);
    test.download("other/other").await.ok();
    assert_eq!(test.objects().await, (1, 0));
    assert!(test.media.db.scan_all(&THUMBNAILS, &()).await.unwrap().is_empty());
}
