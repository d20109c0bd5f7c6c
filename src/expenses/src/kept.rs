//! Caches whose entries differ in size.

use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use std::hash::Hash;

/// Something whose weight does not change while it is kept.
pub(crate) trait Weighed {
    fn weight(&self) -> u64;
}

/// Weighs values by what they say themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BySelf;

impl<K, V: Weighed> Weighter<K, V> for BySelf {
    fn weight(&self, _: &K, value: &V) -> u64 {
        value.weight()
    }
}

/// A cache bounded by weight.
pub(crate) type Weighted<K, V> = Cache<K, V, BySelf>;

/// A cache for about so many values, that weigh at most so much together.
pub(crate) fn bounded<K: Eq + Hash, V: Weighed + Clone>(values: usize, weight: u64) -> Weighted<K, V> {
    // One shard: the capacity is divided among shards, and what is large would fit into none of them.
    let options = OptionsBuilder::new().shards(1).estimated_items_capacity(values).weight_capacity(weight).build();
    match options {
        Ok(options) => Cache::with_options(options, BySelf, DefaultHashBuilder::default(), DefaultLifecycle::default()),
        Err(_) => Cache::with_weighter(values, weight, BySelf),
    }
}
