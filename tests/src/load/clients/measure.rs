//! The measured phases, one after the other, each on a server that does nothing else.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Prepared, words};
use crate::{
    http::{Conn, encode},
    load::{
        LoadError, expect_ok, procfs,
        setup::{Account, Registrar, call, connect, member},
        stats::Samples,
    },
};

/// Syncs of new devices that are timed.
const SYNCS: usize = 6;
/// Pages of a hundred messages.
const PAGES: usize = 50;
/// How often each search is asked.
const SEARCHES: usize = 5;
/// Ranks of the words that are searched for: from one in every other message to a handful.
const SEARCHED: [(&str, &[usize]); 4] =
    [("common", &[1]), ("usual", &[200]), ("rare", &[15_000]), ("two usual words", &[150, 40])];
/// Files that are timed, and their size in bytes.
const FILES: usize = 20;
const FILE_SIZE: usize = 1 << 20;
/// Pictures that are timed, and their width and height.
const PICTURES: u32 = 5;
const PICTURE: (u32, u32) = (3000, 2000);
/// How long idle clients are watched, after they have settled.
const WATCHED: Duration = Duration::from_secs(20);
const SETTLED: Duration = Duration::from_secs(5);

/// The first request and the median of the later ones, in milliseconds, and the bytes of an answer.
#[derive(Debug, Clone, Serialize)]
pub struct Timed {
    /// The first.
    pub first_ms: f64,
    /// The later ones' median.
    pub later_p50_ms: Option<f64>,
    /// The last answer's size.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Timing {
    first: Option<Duration>,
    later: Samples,
    bytes: usize,
}

impl Timing {
    fn push(&mut self, took: Duration, bytes: usize) {
        self.bytes = bytes;
        match self.first {
            None => self.first = Some(took),
            Some(_) => self.later.push(took),
        }
    }

    fn done(&self) -> Timed {
        let first_ms = self.first.unwrap_or_default().as_secs_f64() * 1e3;
        Timed { first_ms, later_p50_ms: self.later.percentile_ms(50), bytes: self.bytes }
    }
}

/// Clients that wait for news.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    /// How many.
    pub polls: usize,
    /// The server's resident memory before them, and with them, in MiB.
    pub before_mib: f64,
    /// With them.
    pub with_mib: f64,
    /// The server's CPU milliseconds a second while nothing happens.
    pub cpu_ms_per_second: f64,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// What the user calls this run.
    pub label: String,
    /// `/sync` without a token, by number of rooms.
    pub initial_sync: Vec<(usize, Timed)>,
    /// Sliding sync's first response, by number of rooms.
    pub sliding_sync: Vec<(usize, Timed)>,
    /// A hundred older messages.
    pub page: Timed,
    /// A search, by what is searched for; each with how many were found.
    pub search: Vec<(String, u64, Timed)>,
    /// A file of a MiB: there, and back.
    pub upload: Timed,
    /// Back again.
    pub download: Timed,
    /// A picture: there, and its thumbnail made for the first time.
    pub picture: Timed,
    /// Its thumbnail.
    pub thumbnail: Timed,
    /// Long polls without news.
    pub idle: Idle,
}

/// Runs all phases.
///
/// # Errors
/// [`LoadError`] when a request fails.
pub async fn measure(registrar: &Registrar, pid: u32, label: &str, prepared: &Prepared) -> Result<Found, LoadError> {
    let mut conn = connect(registrar).await?;
    let (mut initial_sync, mut sliding_sync) = (Vec::new(), Vec::new());
    for (rooms, login) in &prepared.with_rooms {
        eprintln!("first sync of {rooms} rooms …");
        let user = login.account()?;
        initial_sync.push((*rooms, first_syncs(registrar, &mut conn, &user, false).await?));
        sliding_sync.push((*rooms, first_syncs(registrar, &mut conn, &user, true).await?));
    }
    let reader = prepared.reader.account()?;
    eprintln!("older messages …");
    let page = pages(&mut conn, &reader, &prepared.room_id).await?;
    eprintln!("search …");
    let search = searches(&mut conn, &reader).await?;
    eprintln!("files …");
    let (upload, download) = files(&mut conn, &reader).await?;
    eprintln!("pictures …");
    let (picture, thumbnail) = pictures(&mut conn, &reader).await?;
    eprintln!("{} idle clients …", prepared.idle.len());
    let idle = idle(registrar, pid, prepared).await?;
    let label = label.to_owned();
    Ok(Found { label, initial_sync, sliding_sync, page, search, upload, download, picture, thumbnail, idle })
}

/// What a client of today asks for when it opens its list of rooms.
fn sliding_body() -> Value {
    let required = json!([
        ["m.room.create", ""],
        ["m.room.name", ""],
        ["m.room.avatar", ""],
        ["m.room.topic", ""],
        ["m.room.canonical_alias", ""],
        ["m.room.encryption", ""],
        ["m.room.power_levels", ""],
        ["m.room.join_rules", ""],
        ["m.room.tombstone", ""],
        ["m.room.history_visibility", ""],
        ["m.room.member", "$LAZY"],
        ["m.room.member", "$ME"],
        ["m.space.child", "*"]
    ]);
    let on = json!({"enabled": true});
    json!({
        "conn_id": "list",
        "lists": {"all": {"ranges": [[0, 19]], "timeline_limit": 1, "required_state": required}},
        "extensions": {"to_device": on, "e2ee": on, "account_data": on, "receipts": on, "typing": on},
    })
}

async fn first_syncs(
    registrar: &Registrar,
    conn: &mut Conn,
    user: &Account,
    sliding: bool,
) -> Result<Timed, LoadError> {
    let mut timing = Timing::default();
    for _ in 0..SYNCS {
        let device = registrar.new_device(conn, user).await?;
        let (method, path, body) = match sliding {
            false => (Method::GET, "/_matrix/client/v3/sync?timeout=0", None),
            true => (
                Method::POST,
                "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0",
                Some(sliding_body().to_string()),
            ),
        };
        let begun = Instant::now();
        let reply = call(conn, method, path, Some(&device), body).await?;
        timing.push(begun.elapsed(), reply.body.len());
    }
    Ok(timing.done())
}

async fn pages(conn: &mut Conn, reader: &Account, room_id: &str) -> Result<Timed, LoadError> {
    let mut timing = Timing::default();
    let base = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100", encode(room_id));
    let mut path = base.clone();
    for _ in 0..PAGES {
        let begun = Instant::now();
        let reply = call(conn, Method::GET, &path, Some(reader), None).await?;
        timing.push(begun.elapsed(), reply.body.len());
        path = format!("{base}&from={}", encode(&member("/messages", &reply, "end")?));
    }
    Ok(timing.done())
}

async fn searches(conn: &mut Conn, reader: &Account) -> Result<Vec<(String, u64, Timed)>, LoadError> {
    let path = "/_matrix/client/v3/search";
    let mut out = Vec::new();
    for (name, ranks) in SEARCHED {
        let term = ranks.iter().map(|rank| words::word(*rank)).collect::<Vec<_>>().join(" ");
        let events = json!({
            "search_term": term, "order_by": "recent", "filter": {"limit": 10},
            "event_context": {"before_limit": 1, "after_limit": 1, "include_profile": true},
        });
        let body = json!({"search_categories": {"room_events": events}}).to_string();
        let (mut timing, mut count) = (Timing::default(), 0);
        for _ in 0..SEARCHES {
            let begun = Instant::now();
            let reply = call(conn, Method::POST, path, Some(reader), Some(body.clone())).await?;
            timing.push(begun.elapsed(), reply.body.len());
            let answer: Value = serde_json::from_slice(&reply.body)?;
            count = answer.pointer("/search_categories/room_events/count").and_then(Value::as_u64).unwrap_or_default();
        }
        out.push((name.to_owned(), count, timing.done()));
    }
    Ok(out)
}

async fn upload(conn: &mut Conn, user: &Account, kind: &'static str, content: Vec<u8>) -> Result<String, LoadError> {
    let path = "/_matrix/media/v3/upload";
    let kind = HeaderValue::from_static(kind);
    let reply = conn.send(Method::POST, path, Some(&user.token), Some(Bytes::from(content)), kind).await?;
    let uri = member(path, &expect_ok(path, reply)?, "content_uri")?;
    Ok(uri.trim_start_matches("mxc://").to_owned())
}

async fn files(conn: &mut Conn, user: &Account) -> Result<(Timed, Timed), LoadError> {
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut there, mut back) = (Timing::default(), Timing::default());
    for _ in 0..FILES {
        let mut content = vec![0; FILE_SIZE];
        rng.fill_bytes(&mut content);
        let begun = Instant::now();
        let id = upload(conn, user, "application/octet-stream", content).await?;
        there.push(begun.elapsed(), FILE_SIZE);
        let begun = Instant::now();
        let path = format!("/_matrix/client/v1/media/download/{id}");
        let reply = call(conn, Method::GET, &path, Some(user), None).await?;
        back.push(begun.elapsed(), reply.body.len());
    }
    Ok((there.done(), back.done()))
}

/// A photograph's worth of pixels, different for each seed.
fn photograph(seed: u32) -> Result<Vec<u8>, LoadError> {
    let (width, height) = PICTURE;
    let pixels = image::RgbImage::from_fn(width, height, |x, y| {
        let wave = (x * (seed + 3) / 40) ^ (y / 30);
        let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503 + seed)) >> 28;
        let byte = |value: u32| u8::try_from(value % 256).unwrap_or_default();
        image::Rgb([byte(wave * 5 + grain), byte(x / 12 + grain), byte(y / 8 + seed * 20)])
    });
    let mut out = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut out, image::ImageFormat::Jpeg)?;
    Ok(out.into_inner())
}

async fn pictures(conn: &mut Conn, user: &Account) -> Result<(Timed, Timed), LoadError> {
    let (mut there, mut small) = (Timing::default(), Timing::default());
    for seed in 0..PICTURES {
        let content = photograph(seed)?;
        let size = content.len();
        let begun = Instant::now();
        let id = upload(conn, user, "image/jpeg", content).await?;
        there.push(begun.elapsed(), size);
        let begun = Instant::now();
        let path = format!("/_matrix/client/v1/media/thumbnail/{id}?width=320&height=240&method=scale");
        let reply = call(conn, Method::GET, &path, Some(user), None).await?;
        small.push(begun.elapsed(), reply.body.len());
    }
    Ok((there.done(), small.done()))
}

async fn idle(registrar: &Registrar, pid: u32, prepared: &Prepared) -> Result<Idle, LoadError> {
    let before = procfs::usage(pid)?;
    let mut polls = Vec::with_capacity(prepared.idle.len());
    for login in &prepared.idle {
        let user = login.account()?;
        let mut conn = connect(registrar).await?;
        let path = "/_matrix/client/v3/sync?timeout=0&set_presence=offline";
        let reply = call(&mut conn, Method::GET, path, Some(&user), None).await?;
        let since = encode(&member(path, &reply, "next_batch")?);
        polls.push(tokio::spawn(async move {
            let path = format!("/_matrix/client/v3/sync?timeout=120000&set_presence=offline&since={since}");
            call(&mut conn, Method::GET, &path, Some(&user), None).await.map(drop)
        }));
    }
    tokio::time::sleep(SETTLED).await;
    let settled = procfs::usage(pid)?;
    tokio::time::sleep(WATCHED).await;
    let after = procfs::usage(pid)?;
    for poll in &polls {
        if poll.is_finished() {
            return Err(LoadError::Usage("a long poll was answered while nothing happened".to_owned()));
        }
        poll.abort();
    }
    let cpu = after.cpu.saturating_sub(settled.cpu).as_secs_f64() * 1e3;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Idle {
        polls: polls.len(),
        before_mib: mib(before.resident),
        with_mib: mib(after.resident),
        cpu_ms_per_second: cpu / WATCHED.as_secs_f64(),
    })
}
