//! State resolution on the fixtures that come with the source of ruma-state-res. They are not part of this repository: the test
//! finds the source of the resolved version through `cargo metadata`, and fails where it is not there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    process::Command,
    sync::{Arc, LazyLock},
};

use room::{
    Pdu, RoomVersionRules,
    dag::topological_order,
    pdu::SharedPdu,
    resolve::{StateMap, auth_chain, resolve},
};
use ruma::{EventId, OwnedEventId};
use serde_json::{Value, json};

type State = StateMap<OwnedEventId>;

/// The folder with ruma's state resolution tests.
static SOURCE: LazyLock<PathBuf> = LazyLock::new(|| {
    // Only this platform's dependencies are sure to be there.
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host])
        .current_dir(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let package = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == "ruma-state-res");
    let manifest = PathBuf::from(package.expect("ruma-state-res is resolved")["manifest_path"].as_str().unwrap());
    let folder = manifest.parent().unwrap().join("tests/it/resolve");
    assert!(folder.join("fixtures").is_dir(), "no fixtures in {}", folder.display());
    folder
});

struct Fixture {
    rules: RoomVersionRules,
    /// Each file's events, in its order.
    batches: Vec<Vec<SharedPdu>>,
    events: HashMap<OwnedEventId, SharedPdu>,
}

impl Fixture {
    fn load(files: &[&str]) -> Self {
        let read = |file: &&str| -> Vec<Value> {
            serde_json::from_str(&std::fs::read_to_string(SOURCE.join("fixtures").join(file)).unwrap()).unwrap()
        };
        let raw: Vec<Vec<Value>> = files.iter().map(read).collect();
        let version = raw[0][0]["content"]["room_version"].as_str().unwrap();
        let rules = common::rules(version);
        let parse = |event: &Value| {
            let id = EventId::parse(event["event_id"].as_str().unwrap()).unwrap();
            let mut event = event.clone();
            // The fixtures leave out what state resolution from version 2 on does not read.
            event["depth"] = json!(1);
            Arc::new(Pdu::from_json(&event.to_string(), id, &rules).unwrap())
        };
        let batches: Vec<Vec<SharedPdu>> = raw.iter().map(|batch| batch.iter().map(parse).collect()).collect();
        let events = batches.iter().flatten().map(|event| (event.event_id.clone(), event.clone())).collect();
        Self { rules, batches, events }
    }

    fn resolve(&self, states: &[State]) -> State {
        let fetch = |id: &EventId| self.events.get(id).cloned();
        let resolved = resolve(&self.rules, states, fetch, |state| auth_chain(state.values(), fetch)).unwrap();
        assert_eq!(common::reduced(&self.rules, states, fetch), resolved);
        resolved
    }

    /// As a server meets them: the state before each event from its predecessors, then all ends together.
    fn in_order(&self) -> State {
        let events: Vec<SharedPdu> = self.batches.concat();
        let order = topological_order(&events);
        assert_eq!(order.sorted.len(), events.len());
        let mut after: HashMap<&EventId, State> = HashMap::new();
        for position in order.sorted {
            let event = &events[position];
            let before: Vec<State> = event.prev_events.iter().map(|prev| after[&**prev].clone()).collect();
            let before = self.resolve(&before);
            let mut with = before.clone();
            with.insert(event.state_slot().unwrap(), event.event_id.clone());
            let allowed = self.resolve(&[before, with]);
            after.insert(&event.event_id, allowed);
        }
        let followed: Vec<&OwnedEventId> = events.iter().flat_map(|event| &event.prev_events).collect();
        let ends: Vec<State> = after
            .iter()
            .filter(|(id, _)| !followed.iter().any(|other| ***other == ***id))
            .map(|(_, state)| state.clone())
            .collect();
        self.resolve(&ends)
    }

    /// Every event as a state of its own, file by file.
    fn by_batch(&self) -> State {
        let mut state: Option<State> = None;
        for batch in &self.batches {
            let mut states: Vec<State> = state.into_iter().collect();
            states
                .extend(batch.iter().map(|event| State::from([(event.state_slot().unwrap(), event.event_id.clone())])));
            state = Some(self.resolve(&states));
        }
        state.unwrap()
    }

    /// The state as ruma's snapshots print it: in order, with contents.
    fn described(&self, state: &State) -> Value {
        let sorted: BTreeMap<_, _> = state.iter().collect();
        let describe = |((kind, key), id): (&(_, String), &OwnedEventId)| {
            let content: Value = serde_json::from_str(self.events[id].content.get()).unwrap();
            json!({"type": kind, "state_key": key, "event_id": id, "content": content})
        };
        sorted.into_iter().map(describe).collect()
    }
}

/// What ruma says the outcome is.
fn snapshot(name: &str) -> Value {
    let file = SOURCE.join("snapshots").join(format!("{name}@resolved_state.snap"));
    let text = std::fs::read_to_string(file).unwrap();
    let body = text.splitn(3, "---\n").nth(2).unwrap();
    serde_json::from_str(body).unwrap()
}

fn batches(name: &str, files: &[&str]) {
    let fixture = Fixture::load(files);
    let expected = snapshot(name);
    assert!(expected.as_array().unwrap().len() > 3);
    assert_eq!(fixture.described(&fixture.in_order()), expected, "{name}, in order");
    assert_eq!(fixture.described(&fixture.by_batch()), expected, "{name}, by batch");
}

fn states(name: &str, state_files: [&str; 2], events: &str) {
    let fixture = Fixture::load(&[events]);
    let load = |file: &str| -> State {
        let ids: Vec<OwnedEventId> =
            serde_json::from_str(&std::fs::read_to_string(SOURCE.join("fixtures").join(file)).unwrap()).unwrap();
        ids.into_iter().map(|id| (fixture.events[&id].state_slot().unwrap(), id)).collect()
    };
    let resolved = fixture.resolve(&state_files.map(load));
    assert_eq!(fixture.described(&resolved), snapshot(name), "{name}");
}

#[test]
fn rooms_as_they_are_created() {
    batches("minimal_private_chat", &["bootstrap-private-chat.json"]);
    batches("minimal_public_chat", &["bootstrap-public-chat.json"]);
}

#[test]
fn ties_are_broken_by_time() {
    batches("origin_server_ts_tiebreak", &["bootstrap-private-chat.json", "origin-server-ts-tiebreak.json"]);
}

#[test]
fn branches_that_contradict_each_other() {
    for (name, branches) in [
        ("ban_vs_power_levels", &["ban-vs-power-levels-alice.json", "ban-vs-power-levels-bob.json"][..]),
        ("topic_vs_power_levels", &["topic-vs-power-levels-alice.json", "topic-vs-power-levels-bob.json"]),
        ("power_levels_admin_vs_mod", &["power-levels-admin-vs-mod-alice.json", "power-levels-admin-vs-mod-bob.json"]),
        ("topic_vs_ban", &["topic-vs-ban-common.json", "topic-vs-ban-alice.json", "topic-vs-ban-bob.json"]),
        (
            "join_rules_vs_join",
            &["join-rules-vs-join-common.json", "join-rules-vs-join-alice.json", "join-rules-vs-join-ella.json"],
        ),
        ("concurrent_joins", &["concurrent-joins-charlie.json", "concurrent-joins-ella.json"]),
    ] {
        let mut files = vec!["bootstrap-public-chat.json"];
        files.extend_from_slice(branches);
        batches(name, &files);
    }
}

#[test]
fn version_12_starts_from_nothing_and_fills_the_gaps() {
    for (problem, state_files) in [("A", ["state-bob", "state-charlie"]), ("B", ["state-eve", "state-zara"])] {
        for (algorithm, version) in [("v2_0", "v11"), ("v2_1", "v12")] {
            let name = format!("msc4297_problem_{}_state_res_{algorithm}", problem.to_lowercase());
            let folder = format!("MSC4297-problem-{problem}");
            let [one, other] = state_files.map(|file| format!("{folder}/{file}.json"));
            states(&name, [&one, &other], &format!("{folder}/pdus-{version}.json"));
        }
    }
}

#[test]
fn every_fixture_is_used() {
    let used = include_str!("ruma_fixtures.rs");
    for entry in std::fs::read_dir(SOURCE.join("snapshots")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let name = file.split('@').next().unwrap();
        assert!(used.contains(name) || name.starts_with("msc4297_problem_"), "{name} is new");
    }
}
