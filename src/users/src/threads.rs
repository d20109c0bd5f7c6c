//! Which threads a user follows.
//! [MSC4306](https://github.com/matrix-org/matrix-spec-proposals/pull/4306): thread subscriptions.

use std::sync::Arc;

use quick_cache::sync::Cache;
use ruma::EventId;
use store::{DbWrite, Json, Op, Outcome, Page, Pos, WakeKeys};

use crate::{
    core::{Core, release},
    error::{Result, UsersError},
    tables::{RoomNum, THREAD_STREAM, THREADS, UserNum},
};

/// What a user said of a thread last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ThreadRow {
    /// Whether they follow it; and if so, whether an app decided that for them.
    #[serde(rename = "s")]
    pub subscribed: Option<Automatic>,
    /// The position in the stream at which it was said.
    #[serde(rename = "p")]
    pub pos: Pos,
}

/// Whether an app subscribed by itself.
pub type Automatic = bool;

/// A change of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadChange {
    /// The room.
    pub room: RoomNum,
    /// The event that the thread began with.
    pub root: String,
    /// What holds since.
    pub row: ThreadRow,
}

/// The thread subscriptions of local users.
#[derive(Debug)]
pub struct ThreadSubscriptions {
    core: Arc<Core>,
    /// The position of each user's newest change, for those who sync.
    newest: Arc<Cache<UserNum, Pos>>,
}

impl ThreadSubscriptions {
    pub(crate) fn new(core: Arc<Core>, cached_users: usize) -> Self {
        Self { core, newest: Arc::new(Cache::new(cached_users)) }
    }

    /// What a user said of a thread last.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, user: UserNum, room: RoomNum, root: &EventId) -> Result<Option<ThreadRow>> {
        Ok(self.core.db.get(&THREADS, &(user, room, root.to_string())).await?.map(|Json(row)| row))
    }

    /// Subscribes a user to a thread. Where an app does so by itself, `cause` is the position of the event that it does so for: nothing that
    /// was there when the user unsubscribed brings them back. What the user did themselves stays.
    ///
    /// # Errors
    /// [`UsersError::UnsubscribedSince`], and those of the store.
    pub async fn subscribe(&self, user: UserNum, room: RoomNum, root: &EventId, cause: Option<Pos>) -> Result<()> {
        self.change(user, room, root, |old| match (old, cause) {
            (Some(ThreadRow { subscribed: None, pos }), Some(cause)) if cause <= pos => {
                Err(UsersError::UnsubscribedSince)
            }
            (Some(ThreadRow { subscribed: Some(_), .. }), Some(_)) => Ok(None),
            (Some(ThreadRow { subscribed: Some(false), .. }), None) => Ok(None),
            _ => Ok(Some(Some(cause.is_some()))),
        })
        .await
    }

    /// Unsubscribes a user from a thread.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn unsubscribe(&self, user: UserNum, room: RoomNum, root: &EventId) -> Result<()> {
        // Also of one that they did not follow: what was there up to now subscribes them no more.
        self.change(user, room, root, |_| Ok(Some(None))).await
    }

    async fn change(
        &self,
        user: UserNum,
        room: RoomNum,
        root: &EventId,
        decide: impl FnOnce(Option<ThreadRow>) -> Result<Option<Option<Automatic>>>,
    ) -> Result<()> {
        let lock = self.core.lock(user).await;
        let key = (user, room, root.to_string());
        let old = self.core.db.get(&THREADS, &key).await?.map(|Json(row)| row);
        let Some(subscribed) = decide(old)? else { return Ok(()) };
        let newest = Arc::clone(&self.newest);
        let ticket = self.core.db.enqueue_at(1, move |pos, mut write| {
            if let Some(old) = old {
                write.delete(&THREAD_STREAM, &(user, old.pos));
            }
            put(&mut write, key, ThreadRow { subscribed, pos });
            let unlock = release(lock, move || newest.insert(user, pos));
            write.wake(WakeKeys::one(user)).on_done(move |outcome: Outcome| unlock(outcome));
            write
        });
        ticket.await?;
        Ok(())
    }

    /// Changes behind position `after`, up to and including `to`, newest first, at most `limit`: of each thread what was said last. And the
    /// position up to which older ones are left, where some are.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn changes(
        &self,
        user: UserNum,
        after: Pos,
        to: Pos,
        limit: usize,
    ) -> Result<(Vec<ThreadChange>, Option<Pos>)> {
        if after >= to || self.newest(user).await? <= after {
            return Ok((Vec::new(), None));
        }
        let (start, end) = ((user, after.saturating_add(1)), (user, to.saturating_add(1)));
        let page = Page::last(limit.saturating_add(1));
        let mut rows = self.core.db.scan(&THREAD_STREAM, &start, &end, page).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let rest = rows.last().filter(|_| more).map(|((_, pos), _)| pos.saturating_sub(1));
        let keys: Vec<_> = rows.into_iter().map(|(_, Json((room, root)))| (user, room, root)).collect();
        let found = self.core.db.multi_get(&THREADS, &keys).await?;
        let changes = keys.into_iter().zip(found).filter_map(|((_, room, root), row)| {
            let Json(row) = row?;
            // What was said again meanwhile is behind `to`.
            (row.pos <= to).then_some(ThreadChange { room, root, row })
        });
        Ok((changes.collect(), rest))
    }

    async fn newest(&self, user: UserNum) -> Result<Pos> {
        if let Some(newest) = self.newest.get(&user) {
            return Ok(newest);
        }
        // A change that lands meanwhile takes the place of what is being read here.
        self.newest
            .get_or_insert_async(&user, async {
                let last = self.core.db.scan_prefix(&THREAD_STREAM, &user, Page::last(1)).await?;
                Ok(last.first().map_or(0, |((_, pos), _)| *pos))
            })
            .await
    }
}

fn put(write: &mut DbWrite<'_>, key: (UserNum, RoomNum, String), row: ThreadRow) {
    let (user, room, root) = key.clone();
    write.put(&THREADS, &key, &Json(row)).put(&THREAD_STREAM, &(user, row.pos), &Json((room, root)));
}

/// What removes everything of a user, for the commit that closes the account.
pub(crate) fn deletion_of_account(user: UserNum) -> [Op; 2] {
    [THREADS.delete_prefix(&user), THREAD_STREAM.delete_prefix(&user)]
}

#[cfg(test)]
mod tests {
    use ruma::event_id;

    use super::*;
    use crate::testing::Bench;

    #[tokio::test]
    async fn what_a_user_decides_stands_before_what_apps_do() {
        let bench = Bench::new();
        let users = bench.users();
        let (root, now) = (event_id!("$root"), || users.core.db.frontier());
        let row = async || users.threads.get(1, 7, root).await.unwrap().map(|row| row.subscribed);
        assert_eq!(row().await, None);
        users.threads.subscribe(1, 7, root, Some(5)).await.unwrap();
        assert_eq!(row().await, Some(Some(true)));
        users.threads.subscribe(1, 7, root, None).await.unwrap();
        assert_eq!(row().await, Some(Some(false)));
        let before = now();
        users.threads.subscribe(1, 7, root, Some(before + 9)).await.unwrap();
        users.threads.subscribe(1, 7, root, None).await.unwrap();
        assert_eq!((row().await, now()), (Some(Some(false)), before), "nothing new was said");
        users.threads.unsubscribe(1, 7, root).await.unwrap();
        let since = now();
        for cause in [0, before, since] {
            let refused = users.threads.subscribe(1, 7, root, Some(cause)).await;
            assert!(matches!(refused, Err(UsersError::UnsubscribedSince)), "{cause}");
        }
        assert_eq!(bench.users().threads.get(1, 7, root).await.unwrap().unwrap().subscribed, None);
        users.threads.subscribe(1, 7, root, Some(since + 1)).await.unwrap();
        assert_eq!(row().await, Some(Some(true)));
        // It is theirs alone, and this room's.
        assert!(users.threads.get(2, 7, root).await.unwrap().is_none());
        assert!(users.threads.get(1, 8, root).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn changes_come_newest_first_each_thread_once_and_in_pages() {
        let bench = Bench::new();
        let users = bench.users();
        let start = users.core.db.frontier();
        assert_eq!(users.threads.changes(1, 0, Pos::MAX - 1, 10).await.unwrap(), (vec![], None));
        for root in [event_id!("$a"), event_id!("$b"), event_id!("$c"), event_id!("$a")] {
            users.threads.subscribe(1, 7, root, None).await.unwrap();
            users.threads.unsubscribe(1, 7, root).await.unwrap();
        }
        users.threads.subscribe(2, 7, event_id!("$other"), None).await.unwrap();
        for users in [&users, &bench.users()] {
            let to = users.core.db.frontier();
            let page = async |to, limit| {
                let (changes, rest) = users.threads.changes(1, start, to, limit).await.unwrap();
                (changes.into_iter().map(|change| change.root).collect::<Vec<_>>(), rest)
            };
            let (newest, rest) = page(to, 2).await;
            assert_eq!(newest, ["$a", "$c"]);
            assert_eq!(page(rest.unwrap(), 2).await, (vec!["$b".to_owned()], None));
            assert_eq!(page(to, 3).await.1, None);
            let all = users.threads.changes(1, to, to + 5, 10).await.unwrap();
            assert_eq!(all, (vec![], None));
        }
    }
}
