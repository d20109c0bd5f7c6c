//! From an access token to who makes the request.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http_kit::{AuthError, AuthFuture, Authenticator, RequestMeta, Requester, RequesterInfo};
use quick_cache::sync::Cache;
use users::tokens::Session;

use crate::{error::token_error, state::Auth};

/// How often it is noted that a device was heard of, in milliseconds.
const SEEN_EVERY_MS: u64 = 60_000;

/// Requesters of the sessions that `users` has at hand.
///
/// The key is a session's address, and an entry holds its session, so that no address is used twice. `users` decides
/// with every request whether the session still stands; what is kept here is only what follows from it.
#[derive(Debug)]
pub(crate) struct Requesters {
    warm: Cache<usize, Arc<Warm>>,
    /// Entries of an earlier epoch do not count.
    epoch: AtomicU64,
}

#[derive(Debug)]
struct Warm {
    session: Arc<Session>,
    requester: Requester,
    locked: bool,
    epoch: u64,
    seen_ms: AtomicU64,
}

impl Requesters {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { warm: Cache::new(capacity.max(1)), epoch: AtomicU64::new(0) }
    }

    /// Has everything read anew, also what is being read at the moment.
    pub(crate) fn clear(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn get(&self, session: &Arc<Session>) -> Option<Arc<Warm>> {
        let warm = self.warm.get(&address(session))?;
        (Arc::ptr_eq(&warm.session, session) && warm.epoch == self.epoch()).then_some(warm)
    }
}

fn address(session: &Arc<Session>) -> usize {
    Arc::as_ptr(session).addr()
}

impl Auth {
    async fn warm(&self, session: Arc<Session>) -> Result<Arc<Warm>, AuthError> {
        if let Some(warm) = self.requesters.get(&session) {
            return Ok(warm);
        }
        let epoch = self.requesters.epoch();
        let account = self.users.accounts.get(session.num).await.map_err(token_error)?;
        let account = account.filter(|account| !account.deactivated);
        let account = account.ok_or(AuthError::UnknownToken { soft_logout: false })?;
        let requester = Requester::new(RequesterInfo {
            user_id: session.user_id.clone(),
            user: session.num,
            device_id: Some(session.device_id.clone()),
            admin: account.admin,
            suspended: account.suspended,
            appservice: None,
        });
        let locked = account.locked;
        let warm = Warm { session: Arc::clone(&session), requester, locked, epoch, seen_ms: AtomicU64::new(0) };
        let warm = Arc::new(warm);
        self.requesters.warm.insert(address(&session), Arc::clone(&warm));
        Ok(warm)
    }

    fn note_seen(&self, warm: &Warm, meta: RequestMeta<'_>) {
        let Some(ip) = meta.ip else { return };
        let now = self.clock.now_ms();
        let last = warm.seen_ms.load(Ordering::Relaxed);
        if now.saturating_sub(last) < SEEN_EVERY_MS {
            return;
        }
        warm.seen_ms.store(now, Ordering::Relaxed);
        self.users.devices.seen(warm.session.num, &warm.session.device_id, ip);
    }
}

impl Authenticator for Auth {
    fn authenticate<'a>(&'a self, token: &'a str, meta: RequestMeta<'a>) -> AuthFuture<'a> {
        Box::pin(async move {
            if let Some((index, service)) = self.appservices.by_token(token) {
                return self.act_as((index, service), meta).await;
            }
            let session = self.users.tokens.session(token).await.map_err(token_error)?;
            let warm = self.warm(session).await?;
            if warm.locked && !meta.logs_out() {
                return Err(AuthError::Locked);
            }
            self.note_seen(&warm, meta);
            Ok(warm.requester.clone())
        })
    }
}
