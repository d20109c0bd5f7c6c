//! Transactions to services. [Pushing events](https://spec.matrix.org/v1.19/application-service-api/#pushing-events).
//!
//! The engine keeps what happens as a feed, in the commits of what happened. Each service has a place in it: whatever is behind that and
//! concerns the service becomes its next transaction, which stands in a row, id and the very body of it, before it is sent. So it is the
//! same however often it has to be sent, also after a restart; and when it was taken, the place moves on and the row goes, in one commit.
//! Who types and who is online, true for a moment only, stands in no row.

mod compose;
mod ephemeral;
mod mailbox;
mod trim;
mod turn;

use std::time::Duration;

use engine::EngineError;
use store::{CommitError, IdKind, InternError, Pos, StoreError};
use tokio::time::Instant;

pub(crate) use self::{mailbox::Mailbox, trim::Trim};
use crate::{
    services::Services,
    tables::{CURSORS, IN_FLIGHT},
};

/// After the first failure.
const SHORTEST: Duration = Duration::from_secs(1);
/// However many there were.
const LONGEST: Duration = Duration::from_secs(300);
/// Where the store cannot be read, the next attempt waits for so long.
const STORE_FAILED: Duration = Duration::from_secs(10);

/// What can go wrong on this side of a transaction.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// A room could not be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A name could not be looked up.
    #[error(transparent)]
    Intern(#[from] InternError),
    /// Something is no JSON that should be.
    #[error("a transaction cannot be put together: {0}")]
    Json(#[from] serde_json::Error),
}

/// How far a service is.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Everything up to here was told; the row says so.
    told: Pos,
    /// Everything up to here was looked at.
    seen: Pos,
    /// Attempts that failed, one after the other.
    failures: u32,
}

/// What follows from a turn.
enum Turn {
    /// Something was sent: there may be more.
    Again,
    /// There is nothing to send.
    Idle,
    /// It was not taken.
    Wait(Duration),
}

impl Services {
    /// Gives every service that is to be told anything its place in the feed, and forgets those that are no more. Before anything can
    /// happen that they would be told of.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn start(&self) -> Result<(), DeliveryError> {
        let mut gone: Vec<String> = Vec::new();
        for (id, _) in self.db.scan_all(&CURSORS, &()).await? {
            if self.registrations.by_id(&id).is_none_or(|service| service.url.is_none()) {
                gone.push(id);
            }
        }
        let mut write = self.db.write();
        for id in &gone {
            write.delete(&CURSORS, id).delete(&IN_FLIGHT, id);
        }
        let newest = self.engine.frontier();
        for service in self.registrations.all().iter().filter(|service| service.url.is_some()) {
            let id = service.id.to_string();
            if self.db.get(&CURSORS, &id).await?.is_none() {
                write.put(&CURSORS, &id, &newest);
            }
        }
        write.commit().await?;
        if self.registrations.all().iter().all(|service| service.url.is_none()) {
            // What was kept for others is for nobody now.
            while self.engine.trim_feed(newest).await? {}
        }
        Ok(())
    }

    /// Tells one service what concerns it, for ever; returns where there is nowhere to send it.
    pub(crate) async fn deliver(&self, index: usize) {
        let (Some(service), Some(mailbox)) = (self.service(index), self.mailboxes.get(index)) else { return };
        if service.url.is_none() {
            return;
        }
        let mut place = loop {
            match self.place_of(index).await {
                Ok(place) => break place,
                Err(error) => {
                    tracing::error!(%error, service = %service.id, "its place in the feed cannot be read");
                    tokio::time::sleep(STORE_FAILED).await;
                }
            }
        };
        loop {
            match self.turn(index, service, &mut place).await {
                Ok(Turn::Again) => {}
                Ok(Turn::Idle) => self.idle(mailbox).await,
                Ok(Turn::Wait(time)) => self.wait(index, time).await,
                Err(error) => {
                    tracing::error!(%error, service = %service.id, "what is to be sent to a service cannot be put together");
                    tokio::time::sleep(STORE_FAILED).await;
                }
            }
        }
    }

    async fn place_of(&self, index: usize) -> Result<Place, DeliveryError> {
        let id = self.service(index).map(|service| service.id.to_string()).unwrap_or_default();
        let told = self.db.get(&CURSORS, &id).await?.unwrap_or_default();
        self.trim.told(index, told);
        Ok(Place { told, seen: told, failures: 0 })
    }

    /// Until something happened, or somebody may have stopped typing.
    async fn idle(&self, mailbox: &Mailbox) {
        match mailbox.next_expiry(&self.engine.typing) {
            None => mailbox.woken().await,
            Some(ms) => tokio::select! {
                () = mailbox.woken() => {}
                () = tokio::time::sleep(Duration::from_millis(ms)) => mailbox.look_again(),
            },
        }
    }

    /// Until a service is to be tried again: sooner where it is heard from meanwhile.
    async fn wait(&self, index: usize, time: Duration) {
        let until = Instant::now() + time;
        let soon = Instant::now() + SHORTEST.min(time);
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = self.registrations.heard(index) => tokio::time::sleep_until(soon).await,
        }
    }

    async fn user_id(&self, user: u64) -> Result<Option<ruma::OwnedUserId>, DeliveryError> {
        let name = self.engine.ids.name(IdKind::User, user).await?;
        Ok(name.and_then(|name| ruma::UserId::parse(&*name).ok()))
    }
}
