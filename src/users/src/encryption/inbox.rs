//! Messages from device to device.
//! [Send-to-Device messaging](https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging).
//!
//! A message has a position in the stream and stays until its device comes back with a token behind it: the same token brings the
//! same messages again.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quick_cache::sync::Cache;
use ruma::{DeviceId, UserId};
use serde_json::value::RawValue;
use store::{CommitError, Json, Outcome, Page, Pos, Precondition, Table, Value, WakeKeys};

use super::{
    MAX_ID,
    lists::DeviceLists,
    rows::OutgoingEdu,
    waiting::{Waiting, excess},
};
use crate::{
    core::Core,
    devices::DeviceRow,
    error::{Result, UsersError},
    tables::{
        DEVICES, EDUS_OUT, INBOX, INBOX_SIZES, REMOTE_MESSAGE_ORDER, REMOTE_MESSAGES, TO_DEVICE_TXN_ORDER,
        TO_DEVICE_TXNS, UserNum,
    },
};

/// Devices that one message goes to, at most.
const MAX_RECIPIENTS: usize = 5000;
/// A message's content, in bytes, at most.
const MAX_CONTENT: usize = 64 * 1024;
/// Messages that are confirmed in one commit.
const CONFIRMED_AT_ONCE: usize = 1000;
/// Transaction ids kept for a device, and message ids for a server, about.
const IDS_KEPT: usize = 2000;
/// Of how many positions one is used to look whether there are too many ids.
const LOOK_EVERY: u64 = 64;
/// After how many messages for a device is looked whether too much waits for it.
const LOOK_AFTER: usize = 64;
/// Tries to send while devices are renamed or deleted in between.
const ATTEMPTS: usize = 5;
/// Devices whose newest message is in memory.
const DEVICES_KEPT: usize = 20_000;

/// A message for one device of a local user, or for all of them.
#[derive(Debug, Clone)]
pub struct Addressed {
    /// The user's number.
    pub user: UserNum,
    /// The device; none for all.
    pub device: Option<String>,
    /// The content, a JSON object.
    pub content: Box<RawValue>,
}

/// Messages that are sent together.
#[derive(Debug, Clone, Copy)]
pub struct Messages<'a> {
    /// Who sends them.
    pub sender: &'a UserId,
    /// Their type.
    pub event_type: &'a str,
    /// Those for local users.
    pub local: &'a [Addressed],
    /// Those for other servers, by the server's number: the `messages` of an `m.direct_to_device`.
    pub remote: &'a BTreeMap<u64, Box<RawValue>>,
}

/// What tells messages that are sent again from new ones.
#[derive(Debug, Clone, Copy)]
pub enum Transaction<'a> {
    /// A device of a local user with the id that it chose.
    Client {
        /// The user's number.
        user: UserNum,
        /// The device.
        device: &'a str,
        /// The transaction id.
        txn_id: &'a str,
    },
    /// Another server with the id that it gave the message.
    Server {
        /// The server's name.
        origin: &'a str,
        /// The message's id.
        message_id: &'a str,
    },
}

/// What waits for a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inbox {
    /// Events as JSON, oldest first.
    pub events: Vec<Bytes>,
    /// The position of the last of them, where there are more.
    pub cut_at: Option<Pos>,
}

/// A table with a row for each message that waits: (user, device, position).
type Inboxes<V> = Table<(UserNum, String, Pos), V>;

struct Recipient {
    key: (UserNum, String),
    row: DeviceRow,
    event: Bytes,
}

/// Messages for local devices.
pub struct ToDevice {
    core: Arc<Core>,
    lists: Arc<DeviceLists>,
    /// The position of each device's newest message, for those who sync.
    newest: Arc<Cache<(UserNum, String), Pos>>,
    /// Up to where each device has confirmed its messages, so that nothing is looked for where nothing came since.
    confirmed: Cache<(UserNum, String), Pos>,
    /// How many messages came for each device since what waits for it was counted.
    uncounted: Cache<(UserNum, String), usize>,
}

impl std::fmt::Debug for ToDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToDevice").finish_non_exhaustive()
    }
}

impl ToDevice {
    pub(crate) fn new(core: Arc<Core>, lists: Arc<DeviceLists>) -> Self {
        let newest = Arc::new(Cache::new(DEVICES_KEPT));
        let (confirmed, uncounted) = (Cache::new(DEVICES_KEPT), Cache::new(DEVICES_KEPT));
        Self { core, lists, newest, confirmed, uncounted }
    }

    /// Sends messages, once for each transaction: to the inboxes of local devices and to the queues of other servers, in one commit.
    /// Devices that do not exist are passed over.
    ///
    /// # Errors
    /// [`UsersError::TooLarge`], [`UsersError::NotAnObject`], [`UsersError::InvalidId`] and those of the store.
    pub async fn send(&self, transaction: Transaction<'_>, messages: Messages<'_>) -> Result<()> {
        check(messages)?;
        let mut ids = Ids::new(transaction, messages.event_type)?;
        for attempt in 1.. {
            if ids.taken(&self.core).await? {
                return Ok(());
            }
            match self.try_send(&mut ids, messages).await {
                Err(UsersError::Commit(CommitError::Conflict)) if attempt < ATTEMPTS => {}
                other => return other,
            }
        }
        Ok(())
    }

    async fn try_send(&self, ids: &mut Ids, messages: Messages<'_>) -> Result<()> {
        let recipients = self.recipients(messages).await?;
        let (local, remote) = (recipients.len() as u64, messages.remote.len() as u64);
        let outgoing = self.lists.outgoing().filter(|_| remote > 0);
        let places: Vec<(UserNum, String)> = recipients.iter().map(|recipient| recipient.key.clone()).collect();
        let now = self.core.clock.now_ms();
        let newest = Arc::clone(&self.newest);
        let noted = places.clone();
        let ticket = self.core.db.enqueue_at((local + remote).max(1), |first, mut write| {
            write.require(ids.absent());
            ids.write(first, &mut write);
            for (pos, Recipient { key, row, event }) in (first..).zip(recipients) {
                write.require(DEVICES.equals(&key, &Json(row)));
                let waiting = Waiting { sender: messages.sender.to_string(), bytes: event.len() };
                let place = (key.0, key.1, pos);
                write.put(&INBOX, &place, &event).put(&INBOX_SIZES, &place, &Json(waiting));
            }
            let mut servers = Vec::new();
            if outgoing.is_some() {
                for (pos, (server, to)) in (first + local..).zip(messages.remote) {
                    if let Some(content) = edu(messages, to, &format!("{pos:x}-{now:x}")) {
                        write.put(&EDUS_OUT, &(*server, pos), &Json(OutgoingEdu::ToDevice(content)));
                        servers.push(*server);
                    }
                }
            }
            write.wake(WakeKeys::Some(noted.iter().map(|(user, _)| *user).collect()));
            write.on_done(move |outcome| {
                if outcome == Outcome::Done {
                    for (pos, key) in (first..).zip(noted) {
                        newest.insert(key, pos);
                    }
                    if let Some(told) = outgoing {
                        told(&servers);
                    }
                }
            });
            write
        });
        let last = ticket.await?.pos;
        self.look_after(last + 1 - (local + remote).max(1), places, ids).await
    }

    /// The devices that exist of those that messages are for.
    async fn recipients(&self, messages: Messages<'_>) -> Result<Vec<Recipient>> {
        let mut out = Vec::new();
        for Addressed { user, device, content } in messages.local {
            let event = event(messages, content)?;
            let devices = match device {
                Some(device) => {
                    let key = (*user, device.clone());
                    self.core.db.get(&DEVICES, &key).await?.map(|row| (key, row)).into_iter().collect()
                }
                None => self.core.db.scan_all(&DEVICES, user).await?,
            };
            out.extend(devices.into_iter().map(|(key, Json(row))| Recipient { key, row, event: event.clone() }));
            if out.len() > MAX_RECIPIENTS {
                return Err(UsersError::TooLarge { what: "the number of recipients", limit: MAX_RECIPIENTS });
            }
        }
        Ok(out)
    }

    /// Makes sure that nothing grows without bound.
    async fn look_after(&self, first: Pos, places: Vec<(UserNum, String)>, ids: &Ids) -> Result<()> {
        let mut write = self.core.db.write();
        let mut any = false;
        for place in places {
            let since = self.uncounted.get(&place).unwrap_or_default() + 1;
            let due = since >= LOOK_AFTER;
            self.uncounted.insert(place.clone(), if due { 0 } else { since });
            if due {
                let rows = self.core.db.scan_all(&INBOX_SIZES, &place).await?;
                let rows: Vec<(Pos, Waiting)> = rows.into_iter().map(|((.., pos), Json(row))| (pos, row)).collect();
                for pos in excess(&rows, &self.core.server_name) {
                    let key = (place.0, place.1.clone(), pos);
                    write.delete(&INBOX, &key).delete(&INBOX_SIZES, &key);
                    any = true;
                }
            }
        }
        if first.is_multiple_of(LOOK_EVERY) {
            any |= ids.forget_old(&self.core, &mut write).await?;
        }
        if any {
            write.commit().await?;
        }
        Ok(())
    }

    /// The messages for a device behind a position, up to and including another, `limit` at most.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn read(&self, user: UserNum, device: &DeviceId, from: Pos, to: Pos, limit: usize) -> Result<Inbox> {
        if self.newest(user, device).await? <= from {
            return Ok(Inbox::default());
        }
        let place = |pos: Pos| (user, device.as_str().to_owned(), pos.saturating_add(1));
        let mut rows = self.core.db.scan(&INBOX, &place(from), &place(to), Page::first(limit + 1)).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let cut_at = rows.last().map(|((_, _, pos), _)| *pos).filter(|_| more);
        Ok(Inbox { events: rows.into_iter().map(|(_, event)| event).collect(), cut_at })
    }

    /// The device has the messages up to a position: they go.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn confirm(&self, user: UserNum, device: &DeviceId, upto: Pos) -> Result<()> {
        let key = (user, device.as_str().to_owned());
        if self.newest(user, device).await? <= self.confirmed.get(&key).unwrap_or_default() {
            return Ok(());
        }
        // A token may be of anybody's making.
        let upto = upto.min(self.core.db.frontier());
        self.remove(&INBOX_SIZES, user, device, upto).await?;
        // Messages from before there were sizes of them.
        self.remove(&INBOX, user, device, upto).await?;
        self.confirmed.insert(key, upto);
        Ok(())
    }

    /// Removes the messages of which a table has rows, up to a position.
    async fn remove<V: Value>(&self, of: &Inboxes<V>, user: UserNum, device: &DeviceId, upto: Pos) -> Result<()> {
        let place = |pos: Pos| (user, device.as_str().to_owned(), pos);
        let (from, to) = (place(0), place(upto.saturating_add(1)));
        loop {
            let rows = self.core.db.scan(of, &from, &to, Page::first(CONFIRMED_AT_ONCE)).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let all = rows.len() < CONFIRMED_AT_ONCE;
            let mut write = self.core.db.write();
            for (key, _) in rows {
                write.delete(&INBOX, &key).delete(&INBOX_SIZES, &key);
            }
            write.commit().await?;
            if all {
                return Ok(());
            }
        }
    }

    async fn newest(&self, user: UserNum, device: &DeviceId) -> Result<Pos> {
        let key = (user, device.as_str().to_owned());
        if let Some(newest) = self.newest.get(&key) {
            return Ok(newest);
        }
        // A message that lands meanwhile takes the place of what is being read here.
        self.newest
            .get_or_insert_async(&key, async {
                let last = self.core.db.scan_prefix(&INBOX, &key, Page::last(1)).await?;
                Ok(last.first().map_or(0, |((_, _, pos), _)| *pos))
            })
            .await
    }
}

/// The rows by which something that is sent again is known.
enum Ids {
    Client { user: UserNum, device: String, txn: String },
    Server { origin: String, message_id: String },
}

impl Ids {
    fn new(transaction: Transaction<'_>, event_type: &str) -> Result<Self> {
        let (id, ids) = match transaction {
            Transaction::Client { user, device, txn_id } => {
                let txn = format!("{event_type}\u{0}{txn_id}");
                (txn_id, Self::Client { user, device: device.to_owned(), txn })
            }
            Transaction::Server { origin, message_id } => {
                (message_id, Self::Server { origin: origin.to_owned(), message_id: message_id.to_owned() })
            }
        };
        if id.is_empty() || id.len() > MAX_ID {
            return Err(UsersError::InvalidId("the transaction id"));
        }
        Ok(ids)
    }

    async fn taken(&self, core: &Core) -> Result<bool> {
        Ok(match self {
            Self::Client { user, device, txn } => {
                core.db.get(&TO_DEVICE_TXNS, &(*user, device.clone(), txn.clone())).await?.is_some()
            }
            Self::Server { origin, message_id } => {
                core.db.get(&REMOTE_MESSAGES, &(origin.clone(), message_id.clone())).await?.is_some()
            }
        })
    }

    fn absent(&self) -> Precondition {
        match self {
            Self::Client { user, device, txn } => TO_DEVICE_TXNS.absent(&(*user, device.clone(), txn.clone())),
            Self::Server { origin, message_id } => REMOTE_MESSAGES.absent(&(origin.clone(), message_id.clone())),
        }
    }

    fn write(&self, pos: Pos, write: &mut store::DbWrite<'_>) {
        match self {
            Self::Client { user, device, txn } => {
                write.put(&TO_DEVICE_TXNS, &(*user, device.clone(), txn.clone()), &pos);
                write.put(&TO_DEVICE_TXN_ORDER, &(*user, device.clone(), pos), txn);
            }
            Self::Server { origin, message_id } => {
                write.put(&REMOTE_MESSAGES, &(origin.clone(), message_id.clone()), &pos);
                write.put(&REMOTE_MESSAGE_ORDER, &(origin.clone(), pos), message_id);
            }
        }
    }

    /// Adds operations that delete all but the newest ids; says whether there are any.
    async fn forget_old(&self, core: &Core, write: &mut store::DbWrite<'_>) -> Result<bool> {
        let page = Page::last(IDS_KEPT * 2);
        match self {
            Self::Client { user, device, .. } => {
                let rows = core.db.scan_prefix(&TO_DEVICE_TXN_ORDER, &(*user, device.clone()), page).await?;
                let any = rows.len() > IDS_KEPT;
                for (key, txn) in rows.into_iter().skip(IDS_KEPT) {
                    write.delete(&TO_DEVICE_TXNS, &(key.0, key.1.clone(), txn)).delete(&TO_DEVICE_TXN_ORDER, &key);
                }
                Ok(any)
            }
            Self::Server { origin, .. } => {
                let rows = core.db.scan_prefix(&REMOTE_MESSAGE_ORDER, origin, page).await?;
                let any = rows.len() > IDS_KEPT;
                for (key, id) in rows.into_iter().skip(IDS_KEPT) {
                    write.delete(&REMOTE_MESSAGES, &(key.0.clone(), id)).delete(&REMOTE_MESSAGE_ORDER, &key);
                }
                Ok(any)
            }
        }
    }
}

fn check(messages: Messages<'_>) -> Result<()> {
    if messages.event_type.is_empty() || messages.event_type.len() > MAX_ID {
        return Err(UsersError::InvalidId("the type"));
    }
    for Addressed { content, .. } in messages.local {
        if content.get().len() > MAX_CONTENT {
            return Err(UsersError::TooLarge { what: "the message", limit: MAX_CONTENT });
        }
        match serde_json::from_str::<serde_json::Value>(content.get()) {
            Ok(value) if value.is_object() => {}
            _ => return Err(UsersError::NotAnObject("the message")),
        }
    }
    Ok(())
}

fn text(value: &str) -> Result<String> {
    serde_json::to_string(value).map_err(|_| UsersError::NotAnObject("the message"))
}

fn event(messages: Messages<'_>, content: &RawValue) -> Result<Bytes> {
    let (sender, kind) = (text(messages.sender.as_str())?, text(messages.event_type)?);
    Ok(Bytes::from(format!("{{\"content\":{},\"sender\":{sender},\"type\":{kind}}}", content.get())))
}

fn edu(messages: Messages<'_>, to: &RawValue, id: &str) -> Option<Box<RawValue>> {
    let (sender, kind) = (text(messages.sender.as_str()).ok()?, text(messages.event_type).ok()?);
    let content = format!("{{\"message_id\":\"{id}\",\"messages\":{},\"sender\":{sender},\"type\":{kind}}}", to.get());
    RawValue::from_string(content).ok()
}
