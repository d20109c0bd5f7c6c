//! Events that are to be sent later.
//! [MSC4140](https://github.com/matrix-org/matrix-spec-proposals/pull/4140): cancellable delayed events.
//!
//! This keeps them and says which are due; whoever sends them puts what becomes of one into the event's own commit.

mod event;

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use store::{DbWrite, Json, Op, Page};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, futures::Notified};

pub use self::event::{Delayed, DelayedService, DelayedTxn, Finalised, NewDelayed, Outcome};
use self::event::{FINALISED, SCHEDULED, txn_key};
use crate::{
    core::Core,
    error::{Result, UsersError},
    tables::{DELAYED, DELAYED_DUE, DELAYED_OF, DELAYED_TXNS, UserNum},
};

/// How long it can be looked up what became of one, in milliseconds.
pub const RETENTION_MS: u64 = 7 * 86_400_000;
/// Of how many of a user that can be looked up, at most: the newest.
const MAX_FINALISED: usize = 200;
/// Enough that two that are changed at once seldom wait for each other.
const LOCKS: usize = 256;

/// A delayed event that nobody else changes meanwhile.
#[derive(Debug)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// As it is.
    pub event: Delayed,
    lock: Arc<OwnedMutexGuard<()>>,
}

impl Held {
    /// What a commit keeps until it has landed, so that nobody else changes the event before, also where who waits for it is gone.
    pub fn guard(&self) -> Arc<OwnedMutexGuard<()>> {
        Arc::clone(&self.lock)
    }
}

/// The end of a delayed event, ready for a commit.
#[derive(Debug)]
pub struct Finalising {
    id: String,
    event: Delayed,
    now: u64,
    /// Removes what is beyond [`MAX_FINALISED`].
    spill: Vec<Op>,
}

impl Finalising {
    /// The operations that say what became of it.
    pub fn ops(self, outcome: Outcome) -> Vec<Op> {
        let Self { id, event, now, spill: mut ops } = self;
        let (event_id, error) = match outcome {
            Outcome::Sent(event_id) => (Some(event_id), None),
            Outcome::Failed(error) => (None, Some(error)),
            Outcome::Cancelled => (None, None),
        };
        let finalised = Some(Finalised { ts: now, event_id, error });
        let after = Delayed { finalised, due_ts: now.saturating_add(RETENTION_MS), ..event.clone() };
        ops.extend(event.replaced(&id, &after));
        ops
    }
}

/// The delayed events of local users.
#[derive(Debug)]
pub struct DelayedEvents {
    core: Arc<Core>,
    locks: Vec<Arc<Mutex<()>>>,
    hasher: RandomState,
    changed: Notify,
}

impl DelayedEvents {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let locks = (0..LOCKS).map(|_| Arc::default()).collect();
        Self { core, locks, hasher: RandomState::new(), changed: Notify::new() }
    }

    /// Resolves when another event may be the next one that is due.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// The delayed event that a request made, if it was made before.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn made_by(&self, user: UserNum, txn: &DelayedTxn) -> Result<Option<String>> {
        Ok(self.core.db.get(&DELAYED_TXNS, &txn_key(user, txn)).await?)
    }

    /// Keeps an event under a new `id`, which nobody can guess, where its user has fewer than `limit` that wait. The id that it has is given back:
    /// another one where the same request made it before.
    ///
    /// # Errors
    /// [`UsersError::TooManyDelayed`], and those of the store.
    pub async fn schedule(&self, id: String, new: NewDelayed, limit: usize) -> Result<String> {
        let lock = self.core.lock(new.user).await;
        if let Some(txn) = &new.txn
            && let Some(id) = self.made_by(new.user, txn).await?
        {
            return Ok(id);
        }
        let waiting =
            self.core.db.scan_prefix(&DELAYED_OF, &(new.user, SCHEDULED), Page::first(limit.saturating_add(1))).await?;
        if waiting.len() >= limit {
            let next_ts = waiting.first().map_or_else(|| self.core.clock.now_ms(), |((_, _, due, ..), ())| *due);
            return Err(UsersError::TooManyDelayed { next_ts });
        }
        let (now, made) = (self.core.clock.now_ms(), id.clone());
        let build = move |pos, write: &mut DbWrite<'_>| {
            let event = Delayed::new(new, pos, now);
            write.ops(event.put(&made));
            if let Some(txn) = &event.txn {
                write.put(&DELAYED_TXNS, &txn_key(event.user, txn), &made);
            }
        };
        self.core.commit_at(lock, 1, build, |_| ()).await?;
        self.changed.notify_one();
        Ok(id)
    }

    /// One delayed event.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, id: &str) -> Result<Option<Delayed>> {
        Ok(self.core.db.get(&DELAYED, &id.to_owned()).await?.map(|Json(event)| event))
    }

    /// The delayed events of a user that wait, in the order in which they are due, at most `limit`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn waiting(&self, user: UserNum, limit: usize) -> Result<Vec<(String, Delayed)>> {
        let rows = self.core.db.scan_prefix(&DELAYED_OF, &(user, SCHEDULED), Page::first(limit)).await?;
        let ids: Vec<String> = rows.into_iter().map(|((_, _, _, _, id), ())| id).collect();
        let events = self.core.db.multi_get(&DELAYED, &ids).await?;
        let found = ids.into_iter().zip(events).filter_map(|(id, event)| Some((id, event?.0)));
        // One that was sent between the two reads does not wait any more.
        Ok(found.filter(|(_, event)| event.finalised.is_none()).collect())
    }

    /// Keeps everybody else from changing a delayed event, until what is given back is used or dropped.
    ///
    /// # Errors
    /// [`UsersError::DelayedNotFound`], and those of the store.
    pub async fn hold(&self, id: &str) -> Result<Held> {
        let place = usize::try_from(self.hasher.hash_one(id) % LOCKS as u64).unwrap_or_default();
        let lock = self.locks.get(place).ok_or(UsersError::DelayedNotFound)?;
        let lock = Arc::clone(lock).lock_owned().await;
        let event = self.get(id).await?.ok_or(UsersError::DelayedNotFound)?;
        Ok(Held { id: id.to_owned(), event, lock: Arc::new(lock) })
    }

    /// Lets one that waits begin to wait anew.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn restart(&self, held: Held) -> Result<()> {
        let now = self.core.clock.now_ms();
        let due_ts = now.saturating_add(held.event.delay_ms);
        let after = Delayed { since_ts: now, due_ts, ..held.event.clone() };
        self.replace(held, &after).await
    }

    /// Has one that is due tried again at `due_ts`, in Unix milliseconds.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn postpone(&self, held: Held, due_ts: u64) -> Result<()> {
        let after = Delayed { due_ts, ..held.event.clone() };
        self.replace(held, &after).await
    }

    async fn replace(&self, held: Held, after: &Delayed) -> Result<()> {
        let ops = held.event.replaced(&held.id, after);
        self.commit(held, ops).await?;
        self.changed.notify_one();
        Ok(())
    }

    /// The lock ends with the commit and not with the caller, who may be dropped while the commit is on its way.
    async fn commit(&self, held: Held, ops: Vec<Op>) -> Result<()> {
        let mut write = self.core.db.write();
        write.ops(ops).on_done(move |_| drop(held.lock));
        Ok(write.commit().await?)
    }

    /// What makes up the end of one that waits, for the commit of its event.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn finalising(&self, held: &Held) -> Result<Finalising> {
        let now = self.core.clock.now_ms();
        let page = Page::first(2 * MAX_FINALISED);
        let over = self.core.db.scan_prefix(&DELAYED_OF, &(held.event.user, FINALISED), page).await?;
        let mut spill = Vec::new();
        for ((_, _, _, _, id), ()) in over.iter().take((over.len() + 1).saturating_sub(MAX_FINALISED)) {
            if let Some(event) = self.get(id).await? {
                spill.extend(event.delete(id));
            }
        }
        Ok(Finalising { id: held.id.clone(), event: held.event.clone(), now, spill })
    }

    /// Says what became of one that waited, in a commit of its own.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn finalise(&self, held: Held, outcome: Outcome) -> Result<()> {
        let finalising = self.finalising(&held).await?;
        self.commit(held, finalising.ops(outcome)).await
    }

    /// Removes one whose end nobody can look up any more.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget(&self, held: Held) -> Result<()> {
        let ops = held.event.delete(&held.id);
        self.commit(held, ops).await
    }

    /// Whose events are due at `now`, and which, in the order in which they are; at most `limit`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn due(&self, now: u64, limit: usize) -> Result<Vec<(UserNum, String)>> {
        let rows = self.core.db.scan(&DELAYED_DUE, &(), &now.saturating_add(1), Page::first(limit)).await?;
        Ok(rows.into_iter().map(|((_, _, user, id), ())| (user, id)).collect())
    }

    /// When the next one is due, in Unix milliseconds.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn next_due(&self) -> Result<Option<u64>> {
        let rows = self.core.db.scan_prefix(&DELAYED_DUE, &(), Page::first(1)).await?;
        Ok(rows.first().map(|((due, ..), ())| *due))
    }

    /// What removes everything of a user, for the commit that closes the account.
    pub(crate) async fn deletion_of_account(&self, user: UserNum) -> Result<Vec<Op>> {
        let mut ops = vec![DELAYED_TXNS.delete_prefix(&user)];
        for ((_, _, due, seq, id), ()) in self.core.db.scan_all(&DELAYED_OF, &user).await? {
            ops.extend([DELAYED.delete(&id), DELAYED_DUE.delete(&(due, seq, user, id))]);
        }
        ops.push(DELAYED_OF.delete_prefix(&user));
        Ok(ops)
    }
}

#[cfg(test)]
mod tests;
