//! /sync: what it reads and how long it takes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use store::StatsSnapshot;

use crate::server::Server;

/// Messages in each room before an initial sync: as many as one page shows, and as many again.
const MESSAGES: u64 = 20;

/// One room of many changes between two syncs.
pub async fn incremental(server: &Server, rooms: usize, rounds: u64) {
    let mut all = Vec::with_capacity(rooms);
    for n in 0..rooms {
        all.push(server.room(&format!("r{n}")).await);
    }
    let mut since = next_batch(&server.get("/_matrix/client/v3/sync?timeout=0").await);
    let mut spent = Spent::default();
    for round in 0..rounds {
        let room = &all[usize::try_from(round).unwrap() * 7 % all.len()];
        server.say(room, &format!("t{round}")).await;
        let body = spent.measure(server, &format!("/_matrix/client/v3/sync?timeout=0&since={since}")).await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let joined = answer["rooms"]["join"].as_object().unwrap();
        assert!(joined.len() == 1 && joined.contains_key(room.id.as_str()), "{answer}");
        since = next_batch(&body);
    }
    spent.print(&format!("incremental sync, 1 of {rooms} rooms changed"));
    let mut idle = Spent::default();
    for _ in 0..rounds {
        idle.measure(server, &format!("/_matrix/client/v3/sync?timeout=0&since={since}")).await;
    }
    idle.print(&format!("incremental sync, none of {rooms} rooms changed"));
}

/// Everything from the start.
pub async fn initial(server: &Server, rooms: usize, rounds: u64) {
    for n in 0..rooms {
        let room = server.room(&format!("r{n}")).await;
        for m in 0..MESSAGES {
            server.say(&room, &format!("t{m}")).await;
        }
    }
    let mut spent = Spent::default();
    for _ in 0..rounds {
        let body = spent.measure(server, "/_matrix/client/v3/sync?timeout=0").await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["rooms"]["join"].as_object().unwrap().len(), rooms);
    }
    spent.print(&format!("initial sync of {rooms} rooms"));
}

fn next_batch(body: &Bytes) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap();
    answer["next_batch"].as_str().unwrap().to_owned()
}

/// What requests of one kind took.
#[derive(Default)]
struct Spent {
    times: Vec<Duration>,
    reads: Vec<StatsSnapshot>,
    bytes: usize,
}

impl Spent {
    async fn measure(&mut self, server: &Server, path: &str) -> Bytes {
        let (before, begun) = (server.db.stats().snapshot(), Instant::now());
        let body = server.get(path).await;
        self.times.push(begun.elapsed());
        self.reads.push(server.db.stats().snapshot() - before);
        self.bytes += body.len();
        body
    }

    fn print(mut self, what: &str) {
        self.times.sort_unstable();
        let at = |share: f64| self.times[((self.times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let mean =
            |of: fn(&StatsSnapshot) -> u64| self.reads.iter().map(of).sum::<u64>() as f64 / self.reads.len() as f64;
        println!(
            "{what}: p50 {:.3} ms, p99 {:.3} ms, {} bytes; store reads: {:.1} gets, {:.1} batches of {:.1} keys in all, {:.1} scans of \
             {:.1} rows in all",
            at(0.5),
            at(0.99),
            self.bytes / self.times.len(),
            mean(|stats| stats.gets),
            mean(|stats| stats.multi_gets),
            mean(|stats| stats.multi_get_keys),
            mean(|stats| stats.scans),
            mean(|stats| stats.scan_rows),
        );
    }
}
