//! Forks of a room, and what it costs to bring them together.

use std::time::{Duration, Instant};

use engine::CacheSizes;
use room::check::ReceivedEvent;
use ruma::OwnedEventId;
use serde_json::json;

use super::{
    counted::Reads,
    rooms::{Author, BigRoom, MODERATOR, OWNER, member},
};

/// What the branches of a fork do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Everybody changes a key of their own that was there before.
    Apart,
    /// Everybody is new: keys that are in one of the states only.
    Joins,
    /// All change one key.
    Same,
    /// Power levels, bans, what the banned do, and what moderators do, all at once.
    Power,
    /// Two long branches, each as many events as the fork is wide.
    Long,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Apart, Self::Joins, Self::Same, Self::Power, Self::Long];

    pub fn name(self) -> &'static str {
        match self {
            Self::Apart => "each a key of its own",
            Self::Joins => "each a new member",
            Self::Same => "all the same key",
            Self::Power => "power levels, bans and what follows",
            Self::Long => "two branches of so many events",
        }
    }

    /// The events, in the order in which they come. Every branch begins at the room's end.
    fn events(self, author: &mut Author, width: usize) -> Vec<ReceivedEvent> {
        if self == Self::Long {
            return long(author, width);
        }
        let (base, state) = ([author.end.clone().unwrap()], author.state.clone());
        (0..width)
            .map(|n| {
                let (name, new) = (member(n), format!("@new{n}:s{}.example", n % 20));
                let topic = (MODERATOR.to_owned(), "m.room.topic", String::new(), json!({"topic": n.to_string()}));
                let rename = (name.clone(), "m.room.member", name.clone(), renamed(n));
                let (sender, kind, key, content) = match (self, n % 4) {
                    (Self::Apart, _) | (Self::Power, 1) => rename,
                    (Self::Joins, _) => (new.clone(), "m.room.member", new, json!({"membership": "join"})),
                    (Self::Power, 0) => {
                        (OWNER.to_owned(), "m.room.power_levels", String::new(), author.levels(&name, 10))
                    }
                    // Who has just taken a new name on the branch before.
                    (Self::Power, 2) => {
                        (MODERATOR.to_owned(), "m.room.member", member(n - 1), json!({"membership": "ban"}))
                    }
                    _ => topic,
                };
                author.write(&base, &state, (&sender, kind, Some(&key)), &content)
            })
            .collect()
    }
}

fn renamed(n: usize) -> serde_json::Value {
    json!({"membership": "join", "displayname": format!("Number {n}")})
}

fn long(author: &mut Author, width: usize) -> Vec<ReceivedEvent> {
    let base = author.end.clone().unwrap();
    let mut branches = [(base.clone(), author.state.clone()), (base, author.state.clone())];
    let mut events = Vec::with_capacity(2 * width);
    for n in 0..width {
        for (side, (end, state)) in branches.iter_mut().enumerate() {
            let name = member(2 * n + side);
            // Every fourth event of both branches is about the same key.
            let (sender, kind, key) =
                if n % 4 == 3 { (MODERATOR, "m.room.topic", "") } else { (&*name, "m.room.member", &*name) };
            let content = if n % 4 == 3 { json!({"topic": format!("{side} {n}")}) } else { renamed(n) };
            let event = author.write(std::slice::from_ref(end), state, (sender, kind, Some(key)), &content);
            *end = event.pdu.event_id.clone();
            state.insert((kind.to_owned(), key.to_owned()), end.clone());
            events.push(event);
        }
    }
    events
}

/// What a fork cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Events received.
    pub events: u64,
    /// All of them together.
    pub all: Reads,
    /// The last one, which finds all the others.
    pub last: Reads,
    /// An event that follows as many of the branches as one can.
    pub meeting: Reads,
    /// How long all took.
    pub time: Duration,
}

/// Nothing is kept in memory but auth chains: whatever is looked at is read from the store and counted there.
pub fn no_caches() -> CacheSizes {
    CacheSizes { rooms: 16, event_bytes: 1, pdu_bytes: 1, node_bytes: 1, ..CacheSizes::default() }
}

/// Receives a fork of the room.
pub async fn fork(big: &BigRoom, kind: Kind, width: usize, caches: CacheSizes) -> Cost {
    let (open, room, mut author) = big.open(caches).await;
    let base = author.state.clone();
    let events = kind.events(&mut author, width);
    let count = events.len() as u64;
    let ends: Vec<OwnedEventId> = match kind {
        Kind::Long => events.iter().rev().take(2).map(|event| event.pdu.event_id.clone()).collect(),
        _ => events.iter().take(20).map(|event| event.pdu.event_id.clone()).collect(),
    };
    let meeting = author.write(&ends, &base, (OWNER, "m.room.message", None), &json!({"body": "met"}));

    let (begun, start) = (Instant::now(), open.store.reads());
    let (mut last, mut taken) = (start, 0);
    for event in events {
        last = open.store.reads();
        // What a ban on another branch overtakes is soft-failed: it is stored, and no branch any more.
        let _ = open.receive(&room, event).await;
        taken += 1;
    }
    assert_eq!(taken, count);
    let (all, time) = (open.store.reads() - start, begun.elapsed());
    let last = open.store.reads() - last;
    let before = open.store.reads();
    let _ = open.receive(&room, meeting).await;
    Cost { events: count, all, last, meeting: open.store.reads() - before, time }
}
