//! Log-ins that are under way in somebody's browser.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use http_kit::Clock;
use quick_cache::sync::Cache;
use ruma::OwnedUserId;
use sha2::{Digest as _, Sha256};
use users::UserNum;

use crate::{
    config::Secret,
    entropy::Entropy,
    oauth::{AppRequest, DeviceGrant},
    oidc::{config::SsoConfig, redirect::Target},
};

/// Cookies of one request that are looked at, in bytes.
const MAX_COOKIES: usize = 16 << 10;

/// What somebody logs in for.
#[derive(Debug, Clone)]
pub(crate) enum Goal {
    /// A client that wants a login token.
    Client(Target),
    /// A step of this browser that waits until somebody is logged in: its id.
    Waiting(String),
    /// A client that wants something confirmed by this user: the id of the confirmation.
    Confirm { session: String, user: UserNum },
}

/// At the provider.
#[derive(Debug, Clone)]
pub(crate) struct AtProvider {
    pub(crate) provider: usize,
    pub(crate) nonce: String,
    /// What the code is exchanged with (PKCE).
    pub(crate) verifier: String,
    /// They are to show there once more who they are, since then, in Unix milliseconds; `None`: it does not matter since when they are
    /// logged in there.
    pub(crate) again_since: Option<u64>,
    pub(crate) goal: Goal,
}

/// Back from the provider, and without an account here.
#[derive(Debug, Clone)]
pub(crate) struct Newcomer {
    pub(crate) provider: usize,
    pub(crate) subject: String,
    pub(crate) suggestion: String,
    pub(crate) display_name: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) admin: Option<bool>,
    pub(crate) refresh: Option<Secret>,
    pub(crate) goal: Goal,
    pub(crate) csrf: String,
}

/// Logged in, and asked whether to go on to a place that the operator does not know.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) user: UserNum,
    pub(crate) user_id: OwnedUserId,
    pub(crate) target: Target,
    pub(crate) csrf: String,
}

/// What goes on once a browser is logged in.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// An app asks for access.
    App(Arc<AppRequest>),
    /// A device without a browser does.
    Device(Arc<DeviceGrant>),
    /// A client wants a login token.
    Client(Target),
    /// A page of their account: its path.
    Account(String),
}

/// Somebody is to log in on this server's own page, and then to go on.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) purpose: Purpose,
    /// Log-ins from before do not count, in Unix milliseconds.
    pub(crate) since_ms: u64,
    /// Whether they want a new account.
    pub(crate) create: bool,
    /// The user name that is filled in for them.
    pub(crate) hint: Option<String>,
    pub(crate) csrf: String,
}

/// How far a log-in has come.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Waiting(Waiting),
    /// Asked whether they want to confirm something at their provider.
    Confirming {
        session: String,
        user: UserNum,
    },
    AtProvider(AtProvider),
    Newcomer(Newcomer),
    Asked(Asked),
}

/// Why a log-in cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlowError {
    /// Never begun, over, or too old.
    Unknown,
    /// It was begun in another browser.
    OtherBrowser,
}

#[derive(Debug)]
struct Flow {
    /// The hash of what the browser's cookie must hold.
    browser: [u8; 32],
    expires_ms: u64,
    step: Step,
}

/// The log-ins under way. They live in memory: after a restart people begin again.
#[derive(Debug)]
pub(crate) struct Flows {
    flows: Cache<String, Arc<Flow>>,
    lifetime_ms: u64,
    secure: bool,
    clock: Clock,
}

/// A step that was begun.
pub(crate) struct Begun {
    /// What URLs and forms carry.
    pub(crate) id: String,
    /// What binds it to the browser.
    pub(crate) cookie: HeaderValue,
}

impl Flows {
    pub(crate) fn new(config: &SsoConfig, secure: bool, clock: Clock) -> Self {
        let lifetime_ms = u64::from(config.login_seconds) * 1000;
        Self { flows: Cache::new(config.max_logins.max(1)), lifetime_ms, secure, clock }
    }

    /// Begins a step, with an id and a cookie of its own: what was known before it is of no use in it.
    pub(crate) fn begin(&self, step: Step, entropy: &Entropy) -> Option<Begun> {
        let id = entropy.session_id();
        let secret = entropy.token("");
        let cookie = self.cookie(&id, &secret, self.lifetime_ms / 1000)?;
        let expires_ms = self.clock.now_ms().saturating_add(self.lifetime_ms);
        let browser = Sha256::digest(&secret).into();
        self.flows.insert(id.clone(), Arc::new(Flow { browser, expires_ms, step }));
        Some(Begun { id, cookie })
    }

    /// The step, which stays open.
    pub(crate) fn look(&self, id: &str, headers: &HeaderMap) -> Result<Step, FlowError> {
        self.find(id, headers).map(|flow| flow.step.clone())
    }

    /// The step, which is over now: of two that ask at once one gets it.
    pub(crate) fn take(&self, id: &str, headers: &HeaderMap) -> Result<Step, FlowError> {
        self.find(id, headers)?;
        self.flows.remove(id).map(|(_, flow)| flow.step.clone()).ok_or(FlowError::Unknown)
    }

    fn find(&self, id: &str, headers: &HeaderMap) -> Result<Arc<Flow>, FlowError> {
        let flow = self.flows.get(id).filter(|flow| flow.expires_ms > self.clock.now_ms()).ok_or(FlowError::Unknown)?;
        let given = cookie_of(headers, &self.name(id)).ok_or(FlowError::OtherBrowser)?;
        // Hashes are compared: what can be learned from the time that takes says nothing about the secret.
        let digest: [u8; 32] = Sha256::digest(given).into();
        if digest == flow.browser { Ok(flow) } else { Err(FlowError::OtherBrowser) }
    }

    /// The header that takes a step's cookie away.
    pub(crate) fn forget(&self, id: &str) -> Option<HeaderValue> {
        self.cookie(id, "", 0)
    }

    /// With the prefix, browsers take it from this very host over HTTPS only, so that no neighbour can plant one.
    fn name(&self, id: &str) -> String {
        format!("{}cliquepay-login-{id}", if self.secure { "__Host-" } else { "" })
    }

    fn cookie(&self, id: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", self.name(id));
        HeaderValue::from_str(&text).ok()
    }
}

pub(crate) fn cookie_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.filter(|line| line.len() <= MAX_COOKIES).flat_map(|line| line.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}
