//! ruma's state resolution fixtures, event by event through the engine. They are not part of this repository: the test finds the
//! source of the resolved version through `cargo metadata`, and fails where it is not there.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::{Arc, LazyLock},
};

use room::{Pdu, RoomVersionRules, check::ReceivedEvent, dag::topological_order};
use ruma::{EventId, RoomVersionId};
use serde_json::{Value, json};

use super::peer::Peer;
use crate::{
    Engine, EventNum, Received, Room,
    state_tree::{self, Key, NodeId},
    tables::NODES,
};

/// The folder with ruma's state resolution tests.
static SOURCE: LazyLock<PathBuf> = LazyLock::new(|| {
    let version = String::from_utf8(Command::new("rustc").arg("-vV").output().unwrap().stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Only this platform's dependencies are sure to be there.
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host])
        .current_dir(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "ruma-state-res").unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    manifest.parent().unwrap().join("tests/it/resolve")
});

fn read(file: &str) -> Vec<Value> {
    serde_json::from_str(&std::fs::read_to_string(SOURCE.join("fixtures").join(file)).unwrap()).unwrap()
}

/// What ruma says the outcome is: type, state key and event of each entry.
fn snapshot(name: &str) -> BTreeMap<(String, String), String> {
    let file = SOURCE.join("snapshots").join(format!("{name}@resolved_state.snap"));
    let text = std::fs::read_to_string(file).unwrap();
    let entries: Vec<Value> = serde_json::from_str(text.splitn(3, "---\n").nth(2).unwrap()).unwrap();
    assert!(entries.len() > 3);
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    entries.iter().map(|entry| ((text(entry, "type"), text(entry, "state_key")), text(entry, "event_id"))).collect()
}

fn event(value: &Value, rules: &RoomVersionRules) -> ReceivedEvent {
    let mut value = value.clone();
    // The fixtures leave out what state resolution from version 2 on does not read.
    value["depth"] = json!(1);
    let id = EventId::parse(value["event_id"].as_str().unwrap()).unwrap();
    let json = value.to_string();
    let pdu = Pdu::from_json(&json, id, rules).unwrap();
    ReceivedEvent { json, pdu, redacted: false, reference_hash: String::new() }
}

/// A room fed with the events of files; where they are not ordered by the graph, in one of two orders.
async fn fed(peer: &Peer, files: &[&str], reverse: bool) -> Arc<Room> {
    let values: Vec<Value> = files.iter().flat_map(|file| read(file)).collect();
    let version = RoomVersionId::try_from(values[0]["content"]["room_version"].as_str().unwrap()).unwrap();
    let rules = version.rules().unwrap();
    let mut events: Vec<ReceivedEvent> = values.iter().map(|value| event(value, &rules)).collect();
    let room = peer.engine.receive_create(events[0].clone()).await.unwrap();
    if !reverse {
        let pdus: Vec<Pdu> = events.iter().map(|event| event.pdu.clone()).collect();
        let order = topological_order(&pdus);
        events = order.sorted.iter().map(|n| events[*n].clone()).collect();
    }
    // From the end of the list, whatever can be taken: what cannot waits for the next round.
    while !events.is_empty() {
        let (before, mut waiting) = (events.len(), Vec::new());
        let next: Vec<ReceivedEvent> = if reverse { events.into_iter().rev().collect() } else { events };
        for event in next {
            if let Received::Missing(_) = peer.engine.receive(&room, event.clone()).await.unwrap() {
                waiting.push(event);
            }
        }
        assert!(waiting.len() < before, "{} events cannot be taken", waiting.len());
        if reverse {
            waiting.reverse();
        }
        events = waiting;
    }
    room
}

async fn entries(
    engine: &Engine,
    room: &Room,
    state: Vec<(String, String, EventNum)>,
) -> BTreeMap<(String, String), String> {
    let mut out = BTreeMap::new();
    for (kind, key, num) in state {
        out.insert((kind, key), engine.event(room.num, num).await.unwrap().event_id().to_owned());
    }
    out
}

#[tokio::test]
async fn branches_resolve_as_in_rumas_snapshots() {
    for (name, files) in [
        ("minimal_private_chat", &["bootstrap-private-chat.json"][..]),
        ("minimal_public_chat", &["bootstrap-public-chat.json"]),
        ("origin_server_ts_tiebreak", &["bootstrap-private-chat.json", "origin-server-ts-tiebreak.json"]),
        (
            "ban_vs_power_levels",
            &["bootstrap-public-chat.json", "ban-vs-power-levels-alice.json", "ban-vs-power-levels-bob.json"],
        ),
        (
            "topic_vs_power_levels",
            &["bootstrap-public-chat.json", "topic-vs-power-levels-alice.json", "topic-vs-power-levels-bob.json"],
        ),
        (
            "power_levels_admin_vs_mod",
            &[
                "bootstrap-public-chat.json",
                "power-levels-admin-vs-mod-alice.json",
                "power-levels-admin-vs-mod-bob.json",
            ],
        ),
        (
            "topic_vs_ban",
            &[
                "bootstrap-public-chat.json",
                "topic-vs-ban-common.json",
                "topic-vs-ban-alice.json",
                "topic-vs-ban-bob.json",
            ],
        ),
        (
            "join_rules_vs_join",
            &[
                "bootstrap-public-chat.json",
                "join-rules-vs-join-common.json",
                "join-rules-vs-join-alice.json",
                "join-rules-vs-join-ella.json",
            ],
        ),
        (
            "concurrent_joins",
            &["bootstrap-public-chat.json", "concurrent-joins-charlie.json", "concurrent-joins-ella.json"],
        ),
    ] {
        for reverse in [false, true] {
            let peer = Peer::new("example.com");
            let room = fed(&peer, files, reverse).await;
            assert_eq!(peer.state(&room).await, snapshot(name), "{name}, reverse: {reverse}");
            peer.assert_sound(&room).await;
        }
    }
}

#[tokio::test]
async fn version_12_starts_from_nothing_and_fills_the_gaps() {
    for (problem, states) in [("A", ["state-bob", "state-charlie"]), ("B", ["state-eve", "state-zara"])] {
        for (algorithm, version) in [("v2_0", "v11"), ("v2_1", "v12")] {
            let folder = format!("MSC4297-problem-{problem}");
            let peer = Peer::new("example.com");
            let room = fed(&peer, &[&format!("{folder}/pdus-{version}.json")], false).await;
            let mut writer = peer.engine.write(&room).await.unwrap();
            let mut roots: Vec<NodeId> = Vec::new();
            for state in states {
                let mut state_entries = Vec::new();
                for id in read(&format!("{folder}/{state}.json")) {
                    let id = EventId::parse(id.as_str().unwrap()).unwrap();
                    let row = peer.row(&room, &id).await;
                    let num = peer.engine.find_event(room.num, id.as_str()).await.unwrap().unwrap();
                    state_entries.push((Key::new(&*row.event_type(), &*row.state_key().unwrap()), num));
                }
                let built = state_tree::build(state_entries).unwrap();
                for (id, node) in built.new_nodes {
                    writer.stage(NODES.put(&(room.num, id.0), &node));
                }
                roots.push(built.root);
            }
            let name = format!("msc4297_problem_{}_state_res_{algorithm}", problem.to_lowercase());
            for _ in 0..2 {
                roots.reverse();
                let applied = writer.branches().unwrap().resolve(&roots).await.unwrap();
                for (id, node) in applied.new_nodes {
                    writer.stage(NODES.put(&(room.num, id.0), &node));
                }
                let found = state_tree::entries(&writer.branches().unwrap().nodes(), applied.root).await.unwrap();
                let found =
                    found.into_iter().map(|(key, num)| (key.ty.to_string(), key.state_key.to_string(), num)).collect();
                assert_eq!(entries(&peer.engine, &room, found).await, snapshot(&name), "{name}");
            }
        }
    }
}
