//! Codes that apps exchange for tokens. [Authorisation code grant](https://spec.matrix.org/v1.19/client-server-api/#authorisation-code-grant).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http_kit::Clock;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use users::UserNum;

use crate::{entropy::Entropy, oauth::scope::Scope};

/// Codes at the same time, at most.
const MAX: usize = 10_000;
/// By this prefix leaked codes can be found.
const PREFIX: &str = "cpc_";

/// What somebody let an app do.
#[derive(Debug, Clone)]
pub(crate) struct Consent {
    pub(crate) client: String,
    pub(crate) redirect_uri: String,
    pub(crate) scope: Scope,
    /// What the verifier's hash must be.
    pub(crate) challenge: Challenge,
    pub(crate) user: UserNum,
}

/// The hash of a verifier (RFC 7636, method S256).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge([u8; 32]);

impl Challenge {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Whether a verifier is the one, and of the form that it must have.
    fn accepts(&self, verifier: &str) -> bool {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        (43..=128).contains(&verifier.len())
            && verifier.bytes().all(unreserved)
            && <[u8; 32]>::from(Sha256::digest(verifier)) == self.0
    }
}

/// Whether a code was exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Open,
    /// For the log-in of this grant.
    Used(String),
    /// And somebody tried it again.
    UsedTwice,
}

#[derive(Debug)]
struct Code {
    consent: Consent,
    expires_ms: u64,
    state: Mutex<State>,
}

/// A code that is being exchanged.
#[derive(Debug)]
pub(crate) struct Exchange(Arc<Code>);

impl Exchange {
    pub(crate) fn consent(&self) -> &Consent {
        &self.0.consent
    }

    /// Whether somebody else tried the code meanwhile, so that nobody knows who the client is.
    pub(crate) fn was_tried_again(&self) -> bool {
        *self.0.state.lock() == State::UsedTwice
    }
}

/// Why a code is not exchanged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CodeError {
    /// There is none, or it is another client's, or its verifier is another.
    Wrong,
    /// It was used, for the log-in of this grant, which nobody can trust any more.
    Used(String),
}

/// The codes. They live in memory: after a restart apps begin again.
#[derive(Debug)]
pub(crate) struct Codes {
    codes: Cache<[u8; 32], Arc<Code>>,
    lifetime_ms: u64,
    clock: Clock,
}

impl Codes {
    pub(crate) fn new(seconds: u32, clock: Clock) -> Self {
        Self { codes: Cache::new(MAX), lifetime_ms: u64::from(seconds) * 1000, clock }
    }

    pub(crate) fn issue(&self, consent: Consent, entropy: &Entropy) -> String {
        let code = entropy.token(PREFIX);
        let expires_ms = self.clock.now_ms().saturating_add(self.lifetime_ms);
        let kept = Code { consent, expires_ms, state: Mutex::new(State::Open) };
        self.codes.insert(Sha256::digest(&code).into(), Arc::new(kept));
        code
    }

    /// Uses a code up for the log-in of `grant`. Who comes with the wrong verifier does not: they may not be the client.
    pub(crate) fn exchange(
        &self,
        code: &str,
        client: &str,
        redirect_uri: &str,
        verifier: &str,
        grant: &str,
    ) -> Result<Exchange, CodeError> {
        let found = self.codes.get(&<[u8; 32]>::from(Sha256::digest(code))).ok_or(CodeError::Wrong)?;
        let consent = &found.consent;
        if consent.client != client || consent.redirect_uri != redirect_uri || !consent.challenge.accepts(verifier) {
            return Err(CodeError::Wrong);
        }
        let mut state = found.state.lock();
        if let State::Used(grant) = &*state {
            let grant = grant.clone();
            *state = State::UsedTwice;
            return Err(CodeError::Used(grant));
        }
        if *state == State::UsedTwice || found.expires_ms <= self.clock.now_ms() {
            return Err(CodeError::Wrong);
        }
        *state = State::Used(grant.to_owned());
        drop(state);
        Ok(Exchange(found))
    }

    /// Takes back what a user let apps do and what was not exchanged yet.
    pub(crate) fn end(&self, user: UserNum) {
        self.codes.retain(|_, code| code.consent.user != user);
    }
}
