//! What users, the network and the machines do.

use std::{sync::Arc, time::Duration};

use engine::{Engine, Verdict};
use ledger::{Entry, Ledger, Source};
use rand::RngExt as _;
use ruma::OwnedRoomId;
use serde_json::{Value, json};

use crate::sim::{Sim, join, send};

/// Entries read at once.
const ENTRIES: usize = 1000;

/// The ledger as a server has it.
pub(crate) async fn fold(engine: &Engine, room: &OwnedRoomId, root: &str) -> Ledger {
    let room = engine.room(room).await.unwrap();
    let (rows, _) = engine.listed_events(room.num, 0, ENTRIES).await.unwrap();
    let entries = rows.iter().filter(|(_, row)| row.verdict() == Verdict::Accepted).map(|(_, row)| {
        let kind = row.event_type();
        let source = Source {
            event_id: row.event_id(),
            sender: row.sender(),
            kind: &kind,
            origin_server_ts: row.origin_server_ts(),
            redacted: row.is_redacted(),
        };
        Entry::parse_json(&source, row.content())
    });
    Ledger::fold(root, entries)
}

impl Sim {
    fn some_name(&mut self) -> String {
        self.names[self.rng.random_range(0..self.names.len())].clone()
    }

    /// One thing, chosen at random.
    pub(crate) async fn act(&mut self) {
        match self.rng.random_range(0..100) {
            0..30 => self.talk(),
            30..45 => self.set_state(),
            45..55 => self.change_membership(),
            55..60 => self.change_levels().await,
            60..75 => self.write_entry().await,
            75..80 => self.redact().await,
            80..88 => self.break_link(),
            88..93 => self.heal_link(),
            93..98 => self.crash().await,
            _ => self.set_clock(),
        }
    }

    /// A server that runs and one of its users.
    fn somebody(&mut self) -> Option<(String, &'static str, Arc<Engine>)> {
        let name = self.some_name();
        let local = if self.rng.random_bool(0.7) { "a" } else { "b" };
        let server = self.server(&name);
        server.is_up().then(|| (name, local, server.engine()))
    }

    fn post(&mut self, kind: &'static str, state_key: Option<String>, content: Value) {
        let Some((name, local, engine)) = self.somebody() else { return };
        let (room, user) = (self.room.clone(), self.user(local, &name));
        let what = format!("{user} {kind} {content}");
        self.by_the_way(what, async move {
            let sent = send(&engine, &room, &user, (kind, state_key.as_deref()), &content, None).await;
            sent.map(|id| id.to_string()).map_err(|error| error.to_string())
        });
    }

    fn talk(&mut self) {
        let body = format!("message {}", self.uid());
        for _ in 0..[1, 1, 1, 5][self.rng.random_range(0..4)] {
            self.post("m.room.message", None, json!({"msgtype": "m.text", "body": body}));
        }
    }

    fn set_state(&mut self) {
        let value = self.uid();
        match self.rng.random_range(0..4) {
            0 => self.post("m.room.name", Some(String::new()), json!({"name": value})),
            1 => self.post("org.example.state", Some(value.clone()), json!({"value": value})),
            _ => self.post("m.room.topic", Some(String::new()), json!({"topic": value})),
        }
    }

    /// Whom things happen to: the first users stay where every server is to stay.
    fn change_membership(&mut self) {
        let (target_of, targets) = (self.some_name(), if self.stay { &["b"][..] } else { &["a", "b"] });
        let local = targets[self.rng.random_range(0..targets.len())];
        let target = self.user(local, &target_of);
        let is_creator = target == "@a:s1";
        let server = self.server(&target_of);
        match self.rng.random_range(0..10) {
            0..5 if server.is_up() => {
                let room = self.room.clone();
                self.by_the_way(format!("{target} joins"), async move {
                    join(&server, &room, &target).await.map(|()| "joined".to_owned())
                });
            }
            5 if !is_creator && server.is_up() => {
                let (room, engine) = (self.room.clone(), server.engine());
                self.by_the_way(format!("{target} leaves"), async move {
                    let member = ("m.room.member", Some(target.as_str()));
                    let left = send(&engine, &room, &target, member, &json!({"membership": "leave"}), None).await;
                    left.map(|id| id.to_string()).map_err(|error| error.to_string())
                });
            }
            6..8 if !is_creator => {
                self.post("m.room.member", Some(target.to_string()), json!({"membership": "leave", "reason": "kick"}));
            }
            8 if !is_creator => self.post("m.room.member", Some(target.to_string()), json!({"membership": "ban"})),
            _ => {}
        }
    }

    async fn change_levels(&mut self) {
        let Some((name, _, engine)) = self.somebody() else { return };
        let Ok(room) = engine.room(&self.room).await else { return };
        let Ok(Some(row)) = engine.current_event(room.num, "m.room.power_levels", "").await else { return };
        let mut content: Value = serde_json::from_str(row.content()).unwrap();
        let of = self.some_name();
        match self.rng.random_range(0..3) {
            0 => content["users"][format!("@b:{of}")] = [0, 25, 50][self.rng.random_range(0..3)].into(),
            1 => content["events"]["m.room.topic"] = [0, 50][self.rng.random_range(0..2)].into(),
            _ => content["events_default"] = [0, 0, 10][self.rng.random_range(0..3)].into(),
        }
        let (room, user) = (self.room.clone(), self.user("a", &name));
        self.by_the_way(format!("{user} levels {content}"), async move {
            let sent = send(&engine, &room, &user, ("m.room.power_levels", Some("")), &content, None).await;
            sent.map(|id| id.to_string()).map_err(|error| error.to_string())
        });
    }

    async fn write_entry(&mut self) {
        let Some((name, local, engine)) = self.somebody() else { return };
        if engine.room(&self.room).await.is_err() {
            return;
        }
        let user = self.user(local, &name);
        let ledger = fold(&engine, &self.room, &self.root).await;
        let views: Vec<String> = ledger
            .views()
            .filter(|view| view.entry.kind == "com.cliquepay.expense")
            .map(|view| view.entry.id.to_string())
            .collect();
        let (kind, content) = if !views.is_empty() && self.rng.random_bool(0.2) {
            let target = &views[self.rng.random_range(0..views.len())];
            ("com.cliquepay.void", self.entry(&ledger, json!({"target": target, "over": []})))
        } else {
            ("com.cliquepay.expense", self.expense(&ledger, user.as_str()))
        };
        let room = self.room.clone();
        self.by_the_way(format!("{user} {kind}"), async move {
            let sent = send(&engine, &room, &user, (kind, None), &content, None).await;
            sent.map(|id| id.to_string()).map_err(|error| error.to_string())
        });
    }

    pub(crate) fn expense(&mut self, ledger: &Ledger, payer: &str) -> Value {
        let amount = format!("{}.{:02}", self.rng.random_range(1..100), self.rng.random_range(0..100));
        let other = format!("@b:{}", self.some_name());
        let content = json!({
            "uid": self.uid(), "title": "Dinner", "date": "2026-01-01", "currency": "EUR", "amount": amount,
            "paid": [{"who": payer, "amount": amount}],
            "split": {"method": "equal"},
            "owed": [{"who": other, "amount": amount}],
        });
        self.entry(ledger, content)
    }

    fn entry(&self, ledger: &Ledger, mut content: Value) -> Value {
        content["open"] = self.root.clone().into();
        content["prev"] = ledger.prev().iter().map(|id| Value::from(&**id)).collect();
        content["m.relates_to"] = json!({"rel_type": "m.reference", "event_id": self.create});
        content
    }

    async fn redact(&mut self) {
        let Some((name, local, engine)) = self.somebody() else { return };
        let server = self.server(&name);
        if engine.room(&self.room).await.is_err() {
            return;
        }
        let rows = server.rows(&self.room).await;
        let messages: Vec<_> = rows
            .iter()
            .filter(|row| !row.is_state() && row.event_id() != self.root)
            .map(|row| row.event_id())
            .collect();
        if messages.is_empty() {
            return;
        }
        let target = ruma::EventId::parse(messages[self.rng.random_range(0..messages.len())]).unwrap();
        let (room, user) = (self.room.clone(), self.user(local, &name));
        self.by_the_way(format!("{user} redacts {target}"), async move {
            let redaction = ("m.room.redaction", None);
            let sent = send(&engine, &room, &user, redaction, &json!({}), Some(&target)).await;
            sent.map(|id| id.to_string()).map_err(|error| error.to_string())
        });
    }

    fn break_link(&mut self) {
        let (one, other) = (self.some_name(), self.some_name());
        if one == other {
            return;
        }
        self.trace.add(format!("{} cut {one} {other}", self.now()));
        if self.rng.random_bool(0.3) {
            self.world.mesh.set_link(&one, &other, false);
        } else {
            self.world.cut(&one, &other);
        }
    }

    fn heal_link(&mut self) {
        let (one, other) = (self.some_name(), self.some_name());
        self.trace.add(format!("{} heal {one} {other}", self.now()));
        self.world.heal(&one, &other);
    }

    async fn crash(&mut self) {
        let name = self.some_name();
        let server = self.server(&name);
        if server.is_up() {
            self.trace.add(format!("{} crash {name}", self.now()));
            server.crash();
            if self.rng.random_bool(0.5) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..5_000))).await;
        }
        self.trace.add(format!("{} start {name}", self.now()));
        server.start();
    }

    fn set_clock(&mut self) {
        let name = self.some_name();
        let offset = self.rng.random_range(-600_000..600_000);
        self.trace.add(format!("{} {name}'s clock is off by {offset} ms", self.now()));
        self.server(&name).clock.set_offset(offset);
    }
}
