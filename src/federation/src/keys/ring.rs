//! The keys of other servers: in memory, else in the store, else of the server itself, else of a notary.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engine::{Engine, Identity};
use futures::{StreamExt as _, stream};
use http::Method;
use parking_lot::{Mutex, RwLock};
use quick_cache::sync::Cache;
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedServerName, ServerName, api::federation::discovery::ServerSigningKeys, serde::Raw,
};
use store::{Clock, Db};
use tracing::{debug, warn};

use crate::{
    CallLimits, Client, FederationConfig,
    keys::{
        known::{self, Answer, KeepError, ServerKeys},
        own,
        response::{self, KeyResponse},
        strangers::Strangers,
    },
};

/// Servers whose keys are kept in memory.
const SERVERS_KEPT: usize = 10_000;
/// Servers that are asked at a time for one caller.
const AT_A_TIME: usize = 32;
/// How long one caller waits for keys in all; what has come by then is what there is.
const PATIENCE: Duration = Duration::from_secs(60);
/// What one answer may cost.
const LIMITS: CallLimits = CallLimits { timeout: Duration::from_secs(10), max_body: 64 << 10 };
/// A server that answered, without the key that was wanted, is not asked again for so long, in milliseconds.
const ANSWERED_PAUSE: u64 = 10_000;
/// A server that did not answer is not asked again for so long at first, twice as long each time, and so long at most.
const SILENT_PAUSE: (u64, u64) = (5_000, 3_600_000);

/// Verify keys of other servers: asked for directly, then through notaries, and kept as rows.
#[derive(Debug)]
pub struct KeyRing {
    pub(super) engine: Arc<Engine>,
    pub(super) db: Arc<Db>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) client: Arc<Client>,
    pub(super) notaries: Vec<OwnedServerName>,
    own: Arc<ServerKeys>,
    servers: Cache<OwnedServerName, Arc<Server>>,
    pub(super) counters: Arc<Counters>,
    pub(super) strangers: Strangers,
}

/// What it took to tell who signed what, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyStats {
    /// Keys that were taken to check a signature with: of events and of requests.
    pub checks: u64,
    /// Requests for keys, to their servers and to notaries.
    pub requests: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    checks: AtomicU64,
    pub(super) requests: AtomicU64,
}

/// What is at hand about one server.
#[derive(Debug, Default)]
struct Server {
    /// Its keys; `None` until the rows were read.
    keys: RwLock<Option<Arc<ServerKeys>>>,
    /// Held while it is asked, so that it is asked once for all who wait.
    asking: tokio::sync::Mutex<Pause>,
}

/// When a server may be asked again.
#[derive(Debug, Default)]
struct Pause {
    last: u64,
    wait: u64,
    silent: bool,
}

/// Keys that were fetched for a check that must not wait.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    servers: BTreeMap<OwnedServerName, Arc<ServerKeys>>,
    counters: Arc<Counters>,
}

impl Keys {
    /// A key, where it was valid at a time: `None` asks for any that the server ever had.
    pub fn get(
        &self,
        server: &ServerName,
        key_id: &str,
        valid_at: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Option<[u8; 32]> {
        let key = self.servers.get(server)?.get(key_id)?;
        let key = key.is_valid(valid_at.map(|at| at.get().into())).then(|| key.key.as_bytes().try_into().ok())??;
        self.counters.checks.fetch_add(1, Ordering::Relaxed);
        Some(key)
    }
}

/// What is wanted of one server.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) server: OwnedServerName,
    pub(super) ids: Vec<String>,
    pub(super) valid_at: Option<u64>,
    /// Whether it is about a request that this very server is waiting with: it is awake, and may be asked sooner.
    awake: bool,
}

impl Wanted {
    fn is_in(&self, keys: &ServerKeys) -> bool {
        self.ids.iter().all(|id| keys.get(id).is_some_and(|key| key.is_valid(self.valid_at)))
    }
}

impl KeyRing {
    pub(crate) fn new(
        engine: Arc<Engine>,
        db: Arc<Db>,
        clock: Arc<dyn Clock>,
        client: Arc<Client>,
        config: &FederationConfig,
    ) -> Self {
        let own = Arc::new(own::keys(&engine.identity, &config.old_keys));
        let notaries = config.key_servers.iter().filter(|name| **name != engine.identity.server_name);
        Self {
            notaries: notaries.cloned().collect(),
            db,
            clock,
            client,
            own,
            servers: Cache::new(SERVERS_KEPT),
            counters: Arc::default(),
            strangers: Strangers::default(),
            engine,
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> KeyStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        KeyStats { checks: read(&self.counters.checks), requests: read(&self.counters.requests) }
    }

    /// No keys; those that are put in are counted here.
    fn none(&self) -> Keys {
        Keys { servers: BTreeMap::new(), counters: Arc::clone(&self.counters) }
    }

    /// The keys of these servers with these ids (`ed25519:…`), fetched where they are not known or known for too short a time. Those
    /// that cannot be had are left out.
    pub async fn fetch(
        &self,
        wanted: &[(OwnedServerName, Vec<String>)],
        valid_at: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Keys {
        let valid_at = valid_at.map(|at| at.get().into());
        let wanted = wanted.iter().map(|(server, ids)| Wanted {
            server: server.clone(),
            ids: ids.clone(),
            valid_at,
            awake: false,
        });
        self.fetch_all(wanted.collect()).await
    }

    /// Whether all of these keys of a server are at hand and in use, so that nobody is asked for them.
    pub(crate) async fn knows(&self, server: &OwnedServerName, ids: &[String], now: u64) -> bool {
        let keys = self.known(server, &self.server(server)).await;
        ids.iter().all(|id| keys.get(id).is_some_and(|key| key.is_valid(Some(now))))
    }

    /// The keys that a request was signed with just now.
    pub(crate) async fn fetch_for_request(&self, server: &OwnedServerName, ids: Vec<String>, now: u64) -> Keys {
        self.fetch_all(vec![Wanted { server: server.clone(), ids, valid_at: Some(now), awake: true }]).await
    }

    /// A server's keys, of itself alone.
    pub(super) async fn fetch_directly(&self, server: &OwnedServerName, ids: Vec<String>) -> Keys {
        let wanted = Wanted { server: server.clone(), ids, valid_at: None, awake: false };
        let (keys, _) = self.keys_of(&wanted).await;
        Keys { servers: BTreeMap::from([(wanted.server, keys)]), ..self.none() }
    }

    async fn fetch_all(&self, wanted: Vec<Wanted>) -> Keys {
        let (have, missing) = (Mutex::new(self.none()), Mutex::new(Vec::new()));
        let work = async {
            let found = |wanted: &Wanted, keys| have.lock().servers.insert(wanted.server.clone(), keys);
            let ask = stream::iter(wanted).for_each_concurrent(AT_A_TIME, |wanted| async {
                let (keys, asked) = self.keys_of(&wanted).await;
                let complete = wanted.is_in(&keys);
                found(&wanted, keys);
                if asked && !complete {
                    missing.lock().push(wanted);
                }
            });
            ask.await;
            let missing = std::mem::take(&mut *missing.lock());
            for (wanted, response) in self.ask_notaries(missing).await {
                let keys = self.remember(&wanted.server, &response, None).await;
                found(&wanted, keys);
            }
        };
        if tokio::time::timeout(PATIENCE, work).await.is_err() {
            debug!("not all keys came in time");
        }
        have.into_inner()
    }

    /// What is known of a server, after asking it where that is not enough; and whether it was asked.
    async fn keys_of(&self, wanted: &Wanted) -> (Arc<ServerKeys>, bool) {
        if wanted.server == self.identity().server_name {
            return (Arc::clone(&self.own), false);
        }
        let server = self.server(&wanted.server);
        let keys = self.known(&wanted.server, &server).await;
        if wanted.is_in(&keys) {
            return (keys, false);
        }
        let mut pause = server.asking.lock().await;
        // Who asked before may have been answered.
        let keys = self.known(&wanted.server, &server).await;
        let now = self.clock.now_ms();
        if wanted.is_in(&keys) || pause.holds(now, wanted.awake) {
            return (keys, false);
        }
        match self.ask(&wanted.server).await {
            Ok((response, answer)) => {
                let keys = self.remember(&wanted.server, &response, Some(answer)).await;
                pause.answered(now, wanted.is_in(&keys));
                (keys, true)
            }
            Err(error) => {
                debug!(server = %wanted.server, error, "no keys");
                pause.silent(now);
                (keys, true)
            }
        }
    }

    fn server(&self, name: &OwnedServerName) -> Arc<Server> {
        if let Some(server) = self.servers.get(name) {
            return server;
        }
        let made = self.servers.get_or_insert_with(name, || Ok::<_, std::convert::Infallible>(Arc::default()));
        made.unwrap_or_default()
    }

    async fn known(&self, name: &ServerName, server: &Server) -> Arc<ServerKeys> {
        if let Some(keys) = server.keys.read().clone() {
            return keys;
        }
        let rows = known::load(&self.db, name).await.unwrap_or_else(|error| {
            warn!(%error, "kept keys cannot be read");
            ServerKeys::new()
        });
        Arc::clone(server.keys.write().get_or_insert_with(|| Arc::new(rows)))
    }

    /// Asks a server for its keys.
    async fn ask(&self, server: &OwnedServerName) -> Result<(KeyResponse, Answer), String> {
        let target = "/_matrix/key/v2/server".to_owned();
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let body =
            self.client.unsigned(server, Method::GET, target, None, LIMITS).await.map_err(|error| error.to_string())?;
        let (response, _) = response::read(&body, server, self.clock.now_ms()).map_err(|error| error.to_string())?;
        let json = String::from_utf8(body.into()).map_err(|error| error.to_string())?;
        let answer = Answer { json, valid_until: response.valid_until };
        Ok((response, answer))
    }

    /// Keeps what a server, or with no `answer` a notary, said.
    async fn remember(
        &self,
        name: &OwnedServerName,
        response: &KeyResponse,
        answer: Option<Answer>,
    ) -> Arc<ServerKeys> {
        let server = self.server(name);
        let before = self.known(name, &server).await;
        let after = {
            let mut keys = server.keys.write();
            let known = keys.as_deref().unwrap_or(&before);
            let merged = Arc::new(known::merge(known, response, answer.is_some()));
            *keys = Some(Arc::clone(&merged));
            merged
        };
        if let Err(error) = self.keep(name, &before, &after, answer).await {
            warn!(%error, server = %name, "keys could not be kept");
        }
        after
    }

    async fn keep(
        &self,
        name: &OwnedServerName,
        before: &ServerKeys,
        after: &Arc<ServerKeys>,
        answer: Option<Answer>,
    ) -> Result<(), KeepError> {
        let stranger = Strangers::is_one(&self.engine, name).await?.then(|| self.clock.now_ms());
        known::save(&self.db, name, before, after, answer, stranger).await?;
        if stranger.is_some() && before.is_empty() {
            for gone in self.strangers.bound(&self.engine, &self.db).await? {
                self.servers.remove(&gone);
            }
        }
        Ok(())
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.engine.identity
    }

    /// Our own keys, signed.
    pub(super) fn own_answer(&self) -> Result<Raw<ServerSigningKeys>, serde_json::Error> {
        own::answer(self.identity(), &self.own, self.clock.now_ms())
    }

    /// A server's answer about its keys with our signature added, which says that we got it. An older one where there is none that is
    /// good until `least`, or none may be asked for.
    pub(super) async fn attested(
        &self,
        server: &OwnedServerName,
        least: u64,
        may_ask: impl FnOnce() -> bool,
    ) -> Option<Raw<ServerSigningKeys>> {
        let now = self.clock.now_ms();
        if *server == self.identity().server_name {
            return self.own_answer().ok();
        }
        let kept = known::load_answer(&self.db, server).await.ok().flatten();
        // Nobody's keys are good for longer than that, whatever is asked for.
        let least = least.max(now).min(now.saturating_add(response::MAX_VALIDITY / 2));
        let answer = match kept {
            Some(answer) if answer.valid_until >= least => answer,
            kept => self.ask_again(server, now, may_ask).await.or(kept)?,
        };
        own::sign(self.identity(), serde_json::from_str(&answer.json).ok()?).ok()
    }

    async fn ask_again(&self, name: &OwnedServerName, now: u64, may_ask: impl FnOnce() -> bool) -> Option<Answer> {
        let server = self.server(name);
        let mut pause = server.asking.lock().await;
        if pause.holds(now, false) || !may_ask() {
            return None;
        }
        match self.ask(name).await {
            Ok((response, answer)) => {
                self.remember(name, &response, Some(answer.clone())).await;
                pause.answered(now, false);
                Some(answer)
            }
            Err(error) => {
                debug!(server = %name, error, "no keys");
                pause.silent(now);
                None
            }
        }
    }
}

impl Pause {
    fn holds(&self, now: u64, awake: bool) -> bool {
        let wait = if awake && self.silent { self.wait.min(SILENT_PAUSE.0) } else { self.wait };
        now < self.last.saturating_add(wait)
    }

    fn answered(&mut self, now: u64, with_all: bool) {
        *self = Self { last: now, wait: if with_all { 0 } else { ANSWERED_PAUSE }, silent: false };
    }

    fn silent(&mut self, now: u64) {
        let (least, most) = SILENT_PAUSE;
        let wait = if self.silent { self.wait.saturating_mul(2).min(most) } else { least };
        *self = Self { last: now, wait, silent: true };
    }
}
