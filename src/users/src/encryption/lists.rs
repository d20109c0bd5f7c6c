//! Who has to look at whose devices again, and which servers are to be told.
//! [Tracking the device list](https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user).

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use futures::future::BoxFuture;
use store::{DbWrite, Json, Outcome, Page, Pos, WakeKeys};
use tokio::sync::OnceCell;

use super::rows::{ListRow, ListUpdate, StreamEntry};
use crate::{
    core::Core,
    error::Result,
    tables::{DEVICE_LIST_STREAM, DEVICE_LISTS, LIST_UPDATES, RoomNum, UserNum},
};

/// Rows of the stream read in one go.
const SCAN_PAGE: usize = 1000;

/// Says which local users share a room with a user.
pub type Sharers = Arc<dyn Fn(UserNum) -> BoxFuture<'static, Vec<UserNum>> + Send + Sync>;

/// Told, on the committer's thread, that something is durable that other servers are to be told. The servers are named where they
/// are known; none means that there are new rows in [`LIST_UPDATES`].
pub type OutgoingWatcher = Arc<dyn Fn(&[u64]) + Send + Sync>;

/// Changes of lists of devices, local and remote users' alike.
pub struct DeviceLists {
    core: Arc<Core>,
    newest: Arc<AtomicU64>,
    loaded: OnceCell<()>,
    sharers: OnceLock<Sharers>,
    outgoing: OnceLock<OutgoingWatcher>,
}

impl std::fmt::Debug for DeviceLists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceLists").finish_non_exhaustive()
    }
}

/// A change about to be committed, under the user's lock.
pub(crate) struct Change {
    user: UserNum,
    old: ListRow,
    devices: Vec<String>,
    signing: bool,
    /// The change is seen by those who share a room with the user.
    seen: bool,
    local: bool,
    wake: Vec<UserNum>,
    newest: Arc<AtomicU64>,
    outgoing: Option<OutgoingWatcher>,
}

impl Change {
    /// Stream positions that it takes.
    pub(crate) fn positions(&self) -> u64 {
        match (self.local, self.seen) {
            (_, false) => 0,
            (false, true) => 1,
            (true, true) => self.devices.len() as u64 + u64::from(self.signing),
        }
    }

    /// What is to run when the commit that it was added to from a position on is done.
    pub(crate) fn done(&self) -> impl FnOnce(Pos) + Send + use<> {
        let positions = self.positions();
        let newest = Arc::clone(&self.newest);
        let outgoing = self.outgoing.clone().filter(|_| positions > 0);
        move |first| {
            if positions > 0 {
                newest.fetch_max(last_of(first, positions), Ordering::AcqRel);
            }
            if let Some(told) = outgoing {
                told(&[]);
            }
        }
    }

    /// Adds it to a commit from a position on, and whom it wakes.
    pub(crate) fn write(self, first: Pos, write: &mut DbWrite<'_>) {
        let positions = self.positions();
        write.wake(WakeKeys::Some(self.wake.iter().copied().chain([self.user]).collect()));
        if positions == 0 {
            return;
        }
        let (user, mut stream) = (self.user, self.old.stream);
        for (pos, device) in (first..).zip(self.devices) {
            if self.outgoing.is_some() {
                write.put(&LIST_UPDATES, &pos, &Json(ListUpdate::Device { user, device, stream: pos, prev: stream }));
            }
            stream = pos;
        }
        let last = last_of(first, positions);
        if self.signing && self.outgoing.is_some() {
            write.put(&LIST_UPDATES, &last, &Json(ListUpdate::Signing { user }));
        }
        if self.old.pos != 0 {
            write.delete(&DEVICE_LIST_STREAM, &self.old.pos);
        }
        write.put(&DEVICE_LIST_STREAM, &last, &Json(StreamEntry { user, viewer: None }));
        write.put(&DEVICE_LISTS, &user, &Json(ListRow { pos: last, stream }));
    }
}

fn last_of(first: Pos, positions: u64) -> Pos {
    first.saturating_add(positions).saturating_sub(1)
}

impl DeviceLists {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            newest: Arc::default(),
            loaded: OnceCell::new(),
            sharers: OnceLock::new(),
            outgoing: OnceLock::new(),
        }
    }

    /// Sets who says which users share a room; without it, only a user's own devices are woken by changes. Set once.
    pub fn on_change(&self, sharers: Sharers) {
        let _ = self.sharers.set(sharers);
    }

    /// Sets who is told that there is something for other servers; without it, nothing is kept for them. Set once.
    pub fn on_outgoing(&self, watcher: OutgoingWatcher) {
        let _ = self.outgoing.set(watcher);
    }

    pub(crate) fn outgoing(&self) -> Option<OutgoingWatcher> {
        self.outgoing.get().cloned()
    }

    /// A change of some devices of a local user, of their cross-signing keys, of both or of neither; for use under the user's lock.
    pub(crate) async fn change(&self, user: UserNum, devices: Vec<String>, signing: bool) -> Result<Change> {
        let seen = !devices.is_empty() || signing;
        let wake = match self.sharers.get().filter(|_| seen) {
            Some(sharers) => sharers(user).await,
            None => Vec::new(),
        };
        let outgoing = self.outgoing();
        let old = if seen { self.row(user).await? } else { ListRow::default() };
        Ok(Change { user, old, devices, signing, seen, local: true, wake, newest: Arc::clone(&self.newest), outgoing })
    }

    /// A change of a remote user's list, where those who see it are to be told; whoever calls wakes them.
    pub(crate) async fn remote_change(&self, user: UserNum, seen: bool) -> Result<Change> {
        let (devices, wake, newest) = (Vec::new(), Vec::new(), Arc::clone(&self.newest));
        let old = self.row(user).await?;
        Ok(Change { user, old, devices, signing: false, seen, local: false, wake, newest, outgoing: None })
    }

    pub(crate) async fn row(&self, user: UserNum) -> Result<ListRow> {
        Ok(self.core.db.get(&DEVICE_LISTS, &user).await?.map(|row| row.0).unwrap_or_default())
    }

    /// The stream id of a local user's list, as other servers are told it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stream_id(&self, user: UserNum) -> Result<u64> {
        Ok(self.row(user).await?.stream)
    }

    /// What is to run when a commit with changes up to a position is done.
    pub(crate) fn moved(&self) -> impl FnOnce(Pos) + Send + use<> {
        let newest = Arc::clone(&self.newest);
        move |pos| {
            newest.fetch_max(pos, Ordering::AcqRel);
        }
    }

    /// A user entered a room: its servers may not have the list of their devices.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn announce(&self, user: UserNum, room: RoomNum) -> Result<()> {
        let Some(told) = self.outgoing() else { return Ok(()) };
        let ticket = self.core.db.enqueue_at(1, |pos, mut write| {
            write.put(&LIST_UPDATES, &pos, &Json(ListUpdate::Announce { user, room }));
            write.on_done(move |outcome| {
                if outcome == Outcome::Done {
                    told(&[]);
                }
            });
            write
        });
        ticket.await?;
        Ok(())
    }

    /// The users whose list changed behind position `from`, up to and including `to`, as far as `viewer` sees that; each with whether
    /// the viewer sees it whether or not they share a room.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn changes(&self, viewer: UserNum, mut from: Pos, to: Pos) -> Result<Vec<(UserNum, bool)>> {
        if self.newest().await? <= from {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        loop {
            let (start, end) = (from.saturating_add(1), to.saturating_add(1));
            let rows = self.core.db.scan(&DEVICE_LIST_STREAM, &start, &end, Page::first(SCAN_PAGE)).await?;
            let full = rows.len() == SCAN_PAGE;
            for (pos, Json(entry)) in rows {
                from = pos;
                match entry.viewer {
                    None => out.push((entry.user, entry.user == viewer)),
                    Some(only) if only == viewer => out.push((entry.user, true)),
                    Some(_) => {}
                }
            }
            if !full {
                return Ok(out);
            }
        }
    }

    async fn newest(&self) -> Result<Pos> {
        self.loaded
            .get_or_try_init(|| async {
                let last = self.core.db.scan_prefix(&DEVICE_LIST_STREAM, &(), Page::last(1)).await?;
                if let Some((pos, _)) = last.first() {
                    self.newest.fetch_max(*pos, Ordering::AcqRel);
                }
                Ok::<_, store::StoreError>(())
            })
            .await?;
        Ok(self.newest.load(Ordering::Acquire))
    }
}
