//! The engine: rooms by id, and what they share.

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use dashmap::DashMap;
use futures::future::BoxFuture;
use quick_cache::{Weighter, sync::Cache};
use room::{Pdu, SigningKey};
use ruma::{OwnedRoomId, OwnedServerName, RoomId, RoomVersionId, UserId};
use store::{Clock, Db, IdKind, Ids, Op, Pos, StoreError};
use tokio::sync::Mutex;

use crate::{
    auth_chain::ChainCache,
    error::EngineError,
    feed::Feed,
    holds::{HoldStats, Holds},
    landed::Following,
    load,
    news::NewsWatchers,
    outgoing::Watching,
    policy::PolicyServers,
    room::Room,
    row::EventRow,
    state_tree::NodeId,
    tables::{EVENT_IDS, EVENTS, EventNum, RoomNum, UserNum},
    typing::Typing,
    user_rooms::{UserRoom, UserRooms},
};

/// Who this server is.
pub struct Identity {
    /// Its name.
    pub server_name: OwnedServerName,
    /// The key that signs its events.
    pub key: SigningKey,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Adds rows to the commits of events: the ledger's index.
pub trait Projector: Send + Sync {
    /// Rows for an accepted event. Only appends: it sees nothing but the event.
    fn project(&self, room: RoomNum, num: EventNum, event: &Pdu) -> Vec<Op>;

    /// Rows for an event that was known by itself and is judged otherwise now that more is known: whoever went by what it was has to
    /// begin anew. `judgement` differs for each commit of a room.
    fn rejudged(&self, _room: RoomNum, _event: &Pdu, _judgement: u64) -> Vec<Op> {
        Vec::new()
    }

    /// The events of a room that it listed behind `after`, in the order of their numbers, at most `limit`: what another server may
    /// have in bulk.
    fn listed<'a>(
        &'a self,
        _db: &'a Db,
        _room: RoomNum,
        _after: EventNum,
        _limit: usize,
    ) -> BoxFuture<'a, Result<Vec<EventNum>, StoreError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// A projector that adds nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoProjector;

impl Projector for NoProjector {
    fn project(&self, _: RoomNum, _: EventNum, _: &Pdu) -> Vec<Op> {
        Vec::new()
    }
}

/// What the caches hold, at most.
#[derive(Debug, Clone, Copy)]
pub struct CacheSizes {
    /// Rooms kept loaded.
    pub rooms: usize,
    /// Event rows, in bytes.
    pub event_bytes: u64,
    /// Parsed events, for authorisation, in bytes.
    pub pdu_bytes: u64,
    /// Nodes of state trees, in bytes.
    pub node_bytes: u64,
    /// Auth chains, in bytes.
    pub chain_bytes: u64,
}

impl Default for CacheSizes {
    fn default() -> Self {
        Self { rooms: 10_000, event_bytes: 32 << 20, pdu_bytes: 8 << 20, node_bytes: 16 << 20, chain_bytes: 4 << 20 }
    }
}

/// Weighs what is kept by its bytes, so that no number of large events makes a cache outgrow its share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByBytes;

/// What an entry costs beside its text.
const ENTRY: u64 = 128;

impl<K> Weighter<K, EventRow> for ByBytes {
    fn weight(&self, _: &K, row: &EventRow) -> u64 {
        row.size() as u64 + ENTRY
    }
}

impl<K> Weighter<K, Arc<Pdu>> for ByBytes {
    fn weight(&self, _: &K, pdu: &Arc<Pdu>) -> u64 {
        pdu.content.get().len() as u64 + 4 * ENTRY
    }
}

impl<K> Weighter<K, Bytes> for ByBytes {
    fn weight(&self, _: &K, node: &Bytes) -> u64 {
        node.len() as u64 + ENTRY
    }
}

fn by_bytes<K: Eq + std::hash::Hash, V: Clone>(bytes: u64) -> Cache<K, V, ByBytes>
where
    ByBytes: Weighter<K, V>,
{
    // Half a kibibyte is a common entry.
    Cache::with_weighter(usize::try_from(bytes / 512).unwrap_or(1), bytes, ByBytes)
}

/// Keeps readers from caching a row that a redaction is about to replace.
#[derive(Debug, Default)]
pub(crate) struct Rewrites {
    started: AtomicU64,
    finished: AtomicU64,
}

impl Rewrites {
    pub(crate) fn start(&self) {
        self.started.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn finish(&self) {
        self.finished.fetch_add(1, Ordering::SeqCst);
    }

    /// A mark to compare with, where no rewrite is under way.
    fn quiet(&self) -> Option<u64> {
        let finished = self.finished.load(Ordering::SeqCst);
        (self.started.load(Ordering::SeqCst) == finished).then_some(finished)
    }

    fn still(&self, mark: Option<u64>) -> bool {
        mark.is_some_and(|mark| self.started.load(Ordering::SeqCst) == mark)
    }
}

/// What commits update in memory when they land.
pub(crate) struct View {
    events: Cache<(RoomNum, EventNum), EventRow, ByBytes>,
    pdus: Cache<(RoomNum, EventNum), Arc<Pdu>, ByBytes>,
    user_rooms: UserRooms,
    rewrites: Rewrites,
    pub(crate) outgoing: Watching,
    pub(crate) following: Following,
    pub(crate) news: NewsWatchers,
    pub(crate) feed: Feed,
}

impl View {
    pub(crate) fn event(&self, room: RoomNum, num: EventNum, row: EventRow) {
        self.events.insert((room, num), row);
    }

    pub(crate) fn user_room(&self, user: UserNum, room: RoomNum, row: UserRoom) {
        self.user_rooms.update(user, room, row);
    }

    pub(crate) fn emptied(&self, room: RoomNum, num: EventNum) {
        self.pdus.remove(&(room, num));
    }

    pub(crate) fn rewriting(&self) {
        self.rewrites.start();
    }

    pub(crate) fn rewritten(&self) {
        self.rewrites.finish();
    }
}

/// Rooms as they run.
pub struct Engine {
    /// The database below.
    pub db: Arc<Db>,
    /// Numbers of users and rooms.
    pub ids: Arc<Ids>,
    /// The server's name and key.
    pub identity: Identity,
    /// Who types.
    pub typing: Typing,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) projector: Arc<dyn Projector>,
    pub(crate) policies: OnceLock<Arc<dyn PolicyServers>>,
    view: Arc<View>,
    pub(crate) nodes: Cache<(RoomNum, NodeId), Bytes, ByBytes>,
    pub(crate) chains: ChainCache,
    pub(crate) holds: Holds,
    kept: Cache<RoomNum, Arc<Room>>,
    pub(crate) rooms: DashMap<RoomNum, Weak<Room>>,
    last_create: AtomicU64,
    loading: [Mutex<()>; 16],
    entering: [Mutex<()>; 16],
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine over a database.
    pub fn new(
        db: Arc<Db>,
        ids: Arc<Ids>,
        identity: Identity,
        clock: Arc<dyn Clock>,
        projector: Arc<dyn Projector>,
        sizes: CacheSizes,
    ) -> Self {
        Self {
            view: Arc::new(View {
                events: by_bytes(sizes.event_bytes),
                pdus: by_bytes(sizes.pdu_bytes),
                user_rooms: UserRooms::new(Arc::clone(&db)),
                rewrites: Rewrites::default(),
                outgoing: Watching::default(),
                following: Following::default(),
                news: NewsWatchers::default(),
                feed: Feed::default(),
            }),
            typing: Typing::new(Arc::clone(&clock)),
            db,
            ids,
            identity,
            clock,
            projector,
            policies: OnceLock::new(),
            nodes: by_bytes(sizes.node_bytes),
            chains: ChainCache::new(sizes.chain_bytes),
            holds: Holds::default(),
            kept: Cache::new(sizes.rooms),
            rooms: DashMap::new(),
            last_create: AtomicU64::new(0),
            loading: [const { Mutex::const_new(()) }; 16],
            entering: [const { Mutex::const_new(()) }; 16],
        }
    }

    /// How long rooms were locked.
    pub fn holds(&self) -> HoldStats {
        self.holds.snapshot()
    }

    /// Now, milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Now, but never the same twice: two create events alike in everything else must not share a hash.
    pub(crate) fn unique_now(&self) -> u64 {
        let now = self.now();
        let last = self.last_create.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(now.max(last + 1)));
        now.max(last.map_or(now, |last| last + 1))
    }

    /// Whether a user lives on this server.
    pub fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.identity.server_name
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// Where users stand in rooms.
    pub fn user_rooms(&self) -> &UserRooms {
        &self.view.user_rooms
    }

    /// A user's number.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn user_num(&self, user_id: &UserId) -> Result<UserNum, EngineError> {
        Ok(self.ids.number(IdKind::User, user_id.as_str()).await?)
    }

    /// The room with an id.
    ///
    /// # Errors
    /// [`EngineError::UnknownRoom`], and those of the store.
    pub async fn room(&self, room_id: &RoomId) -> Result<Arc<Room>, EngineError> {
        let num = self.ids.find(IdKind::Room, room_id.as_str()).await?.ok_or(EngineError::UnknownRoom)?;
        self.room_by_num(num).await
    }

    /// The room with a number.
    ///
    /// # Errors
    /// [`EngineError::UnknownRoom`], and those of the store.
    pub async fn room_by_num(&self, num: RoomNum) -> Result<Arc<Room>, EngineError> {
        if let Some(room) = self.kept.get(&num) {
            return Ok(room);
        }
        let shard = usize::try_from(num % 16).unwrap_or_default();
        let Some(lock) = self.loading.get(shard) else { return Err(EngineError::UnknownRoom) };
        let _loading = lock.lock().await;
        // Two objects for one room would be two writers: whoever still holds the old one keeps it alive.
        if let Some(room) = self.rooms.get(&num).and_then(|room| room.upgrade()) {
            self.kept.insert(num, Arc::clone(&room));
            return Ok(room);
        }
        let room = Arc::new(load::room(self, num).await?);
        self.register(&room);
        Ok(room)
    }

    /// Held by whoever may make a room with this number, or changes what is known of one that is not here. Taken before the
    /// room's own lock.
    pub(crate) fn entering(&self, num: RoomNum) -> &Mutex<()> {
        let [first, ..] = &self.entering;
        self.entering.get(usize::try_from(num % 16).unwrap_or_default()).unwrap_or(first)
    }

    /// The room with a number, where it is in memory.
    pub(crate) fn loaded(&self, num: RoomNum) -> Option<Arc<Room>> {
        self.kept.get(&num)
    }

    pub(crate) fn register(&self, room: &Arc<Room>) {
        self.rooms.insert(room.num, Arc::downgrade(room));
        self.kept.insert(room.num, Arc::clone(room));
        if self.rooms.len() > 2 * usize::try_from(self.kept.capacity()).unwrap_or(usize::MAX / 2) {
            self.rooms.retain(|_, room| room.strong_count() > 0);
        }
    }

    /// A room that is about to have its first commit: whoever looks for it meanwhile finds this object and makes no other.
    pub(crate) fn announce(&self, room: &Arc<Room>) {
        self.rooms.insert(room.num, Arc::downgrade(room));
    }

    /// Takes back [`Engine::announce`]: there is no such room.
    pub(crate) fn withdraw(&self, room: &Arc<Room>) {
        self.rooms.remove(&room.num);
        self.kept.remove(&room.num);
    }

    /// The rules of a room version that this server can run.
    ///
    /// # Errors
    /// [`EngineError::UnsupportedVersion`].
    pub fn rules(version: &RoomVersionId) -> Result<::room::RoomVersionRules, EngineError> {
        version.rules().ok_or_else(|| EngineError::UnsupportedVersion(version.to_string()))
    }

    /// Reads an event by its number.
    ///
    /// # Errors
    /// [`EngineError::UnknownEvent`], and those of the store.
    pub async fn event(&self, room: RoomNum, num: EventNum) -> Result<EventRow, EngineError> {
        if let Some(row) = self.view.events.get(&(room, num)) {
            return Ok(row);
        }
        let seen = self.view.rewrites.quiet();
        let row = self.db.get(&EVENTS, &(room, num)).await?.ok_or(EngineError::UnknownEvent)?;
        self.remember_event((room, num), &row, seen);
        Ok(row)
    }

    /// Reads several events of a room, in the order asked for; those that are not there are left out.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn events(&self, room: RoomNum, nums: &[EventNum]) -> Result<Vec<(EventNum, EventRow)>, EngineError> {
        // What the cache has is taken now: it may be gone by the time the rest was read.
        let mut rows: Vec<Option<EventRow>> = nums.iter().map(|num| self.view.events.get(&(room, *num))).collect();
        let missing: Vec<(RoomNum, EventNum)> =
            nums.iter().zip(&rows).filter(|(_, row)| row.is_none()).map(|(num, _)| (room, *num)).collect();
        if !missing.is_empty() {
            let seen = self.view.rewrites.quiet();
            let read = self.db.multi_get(&EVENTS, &missing).await?;
            for (slot, (key, row)) in rows.iter_mut().filter(|row| row.is_none()).zip(missing.iter().zip(read)) {
                if let Some(row) = &row {
                    self.remember_event(*key, row, seen);
                }
                *slot = row;
            }
        }
        Ok(nums.iter().zip(rows).filter_map(|(num, row)| Some((*num, row?))).collect())
    }

    /// Keeps a row that was read since `seen`, unless a redaction may have replaced it meanwhile.
    fn remember_event(&self, key: (RoomNum, EventNum), row: &EventRow, seen: Option<u64>) {
        if seen.is_none() {
            return;
        }
        self.view.events.insert(key, row.clone());
        // Looked at after the insertion: whoever rewrites the row from here on replaces what was inserted.
        if !self.view.rewrites.still(seen) {
            self.view.events.remove(&key);
        }
    }

    /// Finds an event of a room by its id.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find_event(&self, room: RoomNum, event_id: &str) -> Result<Option<EventNum>, EngineError> {
        let found = self.db.get(&EVENT_IDS, &event_id.to_owned()).await?;
        Ok(found.filter(|place| place.room == room).map(|place| place.num))
    }

    /// Finds an event by its id alone, and the room it is in.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find_event_anywhere(&self, event_id: &str) -> Result<Option<(RoomNum, EventNum)>, EngineError> {
        let found = self.db.get(&EVENT_IDS, &event_id.to_owned()).await?;
        Ok(found.map(|place| (place.room, place.num)))
    }

    /// The event as the rules read it.
    ///
    /// # Errors
    /// As [`Engine::event`].
    pub async fn pdu(&self, room: &Room, num: EventNum) -> Result<Arc<Pdu>, EngineError> {
        if let Some(pdu) = self.kept_pdu(room.num, num) {
            return Ok(pdu);
        }
        let seen = self.rewrites();
        let row = self.event(room.num, num).await?;
        let pdu = Arc::new(parse(&row, room)?);
        self.keep_pdu(room.num, num, &pdu, seen);
        Ok(pdu)
    }

    pub(crate) fn kept_pdu(&self, room: RoomNum, num: EventNum) -> Option<Arc<Pdu>> {
        self.view.pdus.get(&(room, num))
    }

    /// A mark for [`Engine::keep_pdu`], taken before the event is read.
    pub(crate) fn rewrites(&self) -> Option<u64> {
        self.view.rewrites.quiet()
    }

    /// Keeps a parsed event that was read since `seen`, unless a redaction may have emptied it meanwhile.
    pub(crate) fn keep_pdu(&self, room: RoomNum, num: EventNum, pdu: &Arc<Pdu>, seen: Option<u64>) {
        if seen.is_none() {
            return;
        }
        self.view.pdus.insert((room, num), Arc::clone(pdu));
        if !self.view.rewrites.still(seen) {
            self.view.pdus.remove(&(room, num));
        }
    }

    /// A page of the events of a room that the projector listed, behind `after`; and the number to go on behind, where there may be
    /// more.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn listed_events(
        &self,
        room: RoomNum,
        after: EventNum,
        limit: usize,
    ) -> Result<(Vec<(EventNum, EventRow)>, Option<EventNum>), EngineError> {
        let nums = self.projector.listed(&self.db, room, after, limit).await?;
        let next = nums.last().copied().filter(|_| nums.len() == limit);
        Ok((self.events(room, &nums).await?, next))
    }

    /// The position up to which everything is visible.
    pub fn frontier(&self) -> Pos {
        self.db.frontier()
    }

    /// The id of the room with a number.
    ///
    /// # Errors
    /// [`EngineError::UnknownRoom`], and those of the store.
    pub async fn room_id(&self, num: RoomNum) -> Result<OwnedRoomId, EngineError> {
        let id = self.ids.name(IdKind::Room, num).await?.ok_or(EngineError::UnknownRoom)?;
        OwnedRoomId::try_from(&*id).map_err(|error| EngineError::Inconsistent(error.to_string()))
    }
}

pub(crate) fn parse(row: &EventRow, room: &Room) -> Result<Pdu, EngineError> {
    let event_id =
        ruma::OwnedEventId::try_from(row.event_id()).map_err(|error| EngineError::Inconsistent(error.to_string()))?;
    let mut pdu = Pdu::from_json(row.json(), event_id, &room.rules)?;
    pdu.rejected = row.verdict() == crate::row::Verdict::Rejected;
    Ok(pdu)
}
