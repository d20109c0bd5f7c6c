//! Log-ins of devices that have no browser. [Device authorisation grant](https://spec.matrix.org/v1.19/client-server-api/#device-authorisation-grant),
//! [RFC 8628](https://datatracker.ietf.org/doc/html/rfc8628).

use std::sync::Arc;

use http_kit::Clock;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use users::UserNum;

use crate::{
    entropy::Entropy,
    oauth::{clients::Registered, error::OauthError, scope::Scope},
};

/// Devices that wait at the same time, at most.
const MAX: usize = 10_000;
/// By this prefix leaked device codes can be found.
const PREFIX: &str = "cpd_";
/// The shortest time between two questions of a device, in seconds; it grows by as much for each that comes too early.
pub(crate) const INTERVAL_SECONDS: u64 = 5;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Approved(UserNum),
    Denied,
    /// The device has its tokens.
    Done,
}

#[derive(Debug)]
struct Progress {
    state: State,
    /// When the device may ask again, in Unix milliseconds.
    next_poll_ms: u64,
    interval_ms: u64,
}

/// A device that waits for somebody.
#[derive(Debug)]
pub(crate) struct DeviceGrant {
    pub(crate) client: Registered,
    pub(crate) scope: Scope,
    pub(crate) user_code: String,
    expires_ms: u64,
    progress: Mutex<Progress>,
}

/// What a device gets.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
    pub(crate) seconds: u64,
}

/// The devices that wait. They live in memory: after a restart they begin again.
#[derive(Debug)]
pub(crate) struct DeviceGrants {
    by_device_code: Cache<[u8; 32], Arc<DeviceGrant>>,
    by_user_code: Cache<String, Arc<DeviceGrant>>,
    lifetime_ms: u64,
    clock: Clock,
}

impl DeviceGrants {
    pub(crate) fn new(seconds: u32, clock: Clock) -> Self {
        let lifetime_ms = u64::from(seconds) * 1000;
        Self { by_device_code: Cache::new(MAX), by_user_code: Cache::new(MAX), lifetime_ms, clock }
    }

    pub(crate) fn begin(&self, client: Registered, scope: Scope, entropy: &Entropy) -> Begun {
        let (device_code, user_code) = (entropy.token(PREFIX), entropy.user_code());
        let interval_ms = INTERVAL_SECONDS * 1000;
        let grant = Arc::new(DeviceGrant {
            client,
            scope,
            user_code: user_code.clone(),
            expires_ms: self.clock.now_ms().saturating_add(self.lifetime_ms),
            progress: Mutex::new(Progress { state: State::Pending, next_poll_ms: 0, interval_ms }),
        });
        self.by_device_code.insert(Sha256::digest(&device_code).into(), Arc::clone(&grant));
        self.by_user_code.insert(bare(&user_code), grant);
        Begun { device_code, user_code, seconds: self.lifetime_ms / 1000 }
    }

    /// The device that shows this code, however it was typed.
    pub(crate) fn find(&self, user_code: &str) -> Option<Arc<DeviceGrant>> {
        self.by_user_code.get(&bare(user_code)).filter(|grant| self.is_open(grant))
    }

    /// Whether nobody has answered yet.
    pub(crate) fn is_open(&self, grant: &DeviceGrant) -> bool {
        grant.expires_ms > self.clock.now_ms() && grant.progress.lock().state == State::Pending
    }

    /// Notes what somebody answered. Whether it was still asked.
    pub(crate) fn answer(&self, grant: &DeviceGrant, approved_by: Option<UserNum>) -> bool {
        self.by_user_code.remove(&bare(&grant.user_code));
        let mut progress = grant.progress.lock();
        let open = grant.expires_ms > self.clock.now_ms() && progress.state == State::Pending;
        if open {
            progress.state = approved_by.map_or(State::Denied, State::Approved);
        }
        open
    }

    /// A question of a device: who approved it, or why it has to wait. Who is told an approval gets it once.
    pub(crate) fn poll(&self, device_code: &str, client: &str) -> Result<(Arc<DeviceGrant>, UserNum), OauthError> {
        let wrong = || OauthError::invalid_grant("The device code is not valid, or it is not this client's");
        let grant = self.by_device_code.get(&<[u8; 32]>::from(Sha256::digest(device_code))).ok_or_else(wrong)?;
        if grant.client.id != client {
            return Err(wrong());
        }
        let now = self.clock.now_ms();
        if grant.expires_ms <= now {
            return Err(OauthError::new("expired_token", "It took too long: begin again"));
        }
        let mut progress = grant.progress.lock();
        let user = match progress.state {
            State::Approved(user) => user,
            State::Denied => return Err(OauthError::new("access_denied", "The user did not agree")),
            State::Done => return Err(wrong()),
            State::Pending => {
                let early = now < progress.next_poll_ms;
                if early {
                    progress.interval_ms = progress.interval_ms.saturating_add(INTERVAL_SECONDS * 1000);
                }
                progress.next_poll_ms = now.saturating_add(progress.interval_ms);
                let (code, why) = if early {
                    ("slow_down", "Ask less often")
                } else {
                    ("authorization_pending", "The user has not answered yet")
                };
                return Err(OauthError::new(code, why));
            }
        };
        progress.state = State::Done;
        drop(progress);
        Ok((grant, user))
    }

    /// Takes back what a user approved and what was not fetched yet.
    pub(crate) fn end(&self, user: UserNum) {
        self.by_device_code.retain(|_, grant| grant.progress.lock().state != State::Approved(user));
    }
}

/// A user code as it is compared: its letters alone.
fn bare(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).take(32).collect()
}
