//! The section `[rate_limits]`: what users and other servers may do in a time. Logging in has limits of its own.

use std::net::IpAddr;

use serde::Deserialize;

use crate::{Clock, LimitConfig, LimitKey, MatrixError, RateLimiter, Requester};

/// Users, or servers, whose requests are counted in one group, at most.
const KEYS: usize = 20_000;
/// What one token of [`RateConfig::upload_mib`] stands for.
const MIB: u64 = 1 << 20;

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Group {
    /// Events sent to rooms; entries of ledgers.
    Messages,
    /// Rooms made or upgraded.
    Rooms,
    /// Rooms entered, or knocked on.
    Joins,
    /// Invitations: of a user; and those that come from other servers, of each server and for each invited user.
    Invites,
    /// Changes of a profile.
    Profile,
    /// Names of rooms that are made.
    Aliases,
    /// Searches, also those that other servers are asked for.
    Search,
    /// Pushers set.
    Pushers,
    /// Reports to the operator.
    Reports,
    /// Delayed events looked at, restarted, cancelled or sent; asking for one counts as a message.
    Delayed,
    /// Files uploaded.
    Uploads,
    /// Their MiB.
    UploadMib,
    /// Transactions of another server.
    Transactions,
    /// One-time keys that another server asks for.
    KeyClaims,
    /// Other requests of another server.
    Requests,
    /// Requests, counted by the address, that name a server of which nothing is known here: it has to be asked for its keys.
    Strangers,
}

/// How much of what is allowed: token buckets, for each user or server.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateConfig {
    /// Switches all of them, and those of `[auth.limits]`. Default on.
    pub enabled: bool,
    /// See [`Group::Messages`]. Default 10 a second, bursts of 200.
    pub messages: LimitConfig,
    /// See [`Group::Rooms`]. Default one in 10 s, bursts of 30.
    pub rooms: LimitConfig,
    /// See [`Group::Joins`]. Default one a second, bursts of 100.
    pub joins: LimitConfig,
    /// See [`Group::Invites`]. Default one a second, bursts of 300.
    pub invites: LimitConfig,
    /// See [`Group::Profile`]. Default one in 5 s, bursts of 20: each goes to all rooms.
    pub profile: LimitConfig,
    /// See [`Group::Aliases`]. Default one in 5 s, bursts of 20.
    pub aliases: LimitConfig,
    /// See [`Group::Search`]. Default 5 a second, bursts of 50: apps ask while people type.
    pub search: LimitConfig,
    /// See [`Group::Pushers`]. Default one in 2 s, bursts of 30.
    pub pushers: LimitConfig,
    /// See [`Group::Reports`]. Default one in 10 s, bursts of 20.
    pub reports: LimitConfig,
    /// See [`Group::Delayed`]. Default 5 a second, bursts of 200: apps in a call restart one every few seconds.
    pub delayed: LimitConfig,
    /// See [`Group::Uploads`]. Default 2 a second, bursts of 200.
    pub uploads: LimitConfig,
    /// See [`Group::UploadMib`]. Default 2 MiB a second, bursts of 2000.
    pub upload_mib: LimitConfig,
    /// See [`Group::Transactions`]. Default 50 a second, bursts of 2000.
    pub transactions: LimitConfig,
    /// See [`Group::KeyClaims`]. Default 20 a second, bursts of 1000.
    pub key_claims: LimitConfig,
    /// See [`Group::Requests`]. Default 50 a second, bursts of 2000.
    pub requests: LimitConfig,
    /// See [`Group::Strangers`]. Default 5 a second, bursts of 500.
    pub strangers: LimitConfig,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            messages: LimitConfig::new(10.0, 200),
            rooms: LimitConfig::new(0.1, 30),
            joins: LimitConfig::new(1.0, 100),
            invites: LimitConfig::new(1.0, 300),
            profile: LimitConfig::new(0.2, 20),
            aliases: LimitConfig::new(0.2, 20),
            search: LimitConfig::new(5.0, 50),
            pushers: LimitConfig::new(0.5, 30),
            reports: LimitConfig::new(0.1, 20),
            delayed: LimitConfig::new(5.0, 200),
            uploads: LimitConfig::new(2.0, 200),
            upload_mib: LimitConfig::new(2.0, 2000),
            transactions: LimitConfig::new(50.0, 2000),
            key_claims: LimitConfig::new(20.0, 1000),
            requests: LimitConfig::new(50.0, 2000),
            strangers: LimitConfig::new(5.0, 500),
        }
    }
}

impl RateConfig {
    /// None at all.
    pub fn off() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    /// In the order of [`Group`].
    fn of_groups(&self) -> [LimitConfig; 16] {
        [
            self.messages,
            self.rooms,
            self.joins,
            self.invites,
            self.profile,
            self.aliases,
            self.search,
            self.pushers,
            self.reports,
            self.delayed,
            self.uploads,
            self.upload_mib,
            self.transactions,
            self.key_claims,
            self.requests,
            self.strangers,
        ]
    }
}

/// The limits as they run.
#[derive(Debug)]
pub struct RateLimits {
    limiters: Vec<RateLimiter>,
}

impl RateLimits {
    /// Limits by a clock.
    pub fn new(config: &RateConfig, clock: &Clock) -> Self {
        let limiter = |group: LimitConfig| {
            let group = LimitConfig { enabled: group.enabled && config.enabled, ..group };
            RateLimiter::new(&group, KEYS, clock.clone())
        };
        Self { limiters: config.of_groups().into_iter().map(limiter).collect() }
    }

    /// No limits.
    pub fn off() -> Self {
        Self { limiters: Vec::new() }
    }

    fn limiter(&self, group: Group) -> Option<&RateLimiter> {
        self.limiters.get(group as usize)
    }

    /// Counts a request of a user. Application services count only where their registration says so.
    ///
    /// # Errors
    /// 429 `M_LIMIT_EXCEEDED`.
    pub fn check(&self, group: Group, requester: &Requester) -> Result<(), MatrixError> {
        match self.limiter(group).filter(|_| counts(requester)) {
            Some(limiter) => limiter.check(LimitKey::User(requester.user)),
            None => Ok(()),
        }
    }

    /// Counts a request of another server.
    ///
    /// # Errors
    /// 429 `M_LIMIT_EXCEEDED`.
    pub fn check_server(&self, group: Group, server: &str) -> Result<(), MatrixError> {
        self.limiter(group).map_or(Ok(()), |limiter| limiter.check(LimitKey::name(server)))
    }

    /// Counts a request of whoever is at an address.
    ///
    /// # Errors
    /// 429 `M_LIMIT_EXCEEDED`.
    pub fn check_address(&self, group: Group, address: IpAddr) -> Result<(), MatrixError> {
        self.limiter(group).map_or(Ok(()), |limiter| limiter.check(LimitKey::ip(address)))
    }

    /// Counts a file that a user is about to upload. How large it is counts when it is known: see [`RateLimits::uploaded`].
    ///
    /// # Errors
    /// 429 `M_LIMIT_EXCEEDED`.
    pub fn begin_upload(&self, requester: &Requester) -> Result<(), MatrixError> {
        if let Some(limiter) = self.limiter(Group::UploadMib).filter(|_| counts(requester)) {
            limiter.peek(LimitKey::User(requester.user))?;
        }
        self.check(Group::Uploads, requester)
    }

    /// Counts the bytes that a user has uploaded.
    pub fn uploaded(&self, requester: &Requester, bytes: u64) {
        if let Some(limiter) = self.limiter(Group::UploadMib).filter(|_| counts(requester)) {
            limiter.charge(LimitKey::User(requester.user), bytes.div_ceil(MIB));
        }
    }
}

fn counts(requester: &Requester) -> bool {
    requester.appservice.as_ref().is_none_or(|appservice| appservice.rate_limited)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::{Appservice, RequesterInfo};

    fn requester(user: u64, appservice: Option<bool>) -> Requester {
        Requester::new(RequesterInfo {
            user_id: "@ann:hs".try_into().unwrap(),
            user,
            device_id: None,
            admin: false,
            suspended: false,
            appservice: appservice.map(|rate_limited| Appservice { id: "bridge".into(), rate_limited }),
        })
    }

    fn clock() -> (Clock, Arc<AtomicU64>) {
        let time = Arc::new(AtomicU64::new(1_000_000));
        let now = Arc::clone(&time);
        (Clock::new(move || now.load(Ordering::Relaxed)), time)
    }

    #[test]
    fn each_group_counts_each_user_by_itself() {
        let (clock, time) = clock();
        let config =
            RateConfig { joins: LimitConfig::new(1.0, 2), rooms: LimitConfig::new(1.0, 1), ..RateConfig::default() };
        let limits = RateLimits::new(&config, &clock);
        let (ann, ben) = (requester(1, None), requester(2, None));
        assert!(limits.check(Group::Joins, &ann).is_ok() && limits.check(Group::Joins, &ann).is_ok());
        let refused = limits.check(Group::Joins, &ann).unwrap_err();
        assert_eq!((refused.status.as_u16(), &*refused.errcode), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(refused.to_json()["retry_after_ms"], 1000);
        assert!(limits.check(Group::Joins, &ben).is_ok() && limits.check(Group::Rooms, &ann).is_ok());
        assert!(limits.check(Group::Rooms, &ann).is_err() && limits.check(Group::Requests, &ann).is_ok());
        time.fetch_add(1000, Ordering::Relaxed);
        assert!(limits.check(Group::Joins, &ann).is_ok());
    }

    #[test]
    fn application_services_count_where_they_are_to() {
        let config = RateConfig { messages: LimitConfig::new(0.1, 1), ..RateConfig::default() };
        let limits = RateLimits::new(&config, &clock().0);
        let (free, counted) = (requester(1, Some(false)), requester(2, Some(true)));
        for _ in 0..5 {
            assert!(limits.check(Group::Messages, &free).is_ok());
        }
        assert!(limits.check(Group::Messages, &counted).is_ok() && limits.check(Group::Messages, &counted).is_err());
    }

    #[test]
    fn uploads_count_by_their_size_once_it_is_known() {
        let (clock, time) = clock();
        let config = RateConfig { upload_mib: LimitConfig::new(1.0, 10), ..RateConfig::default() };
        let limits = RateLimits::new(&config, &clock);
        let ann = requester(1, None);
        assert!(limits.begin_upload(&ann).is_ok());
        limits.uploaded(&ann, 30 << 20);
        assert!(limits.begin_upload(&ann).is_err());
        time.fetch_add(20_000, Ordering::Relaxed);
        assert!(limits.begin_upload(&ann).is_err(), "ten may be owed, not more");
        time.fetch_add(1000, Ordering::Relaxed);
        assert!(limits.begin_upload(&ann).is_ok());
    }

    #[test]
    fn what_is_off_counts_nothing() {
        let config = RateConfig { messages: LimitConfig::new(0.1, 1), ..RateConfig::off() };
        for limits in [RateLimits::new(&config, &clock().0), RateLimits::off()] {
            for _ in 0..5 {
                assert!(limits.check(Group::Messages, &requester(1, None)).is_ok());
                assert!(limits.check_server(Group::Transactions, "other").is_ok());
            }
        }
    }
}
