//! Registered apps. [Client registration](https://spec.matrix.org/v1.19/client-server-api/#client-registration).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http_kit::Clock;
use ruma::{DeviceId, OwnedDeviceId};
use serde::{Deserialize, Serialize};
use store::{Db, Json, Keyspace, Op, Page, Table};
use tokio::sync::{RwLock, RwLockReadGuard};
use users::{Result, UserNum, Users};

use crate::oauth::{client::Client, config::OauthConfig, tokens::Note};

// This crate has bytes 96 to 103 of the keyspace Index; 96 to 100 are registration tokens and what belongs to providers.
const CLIENTS: Table<String, Json<ClientRow>> = Table::new(Keyspace::Index, 101, "oauth_clients");
/// Clients by when it is looked next whether anybody is logged in by them, in Unix milliseconds.
const CLIENTS_DUE: Table<(u64, String), ()> = Table::new(Keyspace::Index, 102, "oauth_clients_due");
/// Who was logged in by a client. Log-ins end elsewhere, so that rows may be left over; those are removed when the client is looked at.
const CLIENT_SESSIONS: Table<(String, UserNum, String), ()> = Table::new(Keyspace::Index, 103, "oauth_client_sessions");

/// Clients that are looked at in one go.
const AT_ONCE: usize = 32;
/// Log-ins of one client that are looked at in one go.
const SESSIONS_AT_ONCE: usize = 32;
/// Clients that are looked at to make room for a new one.
const TRIES: usize = 16;
/// How much later a client must be due for that to be written, in milliseconds.
const DUE_STEP_MS: u64 = 3_600_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ClientRow {
    #[serde(flatten)]
    client: Client,
    created_ts: u64,
    due_ts: u64,
}

/// A client that is registered.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) client: Client,
    /// When it registered first, in Unix milliseconds.
    pub(crate) created_ts: u64,
}

/// What became of a registration.
pub(crate) enum Registration {
    Done(Registered),
    /// There are as many as there may be, and somebody is logged in by each that was looked at.
    Full,
}

/// The registered clients.
pub(crate) struct Clients {
    db: Arc<Db>,
    users: Arc<Users>,
    clock: Clock,
    max: usize,
    unused_ms: u64,
    /// Read: somebody is being logged in by a client. Written: clients come and go.
    gate: RwLock<()>,
    /// How many there are; counted at the first registration.
    count: tokio::sync::OnceCell<AtomicUsize>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").field("max", &self.max).finish_non_exhaustive()
    }
}

impl Clients {
    pub(crate) fn new(db: Arc<Db>, users: Arc<Users>, clock: Clock, config: &OauthConfig) -> Self {
        let unused_ms = u64::from(config.unused_client_hours) * 3_600_000;
        let (gate, count) = (RwLock::default(), tokio::sync::OnceCell::new());
        Self { db, users, clock, max: config.max_clients, unused_ms, gate, count }
    }

    pub(crate) async fn find(&self, id: &str) -> Result<Option<Registered>> {
        let row = self.db.get(&CLIENTS, &id.to_owned()).await?;
        Ok(row.map(|Json(row)| Registered { id: id.to_owned(), client: row.client, created_ts: row.created_ts }))
    }

    /// Keeps a client, or keeps it longer where it is there already.
    pub(crate) async fn register(&self, client: Client, id: String) -> Result<Registration> {
        let _gate = self.gate.write().await;
        let now = self.clock.now_ms();
        let due_ts = now.saturating_add(self.unused_ms);
        if let Some(Json(row)) = self.db.get(&CLIENTS, &id).await? {
            if due_ts > row.due_ts.saturating_add(DUE_STEP_MS) {
                self.postpone(&id, row.clone(), due_ts).await?;
            }
            return Ok(Registration::Done(Registered { id, client: row.client, created_ts: row.created_ts }));
        }
        let count = self.count.get_or_try_init(|| self.count_all()).await?;
        if count.load(Ordering::Acquire) >= self.max && !self.make_room(now).await? {
            return Ok(Registration::Full);
        }
        let row = ClientRow { client: client.clone(), created_ts: now, due_ts };
        let mut write = self.db.write();
        write.put(&CLIENTS, &id, &Json(row)).put(&CLIENTS_DUE, &(due_ts, id.clone()), &());
        write.commit().await?;
        count.fetch_add(1, Ordering::AcqRel);
        Ok(Registration::Done(Registered { id, client, created_ts: now }))
    }

    async fn count_all(&self) -> Result<AtomicUsize> {
        Ok(AtomicUsize::new(self.db.scan_all(&CLIENTS_DUE, &()).await?.len()))
    }

    /// Removes the client that has been unused for longest.
    async fn make_room(&self, now: u64) -> Result<bool> {
        let first = self.db.scan_prefix(&CLIENTS_DUE, &(), Page::first(TRIES)).await?;
        for ((_, id), ()) in first {
            if self.look_at(&id, now).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes clients that nobody is logged in by any more; to be called now and then.
    pub(crate) async fn expire(&self) -> Result<()> {
        let now = self.clock.now_ms();
        let due = self.db.scan(&CLIENTS_DUE, &(), &now.saturating_add(1), Page::first(AT_ONCE)).await?;
        for ((_, id), ()) in due {
            let _gate = self.gate.write().await;
            self.look_at(&id, now).await?;
        }
        Ok(())
    }

    /// Removes a client, or, where somebody is logged in by it, has it looked at later. Whether it was removed. For use behind the
    /// gate.
    async fn look_at(&self, id: &String, now: u64) -> Result<bool> {
        let Some(Json(row)) = self.db.get(&CLIENTS, id).await? else { return Ok(false) };
        if self.is_used(id).await? {
            self.postpone(id, row, now.saturating_add(self.unused_ms)).await?;
            return Ok(false);
        }
        let mut write = self.db.write();
        write.delete(&CLIENTS, id).delete(&CLIENTS_DUE, &(row.due_ts, id.clone()));
        write.op(CLIENT_SESSIONS.delete_prefix(id));
        write.commit().await?;
        if let Some(count) = self.count.get() {
            count.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(true)
    }

    async fn postpone(&self, id: &String, row: ClientRow, due_ts: u64) -> Result<()> {
        let mut write = self.db.write();
        write.delete(&CLIENTS_DUE, &(row.due_ts, id.clone())).put(&CLIENTS_DUE, &(due_ts, id.clone()), &());
        write.put(&CLIENTS, id, &Json(ClientRow { due_ts, ..row }));
        Ok(write.commit().await?)
    }

    /// Whether somebody is logged in by a client. Rows of log-ins that have ended are removed on the way; while there are more of them
    /// than are looked at in one go the client counts as used.
    async fn is_used(&self, id: &String) -> Result<bool> {
        let rows = self.db.scan_prefix(&CLIENT_SESSIONS, id, Page::first(SESSIONS_AT_ONCE)).await?;
        let full = rows.len() == SESSIONS_AT_ONCE;
        let mut write = self.db.write();
        for (key, ()) in rows {
            let grant = self.users.tokens.grant_of(key.1, &OwnedDeviceId::from(key.2.as_str())).await?;
            if grant.is_some_and(|grant| Note::parse(&grant.note).is_some_and(|note| note.client == *id)) {
                return Ok(true);
            }
            write.delete(&CLIENT_SESSIONS, &key);
        }
        write.commit().await?;
        Ok(full)
    }

    /// Keeps clients from going away while somebody is logged in by one.
    pub(crate) async fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().await
    }

    /// What notes a log-in, for its own commit.
    pub(crate) fn session(client: &str, user: UserNum, device: &DeviceId) -> Op {
        CLIENT_SESSIONS.put(&(client.to_owned(), user, device.as_str().to_owned()), &())
    }

    #[cfg(test)]
    pub(crate) async fn sessions(&self, client: &str) -> usize {
        self.db.scan_all(&CLIENT_SESSIONS, &client.to_owned()).await.map_or(0, |rows| rows.len())
    }
}
