//! What is compared in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::{EventRow, Verdict};
use expenses::Expenses;
use federation::testing::TestServer;
use http_kit::{AuthError, AuthFuture, Authenticator, RequestMeta};
use rand::{SeedableRng as _, rngs::StdRng};
use ruma::RoomVersionId;

use crate::{money::fold, sim::Sim};

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
    pub(crate) async fn compare(&self) -> Vec<String> {
        let mut wrong = self.lost_writes().await;
        let mut views = Vec::new();
        for name in &self.names {
            let server = self.server(name);
            wrong.extend(self.check(&server).await.into_iter().map(|finding| format!("{name}: {finding}")));
            let room = server.room(&self.room).await;
            let digest = expenses_of(&server).digest(&room).await;
            let digest = digest.unwrap_or_else(|error| format!("none: {error}"));
            let (state, ends) = (server.state(&self.room).await, server.extremities(&self.room).await);
            self.trace.detail(format_args!("{name} {digest} {ends:?} {state:?}"));
            views.push((name, View { state, ends, digest }));
        }
        let (first_name, first) = &views[0];
        for (name, view) in &views[1..] {
            wrong.extend(differences(first_name, first, name, view));
            if view.digest != first.digest {
                wrong.extend(self.entries_that_differ(first_name, name).await);
            }
        }
        wrong.extend(self.compare_events().await);
        wrong
    }

    /// Which entries of their ledgers two servers see in another way, and how each has their events.
    async fn entries_that_differ(&self, one: &str, other: &str) -> Vec<String> {
        let mut seen: BTreeMap<String, [String; 2]> = BTreeMap::new();
        for (at, name) in [one, other].into_iter().enumerate() {
            let server = self.server(name);
            let ledger = fold(&server.engine(), &self.room, &self.root).await;
            let rows = server.rows(&self.room).await;
            for row in rows.iter().filter(|row| row.event_type().starts_with("com.cliquepay.")) {
                let status = ledger.status(row.event_id());
                let how = format!(
                    "{status:?} {:?} outlier: {} redacted: {}{}",
                    row.verdict(),
                    row.outlier(),
                    row.is_redacted(),
                    redactions_of(&rows, row.event_id())
                );
                seen.entry(row.event_id().to_owned()).or_default()[at] = how;
            }
        }
        let differ = seen.into_iter().filter(|(_, [one, other])| one != other);
        differ.map(|(id, [here, there])| format!("  {id}: {one} {here}; {other} {there}")).collect()
    }

    /// What the server's own check finds.
    async fn check(&self, server: &TestServer) -> Vec<String> {
        let room = server.room(&self.room).await;
        let mut findings = match server.engine().check_room(room.num).await {
            Ok(report) => report.findings,
            Err(error) => {
                for row in server.rows(&self.room).await {
                    let what = (row.event_type(), row.verdict(), row.outlier(), row.pos(), row.depth(), row.arrival());
                    self.trace.add(format_args!("{}: {} {what:?}", server.name, row.event_id()));
                }
                vec![format!("it cannot be checked: {error}")]
            }
        };
        match expenses_of(server).check_room(room.num).await {
            Ok(of_ledger) => findings.extend(of_ledger),
            Err(error) => findings.push(format!("its ledger cannot be checked: {error}")),
        }
        findings
    }

    /// Whatever a server told its user that it has, it has.
    async fn lost_writes(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for name in &self.names {
            let rows = self.server(name).rows(&self.room).await;
            let part = rows.iter().filter(|row| row.verdict() == Verdict::Accepted && !row.outlier());
            let here: BTreeSet<&str> = part.map(|row| row.event_id()).collect();
            let acknowledged = self.acknowledged.lock();
            let of_server = acknowledged.iter().filter(|(of, _)| of == name).map(|(_, id)| id);
            let lost = of_server.filter(|id| !here.contains(id.as_str()));
            wrong.extend(lost.map(|id| format!("{name} acknowledged {id} and does not have it")));
        }
        wrong
    }

    /// What one server has as part of the room, no other rejected; and where all stayed, all have the same.
    async fn compare_events(&self) -> Vec<String> {
        let (mut kept, mut rejected) = (BTreeMap::new(), BTreeMap::new());
        let mut maybe_unsent: BTreeMap<String, bool> = BTreeMap::new();
        for name in &self.names {
            let rows = self.server(name).rows(&self.room).await;
            let ids = |refused: bool| -> BTreeSet<String> {
                let rows = rows.iter().filter(|row| (row.verdict() == Verdict::Rejected) == refused && !row.outlier());
                rows.map(|row| row.event_id().to_owned()).collect()
            };
            for row in rows.iter().filter(|row| !row.outlier() && row.event_type() == "m.room.member") {
                let own = row.sender().ends_with(&format!(":{name}"));
                let unsent = row.verdict() == Verdict::SoftFailed && !own && row.content().contains("\"invite\"");
                *maybe_unsent.entry(row.event_id().to_owned()).or_insert(true) &= unsent;
            }
            kept.insert(name, ids(false));
            rejected.insert(name, ids(true));
        }
        // An invitation goes to the invited user's server before its own has it; where that waits no longer, it never has it, and the
        // other, which soft-fails it, is alone with it.
        let sent = |id: &&String| !maybe_unsent.get(*id).copied().unwrap_or_default();
        let all: BTreeSet<&String> = kept.values().flatten().filter(sent).collect();
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

fn differences(first_name: &str, first: &View, name: &str, view: &View) -> Vec<String> {
    let mut wrong = Vec::new();
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
    wrong
}

fn expenses_of(server: &TestServer) -> Arc<Expenses> {
    let rng = Box::new(StdRng::seed_from_u64(1));
    Expenses::new(server.engine(), server.users(), Arc::new(Nobody), RoomVersionId::V12, rng)
}

/// The redactions of an event that a server has, and how.
fn redactions_of(rows: &[EventRow], target: &str) -> String {
    let about = |row: &&EventRow| row.event_type() == "m.room.redaction" && row.json().contains(target);
    let how = |row: &EventRow| format!(" by {} {:?} outlier: {}", row.event_id(), row.verdict(), row.outlier());
    rows.iter().filter(about).map(how).collect()
}
