//! Everything heals, and everybody says a last word.

use std::time::Duration;

use ruma::UserId;
use serde_json::json;

use crate::{
    money::fold,
    net,
    sim::{Post, Sim, join, send},
};

const MINUTE: Duration = Duration::from_secs(60);
/// How often something is tried before it is a failure.
const TRIES: usize = 10;
/// The users of each server who have a last word.
const SPEAKERS: [&str; 2] = ["a", "b"];

impl Sim {
    /// Heals everything, lets everybody say a last word, and compares; gives what is wrong.
    pub(crate) async fn end(&mut self) -> Vec<String> {
        self.trace.add("all heals");
        self.world.heal_all();
        net::begin(&self.world, None, &self.net_rng, &self.trace);
        for name in &self.names {
            let server = self.server(name);
            if !server.is_up() {
                server.start();
            }
        }
        for task in std::mem::take(&mut self.tasks) {
            // How it ended stands in the trace; a panic is noticed where it is.
            let _ = task.await;
        }
        tokio::time::sleep(120 * MINUTE).await;
        let mut wrong = self.gather().await;
        if wrong.is_empty() {
            self.last_words().await;
            wrong = self.compare().await;
        }
        wrong
    }

    /// Everybody comes back who speaks in the end, the first users before others.
    async fn gather(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (local, name) in self.speakers() {
            wrong.extend(self.come_back(&name, &self.user(local, &name)).await);
        }
        wrong
    }

    /// Two users of each server.
    fn speakers(&self) -> Vec<(&'static str, String)> {
        SPEAKERS.into_iter().flat_map(|local| self.names.iter().map(move |name| (local, name.clone()))).collect()
    }

    async fn come_back(&self, name: &str, user: &UserId) -> Option<String> {
        let (server, first, creator) = (self.server(name), self.server("s1"), self.user("a", "s1"));
        if first.content(&self.room, "m.room.member", user.as_str()).await["membership"] == "ban" {
            send(&first.engine(), &self.room, &creator, &Post::member(user, "leave")).await.unwrap();
        }
        let mut last = String::new();
        for _ in 0..TRIES {
            tokio::time::sleep(10 * MINUTE).await;
            // What crossed it may have closed the room again.
            if first.content(&self.room, "m.room.join_rules", "").await["join_rule"] != "public" {
                let public = Post::state("m.room.join_rules", "", json!({"join_rule": "public"}));
                send(&first.engine(), &self.room, &creator, &public).await.unwrap();
            }
            match join(&server, &self.room, user).await {
                Ok(()) => last.clear(),
                Err(error) => last = error,
            }
            let there = first.content(&self.room, "m.room.member", user.as_str()).await;
            if last.is_empty() && there["membership"] == "join" {
                break;
            }
        }
        (!last.is_empty()).then(|| format!("{user} cannot come back: {last}"))
    }

    /// Each server in turn cites what it has, so that what some of them refused is known to all and the graph has one end. Two users
    /// do it: an entry that another server soft-failed counts there once somebody else than its sender has cited it.
    async fn last_words(&mut self) {
        tokio::time::sleep(30 * MINUTE).await;
        for round in 0..2 {
            for (local, name) in self.speakers() {
                let (engine, user) = (self.server(&name).engine(), self.user(local, &name));
                let ledger = fold(&engine, &self.room, &self.root).await;
                let words = self.expense(&ledger, user.as_str());
                let sent = send(&engine, &self.room, &user, &words).await;
                self.trace.add(format_args!("last words {round} of {user}: {sent:?}"));
                self.acknowledged.lock().extend(sent.ok().map(|id| (name, id)));
                tokio::time::sleep(30 * MINUTE).await;
            }
        }
        for name in &self.names {
            let server = self.server(name);
            let room = server.room(&self.room).await;
            let fetched = server.federation().fetch_ledger(&room).await;
            self.trace.add(format_args!("{name} fetches the ledger: {fetched:?}"));
        }
        let (engine, user) = (self.server("s1").engine(), self.user("a", "s1"));
        let end = Post::message("m.room.message", json!({"body": "the end"}));
        let sent = send(&engine, &self.room, &user, &end).await;
        self.trace.add(format_args!("the end: {sent:?}"));
        tokio::time::sleep(60 * MINUTE).await;
    }
}
