#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use futures::executor::block_on;
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    apply::{apply_shaped, build_shaped},
    codec::{Node, Step, decode, encode, step},
    shape::{Shape, rank},
    *,
};

type Model = BTreeMap<Key, u32>;

fn small(max_weight: u32, hashed_levels: u8) -> Shape {
    Shape { max_weight, hashed_levels }
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::STANDARD),
        (20_u32..200, prop_oneof![Just(0_u8), Just(1), Just(2), Just(HASHED_LEVELS)])
            .prop_map(|(max_weight, hashed_levels)| small(max_weight, hashed_levels)),
    ]
}

/// Few enough keys that changes meet again, of very different lengths.
fn keys() -> impl Strategy<Value = Key> + Clone {
    let ty = prop_oneof![Just("m.room.member"), Just("m.room.name"), Just("m"), Just(""), Just("é")];
    let state_key = prop_oneof![
        1 => Just(String::new()),
        10 => (0..150_u32).prop_map(|n| format!("@u{n}:example.org")),
        2 => (0..5_usize, "[ab\u{0}é]{0,3}").prop_map(|(n, tail)| "x".repeat(n * 40) + &tail),
    ];
    (ty, state_key).prop_map(|(ty, state_key)| Key::new(ty, state_key))
}

fn batches() -> impl Strategy<Value = Vec<Vec<(Key, Option<u32>)>>> {
    let change = (keys(), prop_oneof![3 => (0..4_u32).prop_map(Some), 2 => Just(None)]);
    vec(prop_oneof![vec(change.clone(), 0..3), vec(change, 0..150)], 1..8)
}

fn change_model(model: &mut Model, changes: &[(Key, Option<u32>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => model.insert(key.clone(), *value),
            None => model.remove(key),
        };
    }
}

fn rebuilt(shape: Shape, model: &Model) -> NodeId {
    build_shaped(shape, model.clone()).unwrap().root
}

fn model_diff(a: &Model, b: &Model) -> Vec<Change> {
    let all: std::collections::BTreeSet<&Key> = a.keys().chain(b.keys()).collect();
    let changes = all.into_iter().map(|key| Change {
        event_type: key.ty.to_string(),
        state_key: key.state_key.to_string(),
        old: a.get(key).copied(),
        new: b.get(key).copied(),
    });
    changes.filter(|change| change.old != change.new).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn equals_a_map_whatever_the_history(shape in shapes(), batches in batches()) {
        block_on(async {
            let nodes = MemoryNodes::default();
            let (mut root, mut model) = (NodeId::EMPTY, Model::new());
            for changes in &batches {
                let applied = apply_shaped(shape, &nodes, root, changes).await.unwrap();
                root = nodes.commit(&applied);
                change_model(&mut model, changes);
                prop_assert_eq!(root, rebuilt(shape, &model));
                prop_assert_eq!(entries(&nodes, root).await.unwrap(), model.clone().into_iter().collect::<Vec<_>>());
            }
            let asked: Vec<Key> = batches.iter().flatten().map(|(key, _)| key.clone()).collect();
            let pairs: Vec<(&str, &str)> = asked.iter().map(|key| (&*key.ty, &*key.state_key)).collect();
            let many = get_many(&nodes, root, &pairs).await.unwrap();
            for (key, found) in asked.iter().zip(many) {
                prop_assert_eq!(found, model.get(key).copied());
                prop_assert_eq!(get(&nodes, root, &key.ty, &key.state_key).await.unwrap(), found);
            }
            Ok(())
        })?;
    }

    #[test]
    fn one_change_at_a_time_in_any_order(shape in shapes(), model in proptest::collection::btree_map(keys(), 0..9_u32, 1..120), seed: u64) {
        block_on(async {
            let nodes = MemoryNodes::default();
            let mut order: Vec<_> = model.iter().collect();
            order.sort_by_key(|(key, _)| rank(seed as u8, key) ^ seed);
            let mut root = NodeId::EMPTY;
            for (key, value) in &order {
                let applied = apply_shaped(shape, &nodes, root, &[((*key).clone(), Some(**value))]).await.unwrap();
                root = nodes.commit(&applied);
            }
            prop_assert_eq!(root, rebuilt(shape, &model));
            let mut left = model.clone();
            order.sort_by_key(|(key, _)| rank(seed as u8 ^ 1, key) ^ seed);
            for (key, _) in &order {
                let applied = apply_shaped(shape, &nodes, root, &[((*key).clone(), None)]).await.unwrap();
                root = nodes.commit(&applied);
                left.remove(*key);
                prop_assert_eq!(root, rebuilt(shape, &left));
            }
            prop_assert_eq!(root, NodeId::EMPTY);
            Ok(())
        })?;
    }

    #[test]
    fn new_nodes_are_those_that_are_missing(shape in shapes(), first in vec((keys(), any::<u32>()), 0..200), changes in vec((keys(), any::<Option<u32>>()), 0..20)) {
        block_on(async {
            let nodes = MemoryNodes::default();
            let before = build_shaped(shape, first).unwrap();
            nodes.commit(&before);
            let applied = apply_shaped(shape, &nodes, before.root, &changes).await.unwrap();
            nodes.commit(&applied);
            let reachable = reachable(&nodes, applied.root).await.unwrap();
            for (id, bytes) in &applied.new_nodes {
                prop_assert!(reachable.contains(id), "a node that nothing refers to");
                prop_assert_eq!(*id, NodeId::of(bytes));
            }
            nodes.retain(|id| reachable.contains(id));
            prop_assert_eq!(nodes.len(), reachable.len());
            entries(&nodes, applied.root).await.unwrap();
            Ok(())
        })?;
    }

    #[test]
    fn diff_equals_the_maps_diff(shape in shapes(), first in vec((keys(), 0..9_u32), 0..200), changes in vec((keys(), proptest::option::of(0..9_u32)), 0..30), unrelated in vec((keys(), 0..9_u32), 0..200)) {
        block_on(async {
            let nodes = MemoryNodes::default();
            let before: Model = first.into_iter().collect();
            let a = nodes.commit(&build_shaped(shape, before.clone()).unwrap());
            let mut after = before.clone();
            change_model(&mut after, &changes);
            let b = nodes.commit(&apply_shaped(shape, &nodes, a, &changes).await.unwrap());
            prop_assert_eq!(diff(&nodes, a, b).await.unwrap(), model_diff(&before, &after));
            prop_assert_eq!(diff(&nodes, b, a).await.unwrap(), model_diff(&after, &before));
            let other: Model = unrelated.into_iter().collect();
            let c = nodes.commit(&build_shaped(shape, other.clone()).unwrap());
            prop_assert_eq!(diff(&nodes, b, c).await.unwrap(), model_diff(&after, &other));
            Ok(())
        })?;
    }

    #[test]
    fn entries_with_heavy_intervals_end_nodes(shape in shapes(), all in proptest::collection::btree_set(keys(), 0..150), level in 0..3_u8) {
        let entries: Vec<Entry> = all.into_iter().map(|key| Entry { key, payload: Payload::Value(0) }).collect();
        let ranks: Vec<u64> = entries.iter().map(|entry| rank(level, &entry.key)).collect();
        let interval = |at: usize| {
            let left = (0..=at).rev().take_while(|&i| ranks[i] >= ranks[at]);
            let right = (at..ranks.len()).take_while(|&i| ranks[i] >= ranks[at]).skip(1);
            left.chain(right).map(|i| u64::from(shape::weight(&entries[i]))).sum::<u64>()
        };
        let expected: Vec<bool> = (0..ranks.len()).map(|at| interval(at) > u64::from(shape.max_weight)).collect();
        let hashed = small(shape.max_weight, HASHED_LEVELS);
        prop_assert_eq!(hashed.ends(level, &entries, shape::Bounds::default()), expected);
    }

    #[test]
    fn ranges_and_pages(shape in shapes(), all in vec((keys(), any::<u32>()), 0..200), limit in 1..40_usize) {
        block_on(async {
            let nodes = MemoryNodes::default();
            let model: Model = all.into_iter().collect();
            let root = nodes.commit(&build_shaped(shape, model.clone()).unwrap());
            for ty in ["m.room.member", "m", "", "é", "zz"] {
                let expected: Vec<(String, u32)> =
                    model.iter().filter(|(key, _)| &*key.ty == ty).map(|(key, value)| (key.state_key.to_string(), *value)).collect();
                prop_assert_eq!(&range(&nodes, root, ty).await.unwrap(), &expected);
                let mut paged = Vec::new();
                loop {
                    let after = paged.last().map(|(key, _): &(String, u32)| key.clone());
                    let page = range_page(&nodes, root, ty, after.as_deref(), limit).await.unwrap();
                    let is_end = page.len() < limit;
                    paged.extend(page);
                    if is_end { break; }
                }
                prop_assert_eq!(&paged, &expected);
            }
            Ok(())
        })?;
    }

    #[test]
    fn nodes_survive_their_bytes(all in proptest::collection::btree_map(keys(), any::<u32>(), 1..40), level in 0..3_u8, asked in keys()) {
        let payload = |value: u32| match level {
            0 => Payload::Value(value),
            _ => Payload::Child(NodeId::of(&value.to_be_bytes())),
        };
        let node = Node { level, entries: all.iter().map(|(key, value)| Entry { key: key.clone(), payload: payload(*value) }).collect() };
        let bytes = encode(level, &node.entries);
        let bound: u32 = node.entries.iter().map(shape::weight).sum();
        prop_assert!(bytes.len() <= 1 + bound as usize, "weights bound the bytes");
        prop_assert_eq!(&decode(&bytes, Some(level)).unwrap(), &node);
        prop_assert!(decode(&bytes, Some(level + 1)).is_err());
        let expected = match (level, node.entries.iter().find(|entry| entry.key >= asked)) {
            (0, found) => Step::Found(found.filter(|entry| entry.key == asked).map(|_| all[&asked])),
            (_, Some(Entry { payload: Payload::Child(id), .. })) => Step::Down(level - 1, *id),
            _ => Step::Found(None),
        };
        prop_assert_eq!(step(&bytes, Some(level), &asked.ty, &asked.state_key).unwrap(), expected);
    }

    #[test]
    fn damaged_nodes_are_errors_not_panics(all in proptest::collection::btree_map(keys(), any::<u32>(), 1..40), at: Index, byte: u8, cut: Index, noise in vec(any::<u8>(), 0..100)) {
        let whole: Vec<Entry> = all.into_iter().map(|(key, value)| Entry { key, payload: Payload::Value(value) }).collect();
        let mut bytes = encode(0, &whole).to_vec();
        for damaged in [&bytes[..cut.index(bytes.len())], &noise] {
            let decoded = decode(damaged, None);
            let looked_up = step(damaged, None, "m.room.member", "@u7:example.org");
            prop_assert!(decoded.is_err() || looked_up.is_ok());
        }
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(node) = decode(&bytes, None) {
            prop_assert!(node.entries.is_sorted_by(|a, b| a.key < b.key), "what decodes is in order");
        }
    }
}

#[test]
fn damaged_trees_are_errors() {
    let key = |name: &str| Key::new("t", name);
    let leaf = |name: &str| encode(0, &[Entry { key: key(name), payload: Payload::Value(1) }]);
    let nodes = MemoryNodes::default();
    let store = |bytes: Bytes| {
        let id = NodeId::of(&bytes);
        nodes.insert(id, bytes);
        id
    };
    let child = |name: &str, id: NodeId| Entry { key: key(name), payload: Payload::Child(id) };
    let (a, b) = (store(leaf("a")), store(leaf("b")));
    let misnamed = store(encode(1, &[child("a", b), child("c", b)]));
    let skipping = store(encode(2, &[child("a", a)]));
    let dangling = store(encode(1, &[child("a", NodeId([7; 16])), child("b", b)]));
    let looping = NodeId([9; 16]);
    nodes.insert(looping, encode(3, &[child("a", looping), child("b", looping)]));
    block_on(async {
        let change = [(key("a"), Some(5))];
        for root in [misnamed, skipping, looping] {
            assert!(matches!(apply(&nodes, root, &change).await, Err(TreeError::Corrupt(_))), "{root:?}");
        }
        for root in [skipping, looping] {
            assert!(matches!(get(&nodes, root, "t", "a").await, Err(TreeError::Corrupt(_))));
            assert!(matches!(entries(&nodes, root).await, Err(TreeError::Corrupt(_))));
            assert!(matches!(diff(&nodes, root, a).await, Err(TreeError::Corrupt(_))));
            assert!(matches!(range(&nodes, root, "t").await, Err(TreeError::Corrupt(_))));
        }
        assert!(matches!(get(&nodes, dangling, "t", "a").await, Err(TreeError::Missing(_))));
        assert!(matches!(reachable(&nodes, looping).await, Err(TreeError::Corrupt(_))));
    });
}

#[test]
fn keys_that_are_too_long_are_refused() {
    let long = Key::new("t", "x".repeat(MAX_KEY_PART_BYTES + 1));
    assert!(matches!(build([(long.clone(), 1)]), Err(TreeError::KeyTooLong(1025))));
    let nodes = MemoryNodes::default();
    let refused = block_on(apply(&nodes, NodeId::EMPTY, &[(long, Some(1))]));
    assert!(matches!(refused, Err(TreeError::KeyTooLong(1025))));
}

#[test]
fn the_encoding_stays_as_it_is() {
    let applied = build([(Key::new("m.room.create", ""), 1), (Key::new("m.room.member", "@a:x"), 300)]).unwrap();
    let bytes = b"\x00\x01\x0dm.room.create\x00\x00\x01\x08\x06member\x00\x04@a:x\xac\x02";
    assert_eq!(applied.new_nodes, [(applied.root, Bytes::from_static(bytes))]);
    assert_eq!(format!("{:?}", applied.root), "NodeId(f94e35efab3bdba8d7c8895bae7bcf4b)");
}

fn member(n: u32) -> Key {
    Key::new("m.room.member", format!("@user{n}:server{}.example.org", n % 97))
}

/// A room of 20,000 members with the usual other entries.
fn large_room() -> Model {
    let singles = ["create", "join_rules", "power_levels", "name", "topic", "history_visibility"];
    let singles = singles.iter().map(|name| Key::new(format!("m.room.{name}"), ""));
    singles.chain((0..20_000).map(member)).zip(0..).collect()
}

async fn height(nodes: &MemoryNodes, root: NodeId) -> usize {
    let level = decode(&nodes.load(&root).await.unwrap(), None).unwrap().level;
    usize::from(level) + 1
}

#[test]
fn one_change_in_a_large_room_touches_few_nodes() {
    let nodes = MemoryNodes::default();
    let mut model = large_room();
    let applied = build(model.clone()).unwrap();
    let mut root = nodes.commit(&applied);
    let bytes: usize = applied.new_nodes.iter().map(|(_, bytes)| bytes.len()).sum();
    let average = bytes / applied.new_nodes.len();
    assert!((700..1400).contains(&average), "nodes have {average} bytes on average");
    block_on(async {
        let height = height(&nodes, root).await;
        assert!(height <= 4, "{height} levels");
        let (mut written, mut read) = (0, 0);
        for n in 0..300_u32 {
            let key = member(n * 67 + n % 2 * 20_000);
            let value = (n % 3 != 0).then_some(1_000_000 + n);
            nodes.take_reads();
            let applied = apply(&nodes, root, &[(key.clone(), value)]).await.unwrap();
            let reads = nodes.take_reads();
            assert!(applied.new_nodes.len() <= 2 * height + 2, "{} nodes written", applied.new_nodes.len());
            assert!(reads <= 4 * height + 2, "{reads} nodes read");
            written += applied.new_nodes.len();
            read += reads;
            root = nodes.commit(&applied);
            change_model(&mut model, &[(key, value)]);
        }
        assert!(written <= 300 * (height + 1), "{written} nodes written by 300 changes");
        assert!(read <= 300 * (height + 2), "{read} nodes read by 300 changes");
        assert_eq!(root, build(model).unwrap().root);
        nodes.take_reads();
        get(&nodes, root, "m.room.member", "@user67:server67.example.org").await.unwrap();
        assert_eq!(nodes.take_reads(), height);
    });
}

#[test]
fn comparing_large_rooms_reads_what_differs() {
    let nodes = MemoryNodes::default();
    let model = large_room();
    let a = nodes.commit(&build(model.clone()).unwrap());
    block_on(async {
        let height = height(&nodes, a).await;
        for round in 0..40_u32 {
            let changes: Vec<(Key, Option<u32>)> = (0..5_u32)
                .map(|n| (member(round * 331 + n * 4001 + n % 2 * 20_000), (n != 2).then_some(7_000_000 + n)))
                .collect();
            let b = nodes.commit(&apply(&nodes, a, &changes).await.unwrap());
            let mut after = model.clone();
            change_model(&mut after, &changes);
            nodes.take_reads();
            assert_eq!(diff(&nodes, a, b).await.unwrap(), model_diff(&model, &after));
            let reads = nodes.take_reads();
            assert!(reads <= 5 * 2 * (height + 2), "{reads} nodes read for five changes");
        }
    });
}

#[test]
fn marking_snapshots_one_after_the_other_reads_what_differs() {
    let nodes = MemoryNodes::default();
    let a = nodes.commit(&build(large_room()).unwrap());
    block_on(async {
        let b = nodes.commit(&apply(&nodes, a, &[(member(5), Some(1))]).await.unwrap());
        let mut seen = reachable(&nodes, a).await.unwrap();
        let height = height(&nodes, a).await;
        nodes.take_reads();
        mark(&nodes, b, &mut seen).await.unwrap();
        assert!(nodes.take_reads() <= 2 * height);
        assert!(reachable(&nodes, b).await.unwrap().is_subset(&seen));
        assert_eq!(nodes.len(), seen.len());
    });
}

/// Keys whose ranks on the lowest level rise with the keys for long stretches: nearly every one ends a node.
fn rising_keys(count: u64, stretch: u64) -> Vec<Key> {
    let slot = u64::MAX / stretch;
    let find = |n: u64| {
        let mut tries = (0..).map(|nonce: u32| Key::new("t", format!("{n:06}-{nonce}")));
        tries.find(|key| rank(0, key) / slot == n % stretch).unwrap()
    };
    (0..count).map(find).collect()
}

fn check_sizes(applied: &Applied, max_weight: u32) -> usize {
    let mut levels = 0;
    for (_, bytes) in &applied.new_nodes {
        let node = decode(bytes, None).unwrap();
        let bound = 1 + max_weight + node.entries.last().map_or(0, shape::weight);
        assert!(bytes.len() <= bound as usize && bytes.len() <= MAX_NODE_BYTES, "{} bytes", bytes.len());
        levels = levels.max(usize::from(node.level) + 1);
    }
    levels
}

#[test]
fn chosen_keys_make_neither_large_nodes_nor_deep_trees_nor_cascades() {
    let keys = rising_keys(900, 300);
    let mut model: Model = keys.iter().cloned().zip(0..).collect();
    let applied = build(model.clone()).unwrap();
    let leaves = applied.new_nodes.iter().filter(|(_, bytes)| bytes[0] == 0).count();
    assert!(leaves > 300, "the attack is one: {leaves} leaves");
    let levels = check_sizes(&applied, MAX_WEIGHT);
    assert!(levels <= 5, "{levels} levels");
    let nodes = MemoryNodes::default();
    let mut root = nodes.commit(&applied);
    block_on(async {
        for key in keys.iter().step_by(37) {
            for value in [None, Some(5)] {
                let applied = apply(&nodes, root, &[(key.clone(), value)]).await.unwrap();
                assert!(applied.new_nodes.len() <= 3 * levels, "{} nodes written", applied.new_nodes.len());
                root = nodes.commit(&applied);
                change_model(&mut model, &[(key.clone(), value)]);
                assert_eq!(root, build(model.clone()).unwrap().root);
            }
        }
    });
}

#[test]
fn levels_that_do_not_shrink_are_bounded() {
    // On the lowest level every entry ends a node; the levels above are filled in order.
    let model: Model = rising_keys(300, 300).into_iter().zip(0..).collect();
    let applied = build_shaped(small(1, 1), model).unwrap();
    let levels = check_sizes(&applied, 60);
    assert!(levels <= 1 + 9 + 1, "{levels} levels for 300 entries, two a node at least");
}

#[test]
fn the_longest_keys_make_bounded_nodes() {
    let long = |n: u32| Key::new("t".repeat(1020) + &format!("{:04}", n / 3), "k".repeat(1020) + &format!("{n:04}"));
    let applied = build((0..200).map(|n| (long(n), n))).unwrap();
    check_sizes(&applied, MAX_WEIGHT);
    let nodes = MemoryNodes::default();
    let root = nodes.commit(&applied);
    let found = block_on(get(&nodes, root, &long(77).ty, &long(77).state_key)).unwrap();
    assert_eq!(found, Some(77));
}
