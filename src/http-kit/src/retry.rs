//! How long to wait before something is sent again.

use std::time::Duration;

/// The wait after the `failures`th failure in a row (from 1): doubling from `shortest` to `longest`, and moved by up to a quarter
/// either way by `jitter` (any number), so that what failed together is not tried together.
pub fn retry_wait(failures: u32, jitter: u32, shortest: Duration, longest: Duration) -> Duration {
    let doubled = 2u32.saturating_pow(failures.saturating_sub(1).min(16));
    let wait = shortest.saturating_mul(doubled).min(longest);
    wait.mul_f64(0.75 + 0.5 * f64::from(jitter) / f64::from(u32::MAX)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_and_end_at_the_longest() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let wait = |failures, jitter| retry_wait(failures, jitter, second, minute);
        assert_eq!(wait(1, 0), Duration::from_millis(750));
        assert_eq!(wait(1, u32::MAX), Duration::from_millis(1250));
        assert_eq!(wait(3, 0), second * 3);
        assert_eq!(wait(u32::MAX, u32::MAX), minute);
        assert_eq!(wait(u32::MAX, 0), minute.mul_f64(0.75));
    }
}
