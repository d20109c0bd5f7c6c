//! Browsers that are logged in on this server's own pages: the one that lets apps in, and those of the account.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue};
use http_kit::Clock;
use quick_cache::sync::Cache;
use ruma::OwnedUserId;
use sha2::{Digest as _, Sha256};
use users::UserNum;

use crate::{entropy::Entropy, oidc::cookie_of};

/// Browsers that can be logged in at the same time.
const MAX: usize = 50_000;

#[derive(Debug)]
struct Session {
    user: UserNum,
    user_id: OwnedUserId,
    since_ms: u64,
}

/// Somebody whose browser is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) user: UserNum,
    pub(crate) user_id: OwnedUserId,
    /// When they showed who they are, in Unix milliseconds.
    pub(crate) since_ms: u64,
    secret: String,
}

impl Visitor {
    /// What a form must bring along that this browser was shown for `purpose`: nobody else can make it, and it is worth nothing once
    /// somebody else is logged in.
    pub(crate) fn csrf(&self, purpose: &str) -> String {
        match Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()) {
            Ok(mut mac) => {
                mac.update(purpose.as_bytes());
                URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
            }
            // HMAC takes keys of every length.
            Err(_) => String::new(),
        }
    }

    pub(crate) fn sent(&self, purpose: &str, csrf: &str) -> bool {
        !csrf.is_empty() && crate::oidc::same(&self.csrf(purpose), csrf)
    }
}

/// The browsers. They live in memory: after a restart people log in again.
#[derive(Debug)]
pub(crate) struct Browsers {
    /// By the hash of what the cookie holds.
    sessions: Cache<[u8; 32], Arc<Session>>,
    lifetime_ms: u64,
    secure: bool,
    clock: Clock,
}

impl Browsers {
    pub(crate) fn new(seconds: u32, secure: bool, clock: Clock) -> Self {
        Self { sessions: Cache::new(MAX), lifetime_ms: u64::from(seconds) * 1000, secure, clock }
    }

    /// Logs a browser in, under a name that did not exist before. The header that tells it.
    pub(crate) fn log_in(&self, user: UserNum, user_id: OwnedUserId, entropy: &Entropy) -> Option<HeaderValue> {
        let secret = entropy.token("");
        let cookie = self.cookie(&secret, self.lifetime_ms / 1000)?;
        let session = Session { user, user_id, since_ms: self.clock.now_ms() };
        self.sessions.insert(Sha256::digest(&secret).into(), Arc::new(session));
        Some(cookie)
    }

    pub(crate) fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        let secret = cookie_of(headers, self.name())?;
        let session = self.sessions.get(&<[u8; 32]>::from(Sha256::digest(secret)))?;
        if session.since_ms.saturating_add(self.lifetime_ms) <= self.clock.now_ms() {
            return None;
        }
        let Session { user, user_id, since_ms } = &*session;
        Some(Visitor { user: *user, user_id: user_id.clone(), since_ms: *since_ms, secret: secret.to_owned() })
    }

    /// Logs a browser out. The header that tells it.
    pub(crate) fn log_out(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if let Some(secret) = cookie_of(headers, self.name()) {
            self.sessions.remove(&<[u8; 32]>::from(Sha256::digest(secret)));
        }
        self.cookie("", 0)
    }

    /// Logs all browsers of a user out.
    pub(crate) fn end(&self, user: UserNum) {
        self.sessions.retain(|_, session| session.user != user);
    }

    fn name(&self) -> &'static str {
        if self.secure { "__Host-cliquepay-account" } else { "cliquepay-account" }
    }

    fn cookie(&self, value: &str, seconds: u64) -> Option<HeaderValue> {
        let (name, secure) = (self.name(), if self.secure { "; Secure" } else { "" });
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&text).ok()
    }
}
