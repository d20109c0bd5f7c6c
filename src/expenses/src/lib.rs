//! Ties the pure [`ledger`] to rooms: an index of entries written in the events' own commits, folds kept up to date in
//! memory, and the REST API of `spec/api.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod check;
mod error;
mod folds;
mod group;
mod index;
mod kept;
mod people;
mod routes;
mod show;
mod strangers;
mod write;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use axum::extract::FromRef;
use engine::{Engine, Room, RoomNum};
use http_kit::{Authenticator, Group, RateLimits, Requester};
use parking_lot::Mutex;
use rand::Rng;
use ruma::{OwnedEventId, OwnedUserId, RoomVersionId};
use users::Users;

pub use crate::{error::RouteError, index::LedgerIndex, routes::router};
use crate::{folds::Folds, people::Crowds};

/// The type of a ledger's root.
pub(crate) const OPEN: &str = "com.cliquepay.open";
/// The state event that names a room's ledger.
pub(crate) const POINTER: &str = "com.cliquepay.ledger";

/// An invitation of a user of another server.
#[derive(Debug, Clone)]
pub struct RemoteInvitation {
    /// The room.
    pub room: Arc<Room>,
    /// Who invites.
    pub sender: OwnedUserId,
    /// Who is invited.
    pub invited: OwnedUserId,
    /// The content of the membership event: the text of a JSON object.
    pub content: String,
    /// The sending device.
    pub device: Option<String>,
}

/// What ledgers need of other servers.
pub trait OtherServers: Send + Sync {
    /// Sends an invitation; returns at once. The group is there whether or not it arrives: its members can invite again.
    fn invite(&self, invitation: RemoteInvitation);

    /// Has entries of a room's ledger fetched; returns at once. `missing` is what is known to be missing, empty where that is the root.
    fn want(&self, room: RoomNum, missing: Vec<OwnedEventId>);

    /// Whether some are on their way.
    fn pending(&self, room: RoomNum) -> bool;
}

/// What the ledger API works with.
pub struct Expenses {
    pub(crate) engine: Arc<Engine>,
    pub(crate) users: Arc<Users>,
    pub(crate) room_version: RoomVersionId,
    pub(crate) rng: Mutex<Box<dyn Rng + Send>>,
    pub(crate) folds: Folds,
    pub(crate) crowds: Crowds,
    authenticator: Arc<dyn Authenticator>,
    others: OnceLock<Arc<dyn OtherServers>>,
    limits: OnceLock<Arc<RateLimits>>,
}

impl Expenses {
    /// The ledger API over rooms and users. `room_version` is that of new groups.
    pub fn new(
        engine: Arc<Engine>,
        users: Arc<Users>,
        authenticator: Arc<dyn Authenticator>,
        room_version: RoomVersionId,
        rng: Box<dyn Rng + Send>,
    ) -> Arc<Self> {
        let (rng, folds, crowds) = (Mutex::new(rng), Folds::default(), Crowds::default());
        let (others, limits) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { engine, users, room_version, rng, folds, crowds, authenticator, others, limits })
    }

    /// The way to other servers. Set once; without it nobody there can be invited, and entries that are not here stay missing.
    pub fn with_others(&self, others: Arc<dyn OtherServers>) {
        let _ = self.others.set(others);
    }

    /// What users may do in a time. Set once; without it there are no limits.
    pub fn with_limits(&self, limits: Arc<RateLimits>) {
        let _ = self.limits.set(limits);
    }

    /// Whether somebody may write now.
    pub(crate) fn may_write(&self, group: Group, requester: &Requester) -> Result<(), RouteError> {
        requester.not_suspended().map_err(RouteError::Refused)?;
        self.limits.get().map_or(Ok(()), |limits| limits.check(group, requester)).map_err(RouteError::Refused)
    }

    /// Whether nothing of a room's ledger is known to be missing or on its way; what is missing is asked for.
    pub(crate) fn is_complete(&self, room: RoomNum, ledger: &ledger::Ledger) -> bool {
        let missing: Vec<OwnedEventId> = ledger
            .missing()
            .into_iter()
            .filter_map(|missing| OwnedEventId::try_from(missing.event_id.to_string()).ok())
            .collect();
        let lacks = ledger.root().is_none() || !missing.is_empty();
        let Some(others) = self.others.get() else { return !lacks };
        if lacks {
            others.want(room, missing);
        }
        !lacks && !others.pending(room)
    }

    /// A fresh uid: 128 random bits in hexadecimal.
    pub(crate) fn uid(&self) -> String {
        let mut rng = self.rng.lock();
        format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())
    }

    /// The digest of a room's ledger with all that is durable now. Equal digests mean equal ledgers.
    ///
    /// # Errors
    /// [`RouteError::NoLedger`], [`RouteError::Encrypted`], and those of the store.
    pub async fn digest(&self, room: &Room) -> Result<String, RouteError> {
        Ok(self.ledger(room).await?.ledger.digest())
    }

    /// Today in UTC, `YYYY-MM-DD`.
    pub(crate) fn today(&self) -> String {
        let seconds = i64::try_from(self.engine.now() / 1000).unwrap_or_default();
        let date =
            time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH).date();
        format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
    }
}

/// The router's state.
#[derive(Clone)]
pub struct Api(pub Arc<Expenses>);

impl std::ops::Deref for Api {
    type Target = Expenses;
    fn deref(&self) -> &Expenses {
        &self.0
    }
}

impl FromRef<Api> for Arc<dyn Authenticator> {
    fn from_ref(api: &Api) -> Self {
        Arc::clone(&api.authenticator)
    }
}
