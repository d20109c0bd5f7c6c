//! Samples of durations and their quantiles.

use std::time::Duration;

/// Durations in the order they were taken. Exact quantiles: a run holds at most a few hundred thousand.
#[derive(Debug, Default, Clone)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// Adds all of another's.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest sample that at least `percent` in a hundred of the samples do not exceed (nearest rank), in
    /// milliseconds; `None` where there are no samples.
    #[must_use]
    pub fn percentile_ms(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).map(|sample| sample.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let mut samples = Samples::default();
        assert_eq!(samples.percentile_ms(50), None);
        for ms in (1..=100).rev() {
            samples.push(Duration::from_millis(ms));
        }
        assert_eq!(samples.percentile_ms(50), Some(50.0));
        assert_eq!(samples.percentile_ms(99), Some(99.0));
        assert_eq!(samples.percentile_ms(100), Some(100.0));
        let mut one = Samples::default();
        one.push(Duration::from_millis(7));
        assert_eq!(one.percentile_ms(1), Some(7.0));
    }
}
