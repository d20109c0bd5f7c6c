//! Rate limits: a bucket of tokens per user or address.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hash},
    net::IpAddr,
    time::Duration,
};

use parking_lot::Mutex;
use serde::Deserialize;

use crate::{Clock, MatrixError};

const SHARDS: usize = 16;

/// How many requests one user or address may make.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitConfig {
    /// Whether the limit holds at all.
    pub enabled: bool,
    /// Requests per second in the long run. Not above zero: only the burst, then never again until restart.
    pub per_second: f64,
    /// Requests that may come at once after a quiet time; at least 1.
    pub burst: u32,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self { enabled: true, per_second: 10.0, burst: 50 }
    }
}

impl LimitConfig {
    /// A limit that never refuses.
    pub fn off() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    /// A limit of `per_second` requests a second, with bursts of `burst`.
    pub fn new(per_second: f64, burst: u32) -> Self {
        Self { enabled: true, per_second, burst }
    }
}

/// Whom a bucket belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// A local user's number.
    User(u64),
    /// An address. IPv6 is counted per /64, which is what one subscriber has.
    Ip(IpAddr),
    /// A name, such as a user name that somebody tries to log in as.
    Name(Box<str>),
}

impl LimitKey {
    /// The key of an address.
    pub fn ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(v6) => Self::Ip(IpAddr::V6((u128::from(v6) >> 64 << 64).into())),
            v4 => Self::Ip(v4),
        }
    }

    /// The key of a name. Long names share buckets by their first 255 bytes.
    pub fn name(name: &str) -> Self {
        Self::Name(name.get(..name.floor_char_boundary(255)).unwrap_or_default().into())
    }
}

/// A rate limiter with one bucket per key, in bounded memory.
///
/// A bucket is one number: the time at which it will be full again (the generic cell rate algorithm). A full bucket is
/// the same as none, so those are dropped first when the table is full, then those that are nearest to full.
#[derive(Debug)]
pub struct RateLimiter {
    clock: Clock,
    enabled: bool,
    /// Microseconds that one token takes to come back.
    period: u64,
    /// Microseconds that an empty bucket takes to fill.
    capacity: u64,
    max_per_shard: usize,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<LimitKey, u64>>>,
}

impl RateLimiter {
    /// A limiter that remembers at most about `max_keys` keys.
    pub fn new(config: &LimitConfig, max_keys: usize, clock: Clock) -> Self {
        let period = period_micros(config.per_second);
        Self {
            clock,
            enabled: config.enabled,
            period,
            capacity: period.saturating_mul(config.burst.max(1).into()),
            max_per_shard: max_keys.div_ceil(SHARDS).max(1),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Takes a token, or says when there will be one: 429 `M_LIMIT_EXCEEDED`.
    pub fn check(&self, key: LimitKey) -> Result<(), MatrixError> {
        self.take(key).map_err(MatrixError::limit_exceeded)
    }

    /// Takes a token, or returns how long until there is one.
    pub fn take(&self, key: LimitKey) -> Result<(), Duration> {
        self.admit(key, true)
    }

    /// Whether a token is there, without taking it.
    pub fn peek(&self, key: LimitKey) -> Result<(), MatrixError> {
        self.admit(key, false).map_err(MatrixError::limit_exceeded)
    }

    /// Takes tokens whether they are there or not: what is owed comes back before the next one is given.
    pub fn charge(&self, key: LimitKey, tokens: u64) {
        if !self.enabled {
            return;
        }
        let now = self.clock.now_ms().saturating_mul(1000);
        let Some(shard) = self.shards.get(self.shard_of(&key)) else { return };
        let mut buckets = shard.lock();
        if buckets.len() >= self.max_per_shard && !buckets.contains_key(&key) {
            make_room(&mut buckets, now);
        }
        let full_at = buckets.entry(key).or_insert(now);
        *full_at = (*full_at).max(now).saturating_add(self.period.saturating_mul(tokens));
    }

    fn admit(&self, key: LimitKey, take: bool) -> Result<(), Duration> {
        if !self.enabled {
            return Ok(());
        }
        let now = self.clock.now_ms().saturating_mul(1000);
        let Some(shard) = self.shards.get(self.shard_of(&key)) else {
            return Ok(());
        };
        let mut buckets = shard.lock();
        let full_at = buckets.get(&key).map_or(now, |at| (*at).max(now)).saturating_add(self.period);
        let over = (full_at - now).saturating_sub(self.capacity);
        if over > 0 {
            return Err(Duration::from_micros(over));
        }
        if take {
            if buckets.len() >= self.max_per_shard && !buckets.contains_key(&key) {
                make_room(&mut buckets, now);
            }
            buckets.insert(key, full_at);
        }
        Ok(())
    }

    fn shard_of(&self, key: &LimitKey) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

fn period_micros(per_second: f64) -> u64 {
    // A float's cast saturates; a rate that is not above zero would give an infinite period.
    if per_second > 0.0 { (1e6 / per_second).clamp(1.0, 1e15) as u64 } else { 1_000_000_000_000_000 }
}

/// Drops the full buckets, and if there are none the eighth that is nearest to full.
fn make_room(buckets: &mut HashMap<LimitKey, u64>, now: u64) {
    let before = buckets.len();
    buckets.retain(|_, full_at| *full_at > now);
    if buckets.len() < before {
        return;
    }
    let mut times: Vec<u64> = buckets.values().copied().collect();
    let (_, cut, _) = times.select_nth_unstable(before / 8);
    let cut = *cut;
    buckets.retain(|_, full_at| *full_at > cut);
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    fn limiter(config: LimitConfig, max_keys: usize) -> (RateLimiter, Arc<AtomicU64>) {
        let time = Arc::new(AtomicU64::new(1_000_000));
        let clock = Clock::new({
            let time = Arc::clone(&time);
            move || time.load(Ordering::Relaxed)
        });
        (RateLimiter::new(&config, max_keys, clock), time)
    }

    #[test]
    fn a_burst_then_a_rate() {
        let (limiter, time) = limiter(LimitConfig::new(2.0, 3), 100);
        for _ in 0..3 {
            assert_eq!(limiter.take(LimitKey::User(1)), Ok(()));
        }
        assert_eq!(limiter.take(LimitKey::User(1)), Err(Duration::from_millis(500)));
        assert_eq!(limiter.take(LimitKey::User(2)), Ok(()));
        time.fetch_add(499, Ordering::Relaxed);
        assert_eq!(limiter.take(LimitKey::User(1)), Err(Duration::from_millis(1)));
        time.fetch_add(1, Ordering::Relaxed);
        assert_eq!(limiter.take(LimitKey::User(1)), Ok(()));
        assert!(limiter.take(LimitKey::User(1)).is_err());
        time.fetch_add(60_000, Ordering::Relaxed);
        for _ in 0..3 {
            assert_eq!(limiter.take(LimitKey::User(1)), Ok(()));
        }
        assert!(limiter.take(LimitKey::User(1)).is_err());
    }

    #[test]
    fn peeking_takes_nothing() {
        let (limiter, _time) = limiter(LimitConfig::new(1.0, 1), 100);
        for _ in 0..5 {
            assert!(limiter.peek(LimitKey::User(1)).is_ok());
        }
        assert!(limiter.check(LimitKey::User(1)).is_ok());
        assert_eq!(limiter.peek(LimitKey::User(1)).unwrap_err().errcode, "M_LIMIT_EXCEEDED");
    }

    #[test]
    fn off_is_off_and_odd_rates_do_not_panic() {
        let (off, _) = limiter(LimitConfig { burst: 0, per_second: 0.0, enabled: false }, 1);
        for _ in 0..100 {
            assert_eq!(off.take(LimitKey::User(1)), Ok(()));
        }
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300] {
            let (odd, time) = limiter(LimitConfig::new(rate, u32::MAX), 1);
            assert_eq!(odd.take(LimitKey::User(1)), Ok(()), "{rate}");
            time.store(u64::MAX, Ordering::Relaxed);
            let _ = odd.take(LimitKey::User(1));
        }
    }

    #[test]
    fn memory_is_bounded_and_the_busiest_are_kept() {
        let (limiter, _time) = limiter(LimitConfig::new(0.001, 3), 160);
        for _ in 0..3 {
            assert_eq!(limiter.take(LimitKey::User(0)), Ok(()));
        }
        for user in 1..20_000 {
            assert_eq!(limiter.take(LimitKey::User(user)), Ok(()));
        }
        assert!(limiter.len() <= 160, "{}", limiter.len());
        assert!(limiter.take(LimitKey::User(0)).is_err());
    }

    #[test]
    fn addresses_of_one_subscriber_share_a_bucket() {
        let key = |text: &str| LimitKey::ip(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:1.2.3.4"), key("1.2.3.4"));
        assert_ne!(key("1.2.3.4"), key("1.2.3.5"));
    }
}
