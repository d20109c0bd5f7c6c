//! Everything heals; what is then compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use engine::Verdict;
use expenses::Expenses;
use federation::testing::TestServer;
use http_kit::{AuthError, AuthFuture, Authenticator, RequestMeta};
use rand::{SeedableRng as _, rngs::StdRng};
use ruma::RoomVersionId;
use serde_json::json;

use crate::{
    acts::fold,
    sim::{Sim, join, send},
};

const MINUTE: Duration = Duration::from_secs(60);
/// How often something is tried before it is a failure.
const TRIES: usize = 10;

/// Nobody has a token.
struct Nobody;

impl Authenticator for Nobody {
    fn authenticate<'a>(&'a self, _: &'a str, _: RequestMeta<'a>) -> AuthFuture<'a> {
        Box::pin(std::future::ready(Err(AuthError::UnknownToken { soft_logout: false })))
    }
}

/// What servers must agree on.
#[derive(Debug, PartialEq, Eq)]
struct View {
    state: BTreeMap<(String, String), String>,
    ends: BTreeSet<String>,
    digest: String,
}

impl Sim {
    /// Heals everything, lets everybody say a last word, and compares; gives what is wrong.
    pub(crate) async fn end(&mut self) -> Vec<String> {
        self.trace.add(format!("{} all heals", self.now()));
        self.world.heal_all();
        for name in &self.names {
            let server = self.server(name);
            if !server.is_up() {
                server.start();
            }
        }
        for task in std::mem::take(&mut self.tasks) {
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

    /// Everybody comes back.
    async fn gather(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let (first, creator) = (self.server("s1"), self.user("a", "s1"));
        for name in self.names.clone() {
            let (server, user) = (self.server(&name), self.user("a", &name));
            let member = ("m.room.member", Some(user.as_str()));
            if first.content(&self.room, "m.room.member", user.as_str()).await["membership"] == "ban" {
                let leave = json!({"membership": "leave"});
                send(&first.engine(), &self.room, &creator, member, &leave, None).await.unwrap();
            }
            let mut last = String::new();
            for _ in 0..TRIES {
                tokio::time::sleep(10 * MINUTE).await;
                match join(&server, &self.room, &user).await {
                    Ok(()) => last.clear(),
                    Err(error) => last = error,
                }
                let there = first.content(&self.room, "m.room.member", user.as_str()).await;
                if last.is_empty() && there["membership"] == "join" {
                    break;
                }
            }
            if !last.is_empty() {
                wrong.push(format!("{user} cannot come back: {last}"));
            }
        }
        wrong
    }

    /// Each server in turn cites what it has, so that what some of them refused is known to all and the graph has one end.
    async fn last_words(&mut self) {
        tokio::time::sleep(30 * MINUTE).await;
        for round in 0..2 {
            for name in self.names.clone() {
                let (engine, user) = (self.server(&name).engine(), self.user("a", &name));
                let ledger = fold(&engine, &self.room, &self.root).await;
                let content = self.expense(&ledger, user.as_str());
                let sent = send(&engine, &self.room, &user, ("com.cliquepay.expense", None), &content, None).await;
                self.trace.add(format!("{} last words {round} of {user}: {sent:?}", self.now()));
                tokio::time::sleep(30 * MINUTE).await;
            }
        }
        for name in &self.names {
            let server = self.server(name);
            let room = server.room(&self.room).await;
            let fetched = server.federation().fetch_ledger(&room).await;
            self.trace.add(format!("{} {name} fetches the ledger: {fetched:?}", self.now()));
        }
        let (engine, user) = (self.server("s1").engine(), self.user("a", "s1"));
        let content = json!({"body": "the end"});
        let sent = send(&engine, &self.room, &user, ("m.room.message", None), &content, None).await;
        self.trace.add(format!("{} the end: {sent:?}", self.now()));
        tokio::time::sleep(60 * MINUTE).await;
    }

    async fn compare(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut views = Vec::new();
        for name in &self.names {
            let server = self.server(name);
            let expenses = expenses_of(&server);
            let room = server.room(&self.room).await;
            match server.engine().check_room(room.num).await {
                Ok(report) => wrong.extend(report.findings.iter().map(|finding| format!("{name}: {finding}"))),
                Err(error) => {
                    wrong.push(format!("{name} cannot be checked: {error}"));
                    for row in server.rows(&self.room).await {
                        let what =
                            (row.event_type(), row.verdict(), row.outlier(), row.pos(), row.depth(), row.arrival());
                        self.trace.add(format!("{name}: {} {what:?}", row.event_id()));
                    }
                }
            }
            let findings = expenses.check_room(room.num).await.unwrap();
            wrong.extend(findings.iter().map(|finding| format!("{name}: {finding}")));
            let digest = expenses.digest(&room).await.map_err(|error| error.to_string()).unwrap();
            let (state, ends) = (server.state(&self.room).await, server.extremities(&self.room).await);
            views.push((name, View { state, ends, digest }));
        }
        let (first_name, first) = &views[0];
        for (name, view) in &views[1..] {
            for (key, id) in first.state.iter().filter(|(key, id)| view.state.get(*key) != Some(id)) {
                wrong.push(format!("state {key:?}: {first_name} {id}, {name} {:?}", view.state.get(key)));
            }
            for (key, id) in view.state.iter().filter(|(key, _)| !first.state.contains_key(*key)) {
                wrong.push(format!("state {key:?}: {first_name} nothing, {name} {id}"));
            }
            if view.ends != first.ends {
                wrong.push(format!("ends: {first_name} {:?}, {name} {:?}", first.ends, view.ends));
            }
            if view.digest != first.digest {
                wrong.push(format!("the ledgers of {first_name} and {name} differ"));
            }
        }
        wrong.extend(self.compare_events().await);
        wrong
    }

    /// What one server has as part of the room, no other rejected; and where all stayed, all have the same.
    async fn compare_events(&self) -> Vec<String> {
        let (mut kept, mut rejected) = (BTreeMap::new(), BTreeMap::new());
        for name in &self.names {
            let rows = self.server(name).rows(&self.room).await;
            let ids = |refused: bool| -> BTreeSet<String> {
                let rows = rows.iter().filter(|row| (row.verdict() == Verdict::Rejected) == refused && !row.outlier());
                rows.map(|row| row.event_id().to_owned()).collect()
            };
            kept.insert(name, ids(false));
            rejected.insert(name, ids(true));
        }
        let all: BTreeSet<&String> = kept.values().flatten().collect();
        let mut wrong = Vec::new();
        for (name, refused) in &rejected {
            wrong.extend(refused.iter().filter(|id| all.contains(id)).map(|id| format!("{name} alone rejected {id}")));
        }
        if self.stay {
            for (name, kept) in &kept {
                let missing = all.iter().filter(|id| !kept.contains(**id) && !self.old.contains(**id));
                wrong.extend(missing.map(|id| format!("{name} does not have {id}")));
            }
        }
        wrong
    }
}

fn expenses_of(server: &TestServer) -> Arc<Expenses> {
    let rng = Box::new(StdRng::seed_from_u64(1));
    Expenses::new(server.engine(), server.users(), Arc::new(Nobody), RoomVersionId::V12, rng)
}
