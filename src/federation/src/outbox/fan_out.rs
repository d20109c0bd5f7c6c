//! Typing, presence and changed devices of local users: noted where they happen, told to the servers that they concern.
//! [Typing](https://spec.matrix.org/v1.19/server-server-api/#typing-notifications),
//! [presence](https://spec.matrix.org/v1.19/server-server-api/#presence).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use engine::{Engine, EngineError, Room, RoomNum, ServerNum, UserNum};
use parking_lot::Mutex;
use ruma::{
    UInt,
    api::federation::transactions::edu::{PresenceUpdate, TypingContent},
};
use tokio::{sync::Notify, time::Instant};
use users::Users;

use super::{Outbox, OutboxError, edus::News, queues::Queues, sleep_until};

/// Rooms that are noted at one time.
const MAX_NOTED: usize = 10_000;
/// Presence is told at most so often, of so many users.
const PRESENCE_EVERY: Duration = Duration::from_secs(1);
const PRESENCE_USERS: usize = 100;
/// Other servers forget after a time that somebody types: those who go on are told again.
const TYPING_AGAIN: Duration = Duration::from_secs(20);
/// Between two looks at who stopped typing.
const TYPING_LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Notes {
    typing: BTreeSet<RoomNum>,
    presence: BTreeSet<UserNum>,
    /// There are rows of changes of device lists.
    lists: bool,
}

/// What happened and was not looked at yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    notes: Mutex<Notes>,
    wake: Notify,
}

impl Inbox {
    /// Has everything noted that local users do.
    pub(super) fn watch(self: &Arc<Self>, engine: &Engine, users: &Users, presence: bool, queues: &Arc<Queues>) {
        let inbox = Arc::clone(self);
        engine.typing.watch(Box::new(move |room| {
            inbox.note(|notes| {
                if notes.typing.len() < MAX_NOTED {
                    notes.typing.insert(room);
                }
            });
        }));
        let (inbox, queues) = (Arc::clone(self), Arc::clone(queues));
        users.device_lists.on_outgoing(Arc::new(move |servers| {
            if servers.is_empty() {
                inbox.note(|notes| notes.lists = true);
            } else {
                queues.queued(servers);
            }
        }));
        if presence {
            let inbox = Arc::clone(self);
            users.presence.watch(Box::new(move |users| inbox.note(|notes| notes.presence.extend(users))));
        }
    }

    fn note(&self, note: impl FnOnce(&mut Notes)) {
        note(&mut self.notes.lock());
        self.wake.notify_one();
    }
}

/// Whom other servers were told of, by room, and when.
type Told = BTreeMap<RoomNum, BTreeMap<UserNum, Instant>>;

impl Outbox {
    /// Turns notes into news for destinations, for ever.
    pub(super) async fn fan_out(&self) {
        let mut told = Told::new();
        let mut next_presence = Instant::now();
        // What was not told before the last stop.
        self.inbox.note(|notes| notes.lists = true);
        loop {
            let now = Instant::now();
            let notes = self.take_notes(next_presence <= now);
            if !notes.presence.is_empty() {
                next_presence = now + PRESENCE_EVERY;
            }
            if let Err(error) = self.look(notes, &mut told).await {
                tracing::error!(%error, "other servers cannot be told of typing and presence");
            }
            let waiting = (!self.inbox.notes.lock().presence.is_empty()).then_some(next_presence);
            let at = waiting.into_iter().chain(self.next_typing(&told)).min();
            tokio::select! {
                biased;
                () = self.inbox.wake.notified() => {}
                () = sleep_until(at) => {}
            }
        }
    }

    fn take_notes(&self, with_presence: bool) -> Notes {
        let mut notes = self.inbox.notes.lock();
        let mut presence = BTreeSet::new();
        while with_presence
            && presence.len() < PRESENCE_USERS
            && let Some(user) = notes.presence.pop_first()
        {
            presence.insert(user);
        }
        Notes { typing: std::mem::take(&mut notes.typing), presence, lists: std::mem::take(&mut notes.lists) }
    }

    async fn look(&self, mut notes: Notes, told: &mut Told) -> Result<(), OutboxError> {
        notes.typing.extend(told.keys());
        for room in notes.typing {
            self.look_at_typing(room, told).await?;
        }
        if notes.lists {
            self.fan_out_lists().await?;
        }
        for user in notes.presence {
            self.tell_presence(user).await?;
        }
        Ok(())
    }

    /// When somebody may have stopped, or has to be told of again.
    fn next_typing(&self, told: &Told) -> Option<Instant> {
        let now = Instant::now();
        let again = told.values().flat_map(BTreeMap::values).min().map(|at| *at + TYPING_AGAIN)?;
        let ends =
            self.engine.typing.next_expiry(told.keys().copied()).map_or(now, |ms| now + Duration::from_millis(ms));
        Some(again.min(ends).max(now + TYPING_LOOK))
    }

    async fn look_at_typing(&self, num: RoomNum, told: &mut Told) -> Result<(), OutboxError> {
        let now = Instant::now();
        let typing = self.engine.typing.changed(num, None).unwrap_or_default();
        let before = told.remove(&num).unwrap_or_default();
        let (room, servers) = match self.audience(num).await {
            Ok(found) => found,
            Err(OutboxError::Engine(EngineError::UnknownRoom)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut after = BTreeMap::new();
        for user in typing {
            let recent = before.get(&user).filter(|at| now.duration_since(**at) < TYPING_AGAIN);
            match recent {
                Some(at) => {
                    after.insert(user, *at);
                }
                None if !servers.is_empty() && self.tell_typing(&room, user, true, &servers).await? => {
                    after.insert(user, now);
                }
                None => {}
            }
        }
        for user in before.keys().filter(|user| !after.contains_key(user)) {
            self.tell_typing(&room, *user, false, &servers).await?;
        }
        if !after.is_empty() {
            told.insert(num, after);
        }
        Ok(())
    }

    /// Says whether the user is one to tell of.
    async fn tell_typing(
        &self,
        room: &Room,
        user: UserNum,
        typing: bool,
        servers: &[ServerNum],
    ) -> Result<bool, OutboxError> {
        let Some(user_id) = self.local_user(user).await? else { return Ok(false) };
        let content = Arc::new(TypingContent::new(room.id.clone(), user_id, typing));
        self.queues.tell(servers, &News::Typing(room.num, user, content));
        Ok(true)
    }

    async fn tell_presence(&self, user: UserNum) -> Result<(), OutboxError> {
        let Some(user_id) = self.local_user(user).await? else { return Ok(()) };
        let Some(now) = self.users.presence.get(user) else { return Ok(()) };
        let servers = self.servers_of(user).await?;
        if servers.is_empty() {
            return Ok(());
        }
        let ago = UInt::try_from(now.last_active_ago).unwrap_or(UInt::MAX);
        let mut update = PresenceUpdate::new(user_id, now.state, ago);
        update.status_msg = now.status_msg;
        update.currently_active = now.currently_active;
        self.queues.tell(&servers, &News::Presence(user, Arc::new(update)));
        Ok(())
    }

    /// A room, and the other servers that have members there.
    async fn audience(&self, num: RoomNum) -> Result<(Arc<Room>, Arc<[ServerNum]>), OutboxError> {
        let room = self.engine.room_by_num(num).await?;
        let servers = Arc::clone(&room.info().servers);
        Ok((room, servers))
    }
}
