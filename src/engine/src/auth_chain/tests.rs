#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::{FutureExt, executor::block_on};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// An auth graph in memory, with a count of loaded events.
#[derive(Debug, Clone, Default)]
struct Graph {
    events: BTreeMap<u32, AuthEvent>,
    shared: BTreeSet<u32>,
    loaded: Arc<AtomicUsize>,
}

impl AuthParents for Graph {
    fn load<'a>(&'a self, ids: &'a [u32]) -> BoxFuture<'a, Result<Vec<Option<AuthEvent>>, StoreError>> {
        self.loaded.fetch_add(ids.len(), Ordering::Relaxed);
        async move { Ok(ids.iter().map(|id| self.events.get(id).cloned()).collect()) }.boxed()
    }
}

impl SharedState for Graph {
    fn children(&self, id: u32, below: Option<u32>, limit: usize) -> BoxFuture<'_, Result<Vec<u32>, StoreError>> {
        let citing = self.events.iter().rev().filter(|(_, event)| event.parents.contains(&id)).map(|(id, _)| *id);
        let page: Vec<u32> = citing.filter(|id| below.is_none_or(|below| *id < below)).take(limit).collect();
        self.loaded.fetch_add(page.len(), Ordering::Relaxed);
        std::future::ready(Ok(page)).boxed()
    }

    fn contains<'a>(&'a self, ids: &'a [u32]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        async move { Ok(ids.iter().map(|id| self.shared.contains(id)).collect()) }.boxed()
    }
}

impl Graph {
    fn add(&mut self, id: u32, parents: Vec<u32>, is_member: bool) {
        self.events.insert(id, AuthEvent { parents, is_member });
    }

    fn take_loaded(&self) -> usize {
        self.loaded.swap(0, Ordering::Relaxed)
    }

    /// The union of the chains, by the definition.
    fn naive(&self, ids: &[u32]) -> Option<BTreeSet<u32>> {
        let mut chain = BTreeSet::new();
        let mut open = Vec::new();
        for id in ids {
            open.extend(&self.events.get(id)?.parents);
        }
        while let Some(id) = open.pop() {
            if chain.insert(id) {
                open.extend(&self.events.get(&id)?.parents);
            }
        }
        Some(chain)
    }

    fn naive_difference(&self, sets: &[Vec<u32>]) -> Option<BTreeSet<u32>> {
        let chains: Vec<BTreeSet<u32>> = sets.iter().map(|set| self.naive(set)).collect::<Option<_>>()?;
        let union: BTreeSet<u32> = chains.iter().flatten().copied().collect();
        Some(union.into_iter().filter(|id| !chains.iter().all(|chain| chain.contains(id))).collect())
    }
}

fn set(bitmap: Option<RoaringBitmap>) -> Option<BTreeSet<u32>> {
    bitmap.map(|bitmap| bitmap.into_iter().collect())
}

/// Graphs of up to 60 events. Numbers say nothing about ancestry; a few graphs have missing events or a cycle.
fn graphs() -> impl Strategy<Value = Graph> {
    let event = (vec(any::<Index>(), 0..4), any::<bool>());
    let damage = prop_oneof![4 => vec(any::<Index>(), 0), 1 => vec(any::<Index>(), 1..3)];
    let cycle = prop_oneof![4 => Just(None), 1 => any::<(Index, Index)>().prop_map(Some)];
    (vec(event, 1..60), Just(()).prop_perturb(|(), mut rng| rng.random::<u32>() | 1), damage, cycle).prop_map(
        |(events, factor, damage, cycle)| {
            let number = |n: usize| (n as u32).wrapping_mul(factor) % 100_003;
            let mut graph = Graph::default();
            for (n, (parents, is_member)) in events.iter().enumerate() {
                let parents = if n == 0 { Vec::new() } else { parents.iter().map(|p| number(p.index(n))).collect() };
                graph.add(number(n), parents, *is_member);
            }
            let numbers: Vec<u32> = graph.events.keys().copied().collect();
            if let Some((from, to)) = cycle {
                let to = *to.get(&numbers);
                graph.events.get_mut(from.get(&numbers)).unwrap().parents.push(to);
            }
            for index in damage {
                graph.events.remove(index.get(&numbers));
            }
            graph
        },
    )
}

fn pick(graph: &Graph, picks: &[Index]) -> Vec<u32> {
    let numbers: Vec<u32> = graph.events.keys().copied().collect();
    if numbers.is_empty() { Vec::new() } else { picks.iter().map(|pick| *pick.get(&numbers)).collect() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn chains_are_the_naive_sets(graph in graphs(), asked in vec(vec(any::<Index>(), 0..8), 1..8), bytes in prop_oneof![Just(0_u64), Just(1000), Just(1 << 20)]) {
        let cache = ChainCache::new(bytes);
        let chains = AuthChains::new(1, &graph, &cache);
        block_on(async {
            for ids in asked.iter().map(|picks| pick(&graph, picks)) {
                prop_assert_eq!(set(chains.chain(&ids).await.unwrap()), graph.naive(&ids));
            }
            Ok(())
        })?;
    }

    #[test]
    fn differences_are_the_naive_ones(graph in graphs(), warm in vec(any::<Index>(), 0..4), sets in vec(vec(any::<Index>(), 0..6), 0..4)) {
        let cache = ChainCache::new(1 << 20);
        let chains = AuthChains::new(1, &graph, &cache);
        let sets: Vec<Vec<u32>> = sets.iter().map(|picks| pick(&graph, picks)).collect();
        block_on(async {
            for id in pick(&graph, &warm) {
                chains.chain(&[id]).await.unwrap();
            }
            prop_assert_eq!(set(chains.difference(&sets).await.unwrap()), graph.naive_difference(&sets));
            Ok(())
        })?;
    }

    #[test]
    fn the_shared_state_may_be_left_out(mut graph in graphs(), sets in vec(vec(any::<Index>(), 0..6), 1..4), shared in vec(any::<Index>(), 0..6)) {
        let shared = pick(&graph, &shared);
        let sets: Vec<Vec<u32>> = sets.iter().map(|picks| pick(&graph, picks)).collect();
        let full: Vec<Vec<u32>> = sets.iter().map(|set| [set.as_slice(), &shared].concat()).collect();
        graph.shared = shared.into_iter().collect();
        // Where events are missing the full chains may be absent although those of the conflicted events are not.
        let Some(expected) = graph.naive_difference(&full) else { return Ok(()) };
        let cache = ChainCache::new(1 << 20);
        let chains = AuthChains::new(1, &graph, &cache);
        block_on(async {
            let candidates = chains.difference(&sets).await.unwrap().unwrap();
            prop_assert_eq!(set(chains.less_shared(candidates, &graph).await.unwrap()), Some(expected));
            Ok(())
        })?;
    }

    #[test]
    fn subgraphs_are_the_naive_ones(graph in graphs(), warm in vec(any::<Index>(), 0..6), conflicted in vec(any::<Index>(), 0..8)) {
        let conflicted = pick(&graph, &conflicted);
        let cache = ChainCache::new(1 << 20);
        let chains = AuthChains::new(1, &graph, &cache);
        let bitmap: RoaringBitmap = conflicted.iter().copied().collect();
        let expected = graph.naive(&conflicted).map(|below| {
            let leads = |id: &u32| graph.naive(&[*id]).unwrap().iter().any(|below| conflicted.contains(below));
            below.into_iter().filter(leads).chain(conflicted.iter().copied()).collect::<BTreeSet<u32>>()
        });
        block_on(async {
            for id in pick(&graph, &warm) {
                chains.chain(&[id]).await.unwrap();
            }
            prop_assert_eq!(set(chains.conflicted_subgraph(&bitmap).await.unwrap()), expected);
            Ok(())
        })?;
    }
}

/// A room of 20,000 members under 500 power levels, each change by a different member.
fn large_room() -> Graph {
    let mut graph = Graph::default();
    graph.add(0, vec![], false);
    graph.add(1, vec![0], true);
    graph.add(2, vec![0, 1], false);
    let mut levels = 2;
    for n in 3..20_000 {
        if n % 40 == 0 {
            graph.add(n, vec![0, levels, n - 1], false);
            levels = n;
        } else {
            graph.add(n, vec![0, levels], true);
        }
    }
    graph
}

#[test]
fn deep_chains_do_not_recurse() {
    let mut graph = Graph::default();
    graph.add(0, vec![], false);
    for n in 1..200_000 {
        graph.add(n, vec![n - 1], n % 3 == 0);
    }
    let cache = ChainCache::new(1 << 20);
    let chains = AuthChains::new(1, &graph, &cache);
    let chain = block_on(chains.chain(&[199_999])).unwrap().unwrap();
    assert_eq!(chain.len(), 199_999);
    let chain = block_on(chains.chain(&[150_000, 120_001])).unwrap().unwrap();
    assert_eq!(chain.max(), Some(149_999));
    assert_eq!(chain.len(), 150_000);
}

#[test]
fn walks_are_bounded() {
    let graph = large_room();
    let cache = ChainCache::new(1 << 20);
    let chains = AuthChains::new(1, &graph, &cache).with_max_walk(100);
    block_on(async {
        assert!(matches!(chains.chain(&[19_999]).await, Err(ChainError::TooLong(100))));
        let conflicted = [19_999].into();
        assert!(matches!(chains.conflicted_subgraph(&conflicted).await, Err(ChainError::TooLong(100))));
        assert!(matches!(chains.less_shared([2].into(), &graph).await, Err(ChainError::TooLong(100))));
        assert_eq!(chains.chain(&[41]).await.unwrap().unwrap().len(), 5);
    });
}

#[test]
fn known_chains_are_not_walked_again() {
    let graph = large_room();
    let cache = ChainCache::new(1 << 20);
    let chains = AuthChains::new(1, &graph, &cache);
    let all: Vec<u32> = (19_000..20_000).collect();
    block_on(async {
        let expected = graph.naive(&all);
        assert_eq!(set(chains.chain(&all).await.unwrap()), expected);
        assert!(graph.take_loaded() > 1_900, "the first time the members and the power levels are walked");
        assert_eq!(set(chains.chain(&all).await.unwrap()), expected);
        let again = graph.take_loaded();
        assert!(again <= 1_100, "{again} events loaded the second time");
        chains.chain(&[19_999]).await.unwrap();
        assert!(graph.take_loaded() <= 2, "a member's chain is its parents'");
        chains.chain(&[19_999]).await.unwrap();
        assert_eq!(graph.take_loaded(), 0);
        assert!(AuthChains::new(2, &graph, &cache).chain(&[19_999]).await.unwrap().is_some());
        assert!(graph.take_loaded() > 900, "rooms share nothing");
        cache.forget(1);
        chains.chain(&[19_999]).await.unwrap();
        assert!(graph.take_loaded() > 900, "forgotten");
    });
}

#[test]
fn what_the_whole_room_cites_is_found_to_be_shared_by_a_few() {
    let mut graph = large_room();
    graph.shared = graph.events.keys().copied().filter(|id| *id > 3).collect();
    // The newest members are where the branches differ.
    graph.shared.retain(|id| *id < 19_960);
    let cache = ChainCache::new(1 << 20);
    let chains = AuthChains::new(1, &graph, &cache);
    block_on(async {
        chains.chain(&[19_999]).await.unwrap();
        graph.take_loaded();
        // The first power levels are cited by the first forty members, the create event by everybody.
        for candidate in [0, 2, 40] {
            let outside = chains.less_shared([candidate].into(), &graph).await.unwrap().unwrap();
            assert!(outside.is_empty(), "{candidate}");
        }
        let loaded = graph.take_loaded();
        assert!(loaded < 400, "{loaded} events looked at");
    });
}

#[test]
fn absent_chains_are_not_remembered() {
    let mut graph = large_room();
    let missing = graph.events.remove(&400).unwrap();
    let cache = ChainCache::new(1 << 20);
    block_on(async {
        for ids in [vec![19_999], vec![19_999, 19_998], vec![400]] {
            assert_eq!(AuthChains::new(1, &graph, &cache).chain(&ids).await.unwrap(), None);
        }
        assert!(AuthChains::new(1, &graph, &cache).chain(&[399]).await.unwrap().is_some());
        graph.events.insert(400, missing);
        let chain = AuthChains::new(1, &graph, &cache).chain(&[19_999]).await.unwrap();
        assert_eq!(set(chain), graph.naive(&[19_999]));
    });
}
