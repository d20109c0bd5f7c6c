//! The random history: who does what in which room.

use std::collections::BTreeMap;

use http::Method;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use tests::client::{Client, ClientError, room_path};
use tests::http::encode;

/// What can happen to a membership.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Invite,
    Join,
    Leave,
    Kick,
    Ban,
    Unban,
}

/// What the history is made of. The observer is actor 1.
pub struct World {
    pub actors: Vec<Client>,
    pub rooms: Vec<String>,
    messages: BTreeMap<String, Vec<String>>,
    /// What last happened to an actor's membership of a room.
    standing: BTreeMap<(String, usize), Change>,
    pub done: usize,
    pub refused: usize,
    txn: usize,
}

fn pick<'a, T>(rng: &mut StdRng, items: &'a [T]) -> &'a T {
    items.choose(rng).expect("something to choose from")
}

impl World {
    pub fn new(actors: Vec<Client>) -> Self {
        Self {
            actors,
            rooms: Vec::new(),
            messages: BTreeMap::new(),
            standing: BTreeMap::new(),
            done: 0,
            refused: 0,
            txn: 0,
        }
    }

    /// A refusal is part of a random history; a server's failure is not.
    fn note<T>(&mut self, what: &str, result: Result<T, ClientError>) -> Option<T> {
        match result {
            Ok(value) => {
                self.done += 1;
                Some(value)
            }
            Err(error) if error.status().is_some_and(|status| (400..500).contains(&status)) => {
                assert_ne!(error.status(), Some(429), "rate limits are on");
                assert_ne!(error.errcode(), Some("M_UNRECOGNIZED"), "{error}");
                self.refused += 1;
                None
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }

    pub async fn create_room(&mut self, rng: &mut StdRng) {
        let body = json!({
            "preset": "private_chat",
            "name": format!("room {}", self.rooms.len()),
            "room_version": pick(rng, &["10", "11", "12"]),
            "invite": [self.actors[1].user_id(), self.actors[2].user_id()],
            "power_level_content_override": {"state_default": 0},
            "initial_state": [{
                "type": "m.room.history_visibility", "state_key": "",
                "content": {"history_visibility": visibility(rng)}
            }],
        });
        let room = self.actors[0].create_room(&body).await.expect("createRoom");
        for who in [1, 2] {
            self.standing.insert((room.clone(), who), Change::Invite);
        }
        self.rooms.push(room);
    }

    fn txn(&mut self) -> String {
        self.txn += 1;
        format!("t{}", self.txn)
    }

    async fn send(&mut self, room: &str, actor: usize) {
        let (txn, text) = (self.txn(), format!("message {}", self.txn));
        let result = self.actors[actor].send_text(room, &txn, &text).await;
        if let Some(id) = self.note("send", result) {
            self.messages.entry(room.to_owned()).or_default().push(id);
        }
    }

    async fn state(&mut self, rng: &mut StdRng, room: &str, actor: usize) {
        let number = self.txn;
        let (kind, key, content) = match rng.random_range(0..4) {
            0 => ("m.room.topic", String::new(), json!({"topic": format!("topic {number}")})),
            1 => ("m.room.name", String::new(), json!({"name": format!("name {number}")})),
            _ => ("test.state", format!("key {}", rng.random_range(0..4)), json!({"value": number})),
        };
        let result = self.actors[actor].set_state(room, kind, &key, &content).await;
        if let Some(id) = self.note("state", result)
            && kind != "m.room.name"
        {
            // Redacted now and then, as messages are.
            self.messages.entry(room.to_owned()).or_default().push(id);
        }
    }

    async fn redact(&mut self, rng: &mut StdRng, room: &str, actor: usize) {
        let Some(ids) = self.messages.get(room) else {
            return;
        };
        let (target, txn) = (pick(rng, ids).clone(), self.txn());
        let result = self.actors[actor].redact(room, &target, &txn).await;
        self.note("redact", result);
    }

    /// A change that the membership as it is allows; ten in a hundred ignore it and are refused more often than not.
    async fn membership(&mut self, rng: &mut StdRng, room: &str) {
        // The observer's own comings and goings are what is hardest for a server.
        let own = rng.random_range(0..100) < 60;
        let who = if own { 1 } else { rng.random_range(2..self.actors.len()) };
        let current = self.standing.get(&(room.to_owned(), who)).copied();
        let current = if rng.random_range(0..100) < 10 { None } else { current };
        let changes: &[Change] = match current {
            Some(Change::Join) => &[Change::Leave, Change::Leave, Change::Kick, Change::Ban],
            Some(Change::Invite) => &[Change::Join, Change::Join, Change::Join, Change::Leave, Change::Kick],
            Some(Change::Ban) => &[Change::Unban],
            Some(_) => &[Change::Invite, Change::Invite, Change::Invite, Change::Ban],
            None => &[Change::Join, Change::Invite, Change::Kick, Change::Unban],
        };
        let change = *pick(rng, changes);
        let user = self.actors[who].user_id().to_owned();
        let admin = &self.actors[0];
        let result = match change {
            Change::Invite => admin.invite(room, &user).await,
            Change::Join => self.actors[who].join(room).await,
            Change::Leave => self.actors[who].leave(room).await,
            Change::Kick => admin.kick(room, &user).await,
            Change::Ban => admin.ban(room, &user).await,
            Change::Unban => admin.unban(room, &user).await,
        };
        if self.note("membership", result).is_some() {
            self.standing.insert((room.to_owned(), who), change);
        }
    }

    /// Whether the observer is inside, or the server tells whoever joins what was done before.
    fn may_touch(&self, room: &str) -> bool {
        let inside = self.standing.get(&(room.to_owned(), 1)) == Some(&Change::Join);
        inside || !forgets_absence()
    }

    /// Somebody who has joined, mostly.
    fn actor(&self, rng: &mut StdRng, room: &str) -> usize {
        let joined = |who: &usize| *who == 0 || self.standing.get(&(room.to_owned(), *who)) == Some(&Change::Join);
        let inside: Vec<usize> = (0..self.actors.len()).filter(joined).collect();
        if rng.random_range(0..100) < 5 {
            return rng.random_range(0..self.actors.len());
        }
        *pick(rng, &inside)
    }

    async fn put(&mut self, actor: usize, path: &str, body: &Value) {
        let result = self.actors[actor].request(Method::PUT, path, Some(body)).await;
        self.note(path, result);
    }

    async fn receipt(&mut self, rng: &mut StdRng, room: &str, actor: usize) {
        let Some(target) = self.messages.get(room).and_then(|ids| ids.last().cloned()) else {
            return;
        };
        let kind = pick(rng, &["m.read", "m.read", "m.read.private"]);
        let path = room_path(room, &format!("receipt/{kind}/{}", encode(&target)));
        let result = self.actors[actor].request(Method::POST, &path, Some(&json!({}))).await;
        self.note("receipt", result);
    }

    async fn account_data(&mut self, rng: &mut StdRng, room: &str) {
        let user = encode(self.actors[1].user_id());
        let (number, key) = (self.txn, rng.random_range(0..3));
        let room = encode(room);
        let path = match rng.random_range(0..3) {
            0 => format!("/_matrix/client/v3/user/{user}/account_data/test.global{key}"),
            1 => format!("/_matrix/client/v3/user/{user}/rooms/{room}/account_data/test.room{key}"),
            _ => format!("/_matrix/client/v3/user/{user}/rooms/{room}/tags/u.tag{key}"),
        };
        let body = if path.contains("/tags/") { json!({"order": 0.25}) } else { json!({"value": number}) };
        self.put(1, &path, &body).await;
    }

    /// One thing happens, or is refused.
    pub async fn step(&mut self, rng: &mut StdRng) {
        self.txn += 1;
        let room = pick(rng, &self.rooms).clone();
        let actor = self.actor(rng, &room);
        match rng.random_range(0..100) {
            0..42 => self.send(&room, actor).await,
            42..54 => self.state(rng, &room, actor).await,
            54..78 => self.membership(rng, &room).await,
            78..84 => self.redact(rng, &room, actor).await,
            84..96 if !self.may_touch(&room) => self.send(&room, actor).await,
            84..91 => self.receipt(rng, &room, actor).await,
            91..96 => self.account_data(rng, &room).await,
            96..98 => {
                let path = format!("/_matrix/client/v3/profile/{}/displayname", encode(self.actors[actor].user_id()));
                let body = json!({"displayname": format!("name {}", self.txn)});
                self.put(actor, &path, &body).await;
            }
            _ if self.rooms.len() < 6 => self.create_room(rng).await,
            _ => self.send(&room, actor).await,
        }
    }
}

/// `TEST_VISIBILITY=shared`: the control shows state events that are current even where their time is hidden.
fn visibility(rng: &mut StdRng) -> &'static str {
    let drawn = pick(rng, &["shared", "joined", "invited", "shared"]);
    if std::env::var("TEST_VISIBILITY").as_deref() == Ok("shared") {
        return "shared";
    }
    drawn
}

/// `TEST_AWAY=0`: the control forgets some receipts and account data of a room that one left and joined again.
pub fn forgets_absence() -> bool {
    std::env::var("TEST_AWAY").as_deref() == Ok("0")
}
