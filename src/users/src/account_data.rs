//! Account data, global and per room, with its stream; tags; ignored users.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use quick_cache::sync::Cache;
use ruma::{OwnedRoomId, OwnedUserId, RoomId};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Map, Value, value::RawValue};
use store::{DbWrite, Outcome, Page, Pos, WakeKeys};

use crate::{
    core::{Core, missing, release},
    error::{Result, UsersError},
    tables::{ACCOUNT_DATA, ACCOUNT_DATA_STREAM, AccountDataKey, AccountDataRow, GLOBAL, RoomNum, UserNum},
};

/// An item's content, in bytes, at most.
pub const MAX_CONTENT: usize = 64 * 1024;
/// A type's or a tag's name, in bytes, at most.
const MAX_NAME: usize = 255;
/// Rows of the stream read in one go.
const SCAN_PAGE: usize = 1000;

/// Where the user's push rules live.
pub const PUSH_RULES: &str = "m.push_rules";
/// Where the ignored users live.
pub const IGNORED_USER_LIST: &str = "m.ignored_user_list";
const TAG: &str = "m.tag";
/// Which rooms are direct chats, by whom they are with.
const DIRECT: &str = "m.direct";

/// Whether clients may not set a type themselves (`M_BAD_JSON`, 405): it is set through other endpoints.
pub fn is_server_managed(in_room: bool, event_type: &str) -> bool {
    if in_room { event_type == "m.fully_read" } else { event_type == PUSH_RULES }
}

/// One item of account data.
#[derive(Debug, Clone)]
pub struct Item {
    /// The room it is about, or none for global data.
    pub room_id: Option<OwnedRoomId>,
    /// Its type.
    pub event_type: String,
    /// Its content, a JSON object; `{}` where it was removed.
    pub content: Box<RawValue>,
    /// The stream position it was set at.
    pub pos: Pos,
}

/// A room tag's data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tag {
    /// Where the room stands among those with the tag, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<f64>,
    /// What else the client said.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

#[derive(Default, Serialize, Deserialize)]
struct TagContent {
    #[serde(default)]
    tags: BTreeMap<String, Tag>,
}

#[derive(Default, Deserialize)]
struct IgnoredContent {
    #[serde(default)]
    ignored_users: BTreeMap<OwnedUserId, IgnoredAny>,
}

/// What becomes of an item.
pub(crate) enum Change {
    Keep,
    Put(Bytes),
    Delete,
}

/// The removal of an item of global data, for a commit under the user's lock.
pub(crate) struct Removal {
    user: UserNum,
    event_type: String,
    old: Pos,
}

impl Removal {
    /// Adds it to a commit, at a position.
    pub(crate) fn write(self, pos: Pos, write: &mut DbWrite<'_>) {
        let row = AccountDataRow { pos, deleted: true, content: Bytes::from_static(b"{}") };
        let key = AccountDataKey { room: GLOBAL, event_type: self.event_type.clone() };
        write.delete(&ACCOUNT_DATA_STREAM, &(self.user, self.old));
        write.put(&ACCOUNT_DATA, &(self.user, GLOBAL, self.event_type), &row);
        write.put(&ACCOUNT_DATA_STREAM, &(self.user, pos), &key);
    }
}

/// Told, on the committer's thread, that a user's item of a type has changed.
pub(crate) type Watcher = Arc<dyn Fn(UserNum) + Send + Sync>;

/// Account data of local users.
pub struct AccountData {
    core: Arc<Core>,
    ignored: Arc<Cache<UserNum, Arc<HashSet<OwnedUserId>>>>,
    /// The position of each user's newest change, for those who sync.
    newest: Arc<Cache<UserNum, Pos>>,
    push_rules_changed: Watcher,
}

impl std::fmt::Debug for AccountData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountData").finish_non_exhaustive()
    }
}

impl AccountData {
    pub(crate) fn new(core: Arc<Core>, cached_users: usize, push_rules_changed: Watcher) -> Self {
        let (ignored, newest) = (Arc::new(Cache::new(cached_users)), Arc::new(Cache::new(cached_users)));
        Self { core, ignored, newest, push_rules_changed }
    }

    /// Sets an item and returns the position it got. Content is a JSON object of at most [`MAX_CONTENT`] bytes; an empty one removes the item
    /// ([MSC3391](https://github.com/matrix-org/matrix-spec-proposals/pull/3391)).
    ///
    /// # Errors
    /// [`UsersError::NotAnObject`], [`UsersError::TooLarge`], [`UsersError::InvalidId`] and those of the store.
    pub async fn set(
        &self,
        user: UserNum,
        room: Option<&RoomId>,
        event_type: &str,
        content: &RawValue,
    ) -> Result<Option<Pos>> {
        check_content(content.get())?;
        let content = Bytes::copy_from_slice(content.get().as_bytes());
        let empty = content.iter().all(|byte| matches!(byte, b'{' | b'}' | b' ' | b'\n' | b'\r' | b'\t'));
        // Also where there was nothing: clients wait until a sync shows them what they set.
        self.modify(user, room, event_type, |_| Ok(if empty { Change::Delete } else { Change::Put(content) })).await
    }

    /// Removes an item: it is no longer found, and the next sync shows it as `{}`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete(&self, user: UserNum, room: Option<&RoomId>, event_type: &str) -> Result<Option<Pos>> {
        self.modify(user, room, event_type, |old| Ok(if old.is_some() { Change::Delete } else { Change::Keep })).await
    }

    /// The removal of an item of global data that nothing else is derived from, where there is one; for use under the user's lock.
    pub(crate) async fn removal(&self, user: UserNum, event_type: String) -> Result<Option<Removal>> {
        let row = self.core.db.get(&ACCOUNT_DATA, &(user, GLOBAL, event_type.clone())).await?;
        Ok(row.filter(|row| !row.deleted).map(|row| Removal { user, event_type, old: row.pos }))
    }

    /// What is to run, before readers see it, when a commit with removals up to a position is done.
    pub(crate) fn removed(&self, user: UserNum) -> impl FnOnce(Pos) + Send + use<> {
        let newest = Arc::clone(&self.newest);
        move |pos| newest.insert(user, pos)
    }

    /// Changes an item under the user's lock. Returns its new position, if it changed.
    pub(crate) async fn modify(
        &self,
        user: UserNum,
        room: Option<&RoomId>,
        event_type: &str,
        change: impl FnOnce(Option<&[u8]>) -> Result<Change>,
    ) -> Result<Option<Pos>> {
        if event_type.is_empty() || event_type.len() > MAX_NAME {
            return Err(UsersError::InvalidId("the type"));
        }
        let room = self.room_key(room).await?;
        let lock = self.core.lock(user).await;
        let key = (user, room, event_type.to_owned());
        let old = self.core.db.get(&ACCOUNT_DATA, &key).await?;
        let live = old.as_ref().filter(|row| !row.deleted).map(|row| &row.content[..]);
        let (deleted, content) = match change(live)? {
            Change::Keep => return Ok(None),
            Change::Put(content) if content.len() > MAX_CONTENT => {
                return Err(UsersError::TooLarge { what: "the account data", limit: MAX_CONTENT });
            }
            Change::Put(content) => (false, content),
            Change::Delete => (true, Bytes::from_static(b"{}")),
        };
        let on_done = release(lock, self.on_done(user, room, event_type));
        let stream_key = AccountDataKey { room, event_type: event_type.to_owned() };
        let newest = Arc::clone(&self.newest);
        let ticket = self.core.db.enqueue_at(1, move |pos, mut write| {
            if let Some(old) = old {
                write.delete(&ACCOUNT_DATA_STREAM, &(user, old.pos));
            }
            write.put(&ACCOUNT_DATA, &key, &AccountDataRow { pos, deleted, content });
            write.put(&ACCOUNT_DATA_STREAM, &(user, pos), &stream_key);
            write.wake(WakeKeys::one(user)).on_done(move |outcome| {
                if outcome == Outcome::Done {
                    newest.insert(user, pos);
                }
                on_done(outcome);
            });
            write
        });
        Ok(Some(ticket.await?.pos))
    }

    /// Drops what was derived from an item, before readers may see its new content.
    fn on_done(&self, user: UserNum, room: RoomNum, event_type: &str) -> impl FnOnce() + Send + 'static {
        let ignored = (room == GLOBAL && event_type == IGNORED_USER_LIST).then(|| Arc::clone(&self.ignored));
        let rules = (room == GLOBAL && event_type == PUSH_RULES).then(|| Arc::clone(&self.push_rules_changed));
        move || {
            if let Some(ignored) = ignored {
                ignored.remove(&user);
            }
            if let Some(changed) = rules {
                changed(user);
            }
        }
    }

    async fn room_key(&self, room: Option<&RoomId>) -> Result<RoomNum> {
        match room {
            Some(room) => self.core.room_number(room).await,
            None => Ok(GLOBAL),
        }
    }

    /// One item's content.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, user: UserNum, room: Option<&RoomId>, event_type: &str) -> Result<Option<Box<RawValue>>> {
        let room = match room {
            None => GLOBAL,
            Some(room) => match self.core.ids.find(store::IdKind::Room, room.as_str()).await? {
                Some(room) => room,
                None => return Ok(None),
            },
        };
        let row = self.core.db.get(&ACCOUNT_DATA, &(user, room, event_type.to_owned())).await?;
        row.filter(|row| !row.deleted).map(|row| raw(&row.content)).transpose()
    }

    /// All items of a user, global ones first; for initial syncs. Removed ones are left out.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, user: UserNum) -> Result<Vec<Item>> {
        let rows = self.core.db.scan_all(&ACCOUNT_DATA, &user).await?;
        let mut items = Vec::with_capacity(rows.len());
        for ((_, room, event_type), row) in rows {
            if !row.deleted {
                items.push(self.item(room, event_type, &row).await?);
            }
        }
        Ok(items)
    }

    /// The items of one room, or the global ones.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list_in(&self, user: UserNum, room: Option<&RoomId>) -> Result<Vec<Item>> {
        let room = self.room_key(room).await?;
        let rows = self.core.db.scan_all(&ACCOUNT_DATA, &(user, room)).await?;
        let mut items = Vec::with_capacity(rows.len());
        for ((_, room, event_type), row) in rows {
            if !row.deleted {
                items.push(self.item(room, event_type, &row).await?);
            }
        }
        Ok(items)
    }

    /// What was set or removed behind position `from`, up to and including `to`, in the order it happened; of each item
    /// the newest content only.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn changes(&self, user: UserNum, from: Pos, to: Pos) -> Result<Vec<Item>> {
        if self.newest(user).await? <= from {
            return Ok(Vec::new());
        }
        let keys = self.changed_keys(user, from, to).await?;
        let rows = self.core.db.multi_get(&ACCOUNT_DATA, &keys).await?;
        let mut items = Vec::with_capacity(keys.len());
        for ((_, room, event_type), row) in keys.into_iter().zip(rows) {
            // What was set again meanwhile is behind `to` and comes with the next sync.
            if let Some(row) = row.filter(|row| row.pos <= to) {
                items.push(self.item(room, event_type, &row).await?);
            }
        }
        Ok(items)
    }

    async fn newest(&self, user: UserNum) -> Result<Pos> {
        if let Some(newest) = self.newest.get(&user) {
            return Ok(newest);
        }
        // A change that lands meanwhile takes the place of what is being read here.
        self.newest
            .get_or_insert_async(&user, async {
                let last = self.core.db.scan_prefix(&ACCOUNT_DATA_STREAM, &user, Page::last(1)).await?;
                Ok(last.first().map_or(0, |((_, pos), _)| *pos))
            })
            .await
    }

    async fn changed_keys(&self, user: UserNum, mut from: Pos, to: Pos) -> Result<Vec<(UserNum, RoomNum, String)>> {
        let end = (user, to.saturating_add(1));
        let mut keys = Vec::new();
        loop {
            let start = (user, from.saturating_add(1));
            let rows = self.core.db.scan(&ACCOUNT_DATA_STREAM, &start, &end, Page::first(SCAN_PAGE)).await?;
            let full = rows.len() == SCAN_PAGE;
            for ((_, pos), AccountDataKey { room, event_type }) in rows {
                keys.push((user, room, event_type));
                from = pos;
            }
            if !full {
                return Ok(keys);
            }
        }
    }

    async fn item(&self, room: RoomNum, event_type: String, row: &AccountDataRow) -> Result<Item> {
        let room_id = if room == GLOBAL { None } else { Some(self.core.room_id(room).await?) };
        Ok(Item { room_id, event_type, content: raw(&row.content)?, pos: row.pos })
    }

    /// The tags of a room.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn tags(&self, user: UserNum, room: &RoomId) -> Result<BTreeMap<String, Tag>> {
        let content = self.get(user, Some(room), TAG).await?;
        Ok(content.map(|content| parse_tags(content.get().as_bytes())).unwrap_or_default().tags)
    }

    /// Adds a tag to a room, or changes it.
    ///
    /// # Errors
    /// [`UsersError::InvalidId`], [`UsersError::TooLarge`] and those of the store.
    pub async fn set_tag(&self, user: UserNum, room: &RoomId, name: &str, tag: Tag) -> Result<Option<Pos>> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(UsersError::InvalidId("the tag"));
        }
        self.modify(user, Some(room), TAG, |old| {
            let mut content = old.map(parse_tags).unwrap_or_default();
            content.tags.insert(name.to_owned(), tag);
            encode(&content)
        })
        .await
    }

    /// Calls a room a direct chat with those with whom another one is.
    ///
    /// # Errors
    /// [`UsersError::TooLarge`] and those of the store.
    pub async fn copy_direct(&self, user: UserNum, old: &RoomId, new: &RoomId) -> Result<Option<Pos>> {
        self.modify(user, None, DIRECT, |content| {
            let content = content.and_then(|content| serde_json::from_slice::<Map<String, Value>>(content).ok());
            let (mut people, mut changed) = (content.unwrap_or_default(), false);
            for rooms in people.values_mut().filter_map(Value::as_array_mut) {
                let has = |id: &RoomId| rooms.iter().any(|room| room == id.as_str());
                if has(old) && !has(new) {
                    rooms.push(new.as_str().into());
                    changed = true;
                }
            }
            if changed { encode(&people) } else { Ok(Change::Keep) }
        })
        .await
    }

    /// Takes a tag from a room; nothing happens where it has none such.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete_tag(&self, user: UserNum, room: &RoomId, name: &str) -> Result<Option<Pos>> {
        self.modify(user, Some(room), TAG, |old| {
            let mut content = old.map(parse_tags).unwrap_or_default();
            if content.tags.remove(name).is_some() { encode(&content) } else { Ok(Change::Keep) }
        })
        .await
    }

    /// Whom a user ignores (`m.ignored_user_list`); kept in memory. Unreadable lists ignore nobody.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn ignored(&self, user: UserNum) -> Result<Arc<HashSet<OwnedUserId>>> {
        if let Some(ignored) = self.ignored.get(&user) {
            return Ok(ignored);
        }
        self.ignored
            .get_or_insert_async(&user, async {
                let content = self.get(user, None, IGNORED_USER_LIST).await?;
                let parsed: IgnoredContent =
                    content.and_then(|content| serde_json::from_str(content.get()).ok()).unwrap_or_default();
                Ok(Arc::new(parsed.ignored_users.into_keys().collect()))
            })
            .await
    }
}

fn raw(content: &[u8]) -> Result<Box<RawValue>> {
    Ok(serde_json::from_slice(content).map_err(|error| missing(ACCOUNT_DATA.name, error))?)
}

/// Clients may have set `m.tag` themselves, to anything.
fn parse_tags(content: &[u8]) -> TagContent {
    serde_json::from_slice(content).unwrap_or_default()
}

fn encode(content: &impl Serialize) -> Result<Change> {
    let text = serde_json::to_vec(content).map_err(|_| UsersError::NotAnObject("the tag"))?;
    Ok(Change::Put(Bytes::from(text)))
}

fn check_content(content: &str) -> Result<()> {
    if content.len() > MAX_CONTENT {
        return Err(UsersError::TooLarge { what: "the account data", limit: MAX_CONTENT });
    }
    // The whole tree is walked, so that no later reader meets a depth or a number it cannot take.
    match serde_json::from_str::<serde_json::Value>(content) {
        Ok(value) if value.is_object() => Ok(()),
        _ => Err(UsersError::NotAnObject("account data")),
    }
}

#[cfg(test)]
mod tests;
