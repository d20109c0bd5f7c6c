//! What users, the network and the machines do.

use std::{sync::Arc, time::Duration};

use engine::Engine;
use rand::RngExt as _;
use ruma::EventId;
use serde_json::{Value, json};

use crate::sim::{LOCALS, Post, Sim};

impl Sim {
    pub(crate) fn some_name(&mut self) -> String {
        let names = self.names.clone();
        self.any(&names)
    }

    /// One thing, chosen at random.
    pub(crate) async fn act(&mut self) {
        match self.rng.random_range(0..100) {
            0..22 => self.talk(),
            22..35 => self.set_state(),
            35..47 => self.change_membership(),
            47..51 => self.change_levels().await,
            51..68 => self.write_entry().await,
            68..73 => self.redact().await,
            73..80 => self.break_link(),
            80..82 => self.split(),
            82..88 => self.heal_link(),
            88..90 => self.heal_links(),
            90..97 => self.crash().await,
            _ => self.set_clock(),
        }
    }

    /// A server that runs and one of its users.
    pub(crate) fn somebody(&mut self) -> Option<(String, &'static str, Arc<Engine>)> {
        let name = self.some_name();
        let local = LOCALS[[0, 0, 0, 0, 0, 0, 1, 1, 1, 2][self.rng.random_range(0..10)]];
        let server = self.server(&name);
        server.is_up().then(|| (name, local, server.engine()))
    }

    fn say(&mut self, post: Post) {
        let Some((name, local, engine)) = self.somebody() else { return };
        let user = self.user(local, &name);
        self.post(&name, engine, user, post);
    }

    fn talk(&mut self) {
        let body = format!("message {}", self.uid());
        for _ in 0..self.any(&[1, 1, 1, 5]) {
            self.say(Post::message("m.room.message", json!({"msgtype": "m.text", "body": body})));
        }
    }

    fn set_state(&mut self) {
        let value = self.uid();
        let rule = self.any(&["public", "public", "invite"]);
        // A ledger's room keeps its history open to those who come later.
        let visibility = self.any(&["shared", "world_readable"]);
        let key = self.any(&["one", "two", "three"]);
        let post = match self.rng.random_range(0..10) {
            0 | 1 => Post::state("m.room.name", "", json!({"name": value})),
            2 => Post::state("org.example.state", value.clone(), json!({"value": value})),
            3 | 4 => Post::state("org.example.other", key, json!({"value": value})),
            5 => Post::state("m.room.join_rules", "", json!({"join_rule": rule})),
            6 => Post::state("m.room.history_visibility", "", json!({"history_visibility": visibility})),
            _ => Post::state("m.room.topic", "", json!({"topic": value})),
        };
        self.say(post);
    }

    async fn change_levels(&mut self) {
        let Some((name, _, engine)) = self.somebody() else { return };
        let Ok(room) = engine.room(&self.room).await else { return };
        let Ok(Some(row)) = engine.current_event(room.num, "m.room.power_levels", "").await else { return };
        let mut content: Value = serde_json::from_str(row.content()).unwrap();
        let of = self.some_name();
        match self.rng.random_range(0..3) {
            0 => content["users"][format!("@b:{of}")] = self.any(&[0, 25, 50]).into(),
            1 => content["events"]["m.room.topic"] = self.any(&[0, 50]).into(),
            _ => content["events_default"] = self.any(&[0, 0, 10]).into(),
        }
        let user = self.user("a", &name);
        self.post(&name, engine, user, Post::state("m.room.power_levels", "", content));
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
            .map(|row| row.event_id().to_owned())
            .collect();
        if messages.is_empty() {
            return;
        }
        let target = EventId::parse(self.any(&messages)).unwrap();
        let user = self.user(local, &name);
        self.post(&name, engine, user, Post::redaction(&target));
    }

    fn break_link(&mut self) {
        let (one, other) = (self.some_name(), self.some_name());
        if one == other {
            return;
        }
        self.trace.add(format_args!("cut {one} {other}"));
        if self.rng.random_bool(0.3) {
            self.world.mesh.set_link(&one, &other, false);
        } else {
            self.world.cut(&one, &other);
        }
    }

    /// The servers fall apart into two groups.
    fn split(&mut self) {
        let names = self.names.clone();
        let (here, there): (Vec<String>, Vec<String>) = names.into_iter().partition(|_| self.rng.random_bool(0.5));
        self.trace.add(format_args!("split {here:?} {there:?}"));
        for (one, other) in here.iter().flat_map(|one| there.iter().map(move |other| (one, other))) {
            self.world.cut(one, other);
        }
    }

    fn heal_link(&mut self) {
        let (one, other) = (self.some_name(), self.some_name());
        self.trace.add(format_args!("heal {one} {other}"));
        self.world.heal(&one, &other);
    }

    fn heal_links(&mut self) {
        self.trace.add("heal all links");
        for (one, other) in self.names.iter().flat_map(|one| self.names.iter().map(move |other| (one, other))) {
            self.world.heal(one, other);
        }
    }

    async fn crash(&mut self) {
        let name = self.some_name();
        let server = self.server(&name);
        if server.is_up() {
            self.trace.add(format_args!("crash {name}"));
            server.crash();
            if self.rng.random_bool(0.5) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..5_000))).await;
        }
        self.trace.add(format_args!("start {name}"));
        server.start();
    }

    fn set_clock(&mut self) {
        let name = self.some_name();
        let offset = self.rng.random_range(-600_000..600_000);
        self.trace.add(format_args!("{name}'s clock is off by {offset} ms"));
        self.server(&name).clock.set_offset(offset);
    }
}
