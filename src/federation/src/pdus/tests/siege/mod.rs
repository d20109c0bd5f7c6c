//! Everything that a hostile server can do to one that shares a room with it, case by case: what each costs, counted, while another
//! room's sends, and those of the very room, go on.

mod cases;
mod forge;
mod graph;
mod keys;
mod told;
mod wire;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use ruma::{OwnedRoomId, RoomVersionId};
use store::{Keyspace, Page};
use tokio::time::Instant;

use super::Pair;
use crate::testing::Fate;

/// How long every request of the besieged server is on its way.
const ON_THE_WAY: Duration = Duration::from_millis(50);
/// Messages that others send at first, each as soon as the one before is sent: an attack that waits for nothing is over soon.
const AT_ONCE: usize = 80;
/// How often others send from then on: at first, and at last.
const PACE: (Duration, Duration) = (Duration::from_millis(7), Duration::from_secs(5));

type Attack = for<'a> fn(&'a Pair) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What an attack may cost the server, at most.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Requests to other servers, those for keys among them.
    calls: usize,
    /// Of these, requests for keys.
    for_keys: u64,
    /// Bytes that it sent in them.
    sent: usize,
    /// Bytes of their answers.
    received: usize,
    /// Events stored, in whatever standing.
    events: usize,
    /// Signatures checked.
    checks: u64,
    /// Rows written under one lock.
    locked: u64,
    /// How long the attack went on.
    seconds: u64,
}

/// What is free: no request, nothing stored. (The most rows under one lock are those of a new room.)
const LEAST: Bounds =
    Bounds { calls: 0, for_keys: 0, sent: 0, received: 0, events: 0, checks: 0, locked: 200, seconds: 1 };

/// What the server sent and got.
#[derive(Debug, Default)]
struct Traffic {
    calls: AtomicUsize,
    sent: AtomicUsize,
    received: AtomicUsize,
}

impl Traffic {
    /// Counts every request of `good`, each of which takes its time.
    fn of(pair: &Pair) -> Arc<Self> {
        let traffic = Arc::new(Self::default());
        let counted = Arc::clone(&traffic);
        pair.world.mesh.watch(move |from, call, reply| {
            if from == "good" {
                counted.calls.fetch_add(1, SeqCst);
                counted.sent.fetch_add(call.target.len() + call.body.len(), SeqCst);
                counted.received.fetch_add(reply.as_ref().map_or(0, |reply| reply.body.len()), SeqCst);
            }
        });
        pair.world.mesh.judge(|from, _| {
            let delay = if from == "good" { ON_THE_WAY } else { Duration::ZERO };
            Fate { delay, ..Fate::DELIVERED }
        });
        traffic
    }
}

/// Events in all rooms, in whatever standing.
async fn stored(pair: &Pair) -> usize {
    let (from, to) = (Bytes::new(), Bytes::from_static(&[0xff; 4]));
    pair.good().engine().db.scan_raw(Keyspace::Events, from, to, Page::first(usize::MAX)).await.unwrap().len()
}

/// Ann goes on talking, in a room of her own and in the one that is attacked, until the attack is over: nothing that she says waits
/// for it. How many messages she sent, and how many of them while it was under way.
async fn talk(pair: &Pair, quiet: &OwnedRoomId, over: &AtomicBool) -> (usize, usize) {
    let (mut said, mut meanwhile, mut pace) = (0, 0, PACE.0);
    loop {
        for room in [quiet, &pair.room] {
            meanwhile += usize::from(!over.load(SeqCst));
            let begun = Instant::now();
            pair.good().say(room, &pair.ann, "meanwhile").await;
            assert_eq!(begun.elapsed(), Duration::ZERO, "a message waited");
            said += 1;
        }
        if over.load(SeqCst) {
            return (said, meanwhile);
        }
        if said < AT_ONCE {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(pace).await;
            pace = (pace * 2).min(PACE.1);
        }
    }
}

async fn besiege(name: &str, version: RoomVersionId, limits: Bounds, attack: Attack) {
    let pair = Pair::of(version).await;
    let quiet = pair.good().create_room(&pair.ann, RoomVersionId::V11).await;
    let traffic = Traffic::of(&pair);
    let engine = pair.good().engine();
    let (events, keys) = (stored(&pair).await, pair.good().federation().keys.stats());
    let (begun, over) = (Instant::now(), AtomicBool::new(false));
    let siege = async {
        attack(&pair).await;
        over.store(true, SeqCst);
        begun.elapsed()
    };
    let (took, (said, meanwhile)) = tokio::join!(siege, talk(&pair, &quiet, &over));

    let after = pair.good().federation().keys.stats();
    let cost = Bounds {
        calls: traffic.calls.load(SeqCst),
        for_keys: after.requests - keys.requests,
        sent: traffic.sent.load(SeqCst),
        received: traffic.received.load(SeqCst),
        events: stored(&pair).await - events - said,
        checks: after.checks - keys.checks,
        locked: engine.holds().most_rows,
        seconds: took.as_millis().div_ceil(1000).try_into().unwrap(),
    };
    println!("{:<52} {cost:?}, {meanwhile} messages meanwhile", name);
    assert!(meanwhile > 0, "{}: nobody spoke while it was under way", name);
    // In all of that time, in which requests were on their way, no room was locked for a moment: time stands still while this server
    // works, and goes on while it waits.
    assert_eq!(engine.holds().longest_ms, 0, "{}: a room was locked while something was waited for", name);
    for (what, cost, limit) in [
        ("calls", cost.calls, limits.calls),
        ("bytes sent", cost.sent, limits.sent),
        ("bytes received", cost.received, limits.received),
        ("events", cost.events, limits.events),
        ("requests for keys", cost.for_keys.try_into().unwrap(), limits.for_keys.try_into().unwrap()),
        ("signatures checked", cost.checks.try_into().unwrap(), limits.checks.try_into().unwrap()),
        ("rows under a lock", cost.locked.try_into().unwrap(), limits.locked.try_into().unwrap()),
        ("seconds", cost.seconds.try_into().unwrap(), limits.seconds.try_into().unwrap()),
    ] {
        assert!(cost <= limit, "{}: {what}: {cost}, and {limit} are allowed", name);
    }
    for room in [&quiet, &pair.room] {
        let room = pair.good().room(room).await;
        let report = engine.check_room(room.num).await.unwrap();
        assert_eq!(report.findings, Vec::<String>::new(), "{}", name);
    }
}
