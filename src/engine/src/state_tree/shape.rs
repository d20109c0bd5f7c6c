//! Where a level is cut into nodes: a function of the level and its keys alone.

use sha2::{Digest, Sha256};

use super::{Entry, Key, MAX_WEIGHT, Payload};

/// From this level on nodes are filled in order instead of being cut at ranks.
pub const HASHED_LEVELS: u8 = 8;

/// The two numbers that decide about shapes. Trees have [`Shape::STANDARD`]; tests make small ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) max_weight: u32,
    pub(super) hashed_levels: u8,
}

impl Shape {
    pub(super) const STANDARD: Self = Self { max_weight: MAX_WEIGHT, hashed_levels: HASHED_LEVELS };

    /// Whether ranks decide on this level.
    pub(super) fn is_hashed(self, level: u8) -> bool {
        level < self.hashed_levels
    }

    /// Whether so many bytes are more than a node may hold before its last entry.
    pub(super) fn is_over(self, weight: u64) -> bool {
        weight > u64::from(self.max_weight)
    }

    /// For each entry of a run between two boundaries, whether it ends a node.
    pub(super) fn ends(self, level: u8, entries: &[Entry], bounds: Bounds) -> Vec<bool> {
        let weights: Vec<u32> = entries.iter().map(weight).collect();
        if !self.is_hashed(level) {
            return self.filled(&weights);
        }
        if bounds.left.is_none() && bounds.right.is_none() && !self.is_over(sum(&weights)) {
            return vec![false; entries.len()];
        }
        let ranks: Vec<u64> = entries.iter().map(|entry| rank(level, &entry.key)).collect();
        self.cut(&ranks, &weights, bounds)
    }

    /// An entry ends a node if its interval is too heavy. A boundary within the interval has a smaller interval that
    /// is too heavy already, so one at the run's edge counts as infinitely heavy.
    fn cut(self, ranks: &[u64], weights: &[u32], bounds: Bounds) -> Vec<bool> {
        let infinite = u64::from(self.max_weight) + 1;
        // What lies to the left of each entry within its interval. Equal ranks: the left one counts as lower.
        let mut heavy = Vec::with_capacity(ranks.len());
        let mut open: Vec<(u64, u64)> = Vec::new();
        for (&rank, &weight) in ranks.iter().zip(weights) {
            let mut left = 0_u64;
            while let Some((_, taken)) = open.pop_if(|(other, _)| *other > rank) {
                left += taken;
            }
            if open.is_empty() && bounds.left.is_some_and(|bound| bound > rank) {
                left += infinite;
            }
            heavy.push(left + u64::from(weight));
            open.push((rank, left + u64::from(weight)));
        }
        open.clear();
        for ((&rank, &weight), total) in ranks.iter().zip(weights).zip(heavy.iter_mut()).rev() {
            let mut right = 0_u64;
            while let Some((_, taken)) = open.pop_if(|(other, _)| *other >= rank) {
                right += taken;
            }
            if open.is_empty() && bounds.right.is_some_and(|bound| bound >= rank) {
                right += infinite;
            }
            *total += right;
            open.push((rank, right + u64::from(weight)));
        }
        heavy.into_iter().map(|weight| self.is_over(weight)).collect()
    }

    /// Fills nodes in order: each as much as it may hold, but at least two entries.
    fn filled(self, weights: &[u32]) -> Vec<bool> {
        let (mut count, mut total) = (0_usize, 0_u64);
        let end = |&weight: &u32| {
            count += 1;
            total += u64::from(weight);
            let full = count >= 2 && self.is_over(total);
            if full {
                (count, total) = (0, 0);
            }
            full
        };
        weights.iter().map(end).collect()
    }
}

/// Ranks of the boundaries beside a run of entries; `None` where the level begins or ends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bounds {
    pub(super) left: Option<u64>,
    pub(super) right: Option<u64>,
}

/// The rank of a key on a level.
pub(super) fn rank(level: u8, key: &Key) -> u64 {
    let digest: [u8; 32] = Sha256::new()
        .chain_update([level])
        .chain_update((key.ty.len() as u32).to_be_bytes())
        .chain_update(key.ty.as_bytes())
        .chain_update(key.state_key.as_bytes())
        .finalize()
        .into();
    digest.iter().take(8).fold(0, |rank, &byte| rank << 8 | u64::from(byte))
}

/// An upper bound for the encoded bytes of an entry that depends on nothing beside it.
pub(super) fn weight(entry: &Entry) -> u32 {
    let fixed = match entry.payload {
        Payload::Value(_) => 12,
        Payload::Child(_) => 24,
    };
    fixed + entry.key.ty.len() as u32 + entry.key.state_key.len() as u32
}

/// The sum of some weights.
pub(super) fn sum<'a>(weights: impl IntoIterator<Item = &'a u32>) -> u64 {
    weights.into_iter().map(|&weight| u64::from(weight)).sum()
}
