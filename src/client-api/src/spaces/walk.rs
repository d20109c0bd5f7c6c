//! The way through a space: depth first, every room once, as far as the user may look.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use engine::{EngineError, Membership, RoomSummary, SpaceRoom, UserNum};
use http_kit::Requester;
use quick_cache::{Weighter, sync::Cache};
use ruma::{OwnedRoomId, OwnedServerName, RoomId};
use store::IdKind;
use tokio::time::Instant;

use crate::{ApiError, App};

/// Rooms looked at for one page, at most, whether the user may see them or not.
const LOOKED_AT: usize = 500;
/// Rooms that a walk keeps in mind, at most.
const MAX_PENDING: usize = 5000;
/// How long a page may wait for other servers: what is missing then is on the next one.
const PATIENCE: Duration = Duration::from_secs(20);
/// What walks that clients have not ended yet may take, in bytes.
const WALKS_BYTES: u64 = 16 << 20;
/// What a room in a walk takes, in bytes, about.
const ROOM_BYTES: usize = 200;

/// A room to look at.
#[derive(Debug, Clone)]
struct Pending {
    room_id: OwnedRoomId,
    via: Vec<OwnedServerName>,
    depth: u32,
}

/// A walk between two pages.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    user: UserNum,
    root: OwnedRoomId,
    pub(super) suggested_only: bool,
    pub(super) max_depth: u32,
    /// Rooms to look at, the next one last.
    pending: Vec<Pending>,
    seen: HashSet<OwnedRoomId>,
    /// What other servers told of rooms that were not looked at yet; `None` where they say that nobody here may.
    told: HashMap<OwnedRoomId, Option<RoomSummary>>,
}

impl Walk {
    pub(super) fn new(user: UserNum, root: &RoomId, suggested_only: bool, max_depth: u32) -> Self {
        let via = root.server_name().map(ToOwned::to_owned).into_iter().collect();
        let first = Pending { room_id: root.to_owned(), via, depth: 0 };
        let (pending, root) = (vec![first], root.to_owned());
        Self { user, root, suggested_only, max_depth, pending, seen: HashSet::new(), told: HashMap::new() }
    }

    pub(super) fn is_of(&self, user: UserNum, root: &RoomId) -> bool {
        self.user == user && self.root == root
    }

    pub(super) fn is_over(&self) -> bool {
        self.pending.iter().all(|pending| self.seen.contains(&pending.room_id))
    }

    /// The next room that was not looked at yet.
    fn next(&mut self) -> Option<Pending> {
        while let Some(next) = self.pending.pop() {
            if self.seen.insert(next.room_id.clone()) {
                return Some(next);
            }
        }
        None
    }

    fn go_into(&mut self, room: &SpaceRoom, depth: u32) {
        if depth >= self.max_depth {
            return;
        }
        for (room_id, via) in room.children_state.iter().rev().filter_map(engine::SpaceChild::child) {
            if self.pending.len() < MAX_PENDING && !self.seen.contains(&room_id) {
                self.pending.push(Pending { room_id, via, depth: depth + 1 });
            }
        }
    }

    fn note(&mut self, view: &engine::SpaceView) {
        for child in &view.children {
            if self.told.len() < MAX_PENDING {
                self.told.insert(child.room_id.clone(), Some(child.clone()));
            }
        }
        for child in &view.inaccessible_children {
            if self.told.len() < MAX_PENDING {
                self.told.insert(child.clone(), None);
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct BySize;

impl Weighter<String, Arc<Walk>> for BySize {
    fn weight(&self, _: &String, walk: &Arc<Walk>) -> u64 {
        let told: usize = walk.told.values().flatten().map(size_of_summary).sum();
        (ROOM_BYTES * (1 + walk.pending.len() + walk.seen.len() + walk.told.len()) + told) as u64
    }
}

fn size_of_summary(summary: &RoomSummary) -> usize {
    [&summary.name, &summary.topic, &summary.avatar_url].into_iter().flatten().map(String::len).sum()
}

/// Walks that clients may go on with: the least recently used ones are forgotten.
pub(crate) struct Walks(Cache<String, Arc<Walk>, BySize>);

impl Default for Walks {
    fn default() -> Self {
        Self(Cache::with_weighter(1000, WALKS_BYTES, BySize))
    }
}

impl Walks {
    pub(super) fn get(&self, token: &str) -> Option<Arc<Walk>> {
        self.0.get(token)
    }
}

/// Letters and digits of a token.
const TOKEN_LENGTH: usize = 24;

impl App {
    /// Keeps a walk, and gives the token of its next page.
    pub(super) fn keep_walk(&self, walk: Walk) -> String {
        let token = self.random_string(TOKEN_LENGTH);
        self.walks.0.insert(token.clone(), Arc::new(walk));
        token
    }

    /// The next rooms of a walk, at most `limit`.
    pub(super) async fn walk_on(
        &self,
        requester: &Requester,
        walk: &mut Walk,
        limit: usize,
    ) -> Result<Vec<SpaceRoom>, ApiError> {
        let end = Instant::now() + PATIENCE;
        let (mut rooms, mut looked_at) = (Vec::new(), 0);
        while rooms.len() < limit && looked_at < LOOKED_AT && Instant::now() < end {
            let Some(next) = walk.next() else { break };
            looked_at += 1;
            if let Some(room) = self.look_at(requester, walk, &next).await? {
                walk.go_into(&room, next.depth);
                rooms.push(room);
            } else if next.depth == 0 {
                break;
            }
        }
        Ok(rooms)
    }

    /// A room of a walk, where the user may look into it.
    async fn look_at(
        &self,
        requester: &Requester,
        walk: &mut Walk,
        next: &Pending,
    ) -> Result<Option<SpaceRoom>, ApiError> {
        let local = match self.engine.room(&next.room_id).await {
            Err(EngineError::UnknownRoom) => None,
            other => Some(other?),
        };
        // What is known here first hand counts more than what others say of it.
        if local.as_ref().is_none_or(|room| !self.engine.is_current(room)) {
            let remote = self.look_elsewhere(walk, next).await;
            if let Some(room) = remote {
                let allowed = self.may_look_into(requester, &room.summary).await?;
                return Ok(allowed.then_some(room));
            }
        }
        let Some(room) = local else { return Ok(None) };
        if !self.engine.may_preview(&room, requester.user).await? {
            return Ok(None);
        }
        Ok(Some(self.engine.space_room(&room, walk.suggested_only).await?))
    }

    /// A room that this server does not keep up with, as others tell of it.
    async fn look_elsewhere(&self, walk: &mut Walk, next: &Pending) -> Option<SpaceRoom> {
        match walk.told.remove(&next.room_id) {
            Some(None) => return None,
            Some(Some(summary)) if !summary.is_space() => {
                return Some(SpaceRoom { summary, children_state: Vec::new() });
            }
            _ => {}
        }
        let via = self.others(&next.via);
        let view = self.remotes.hierarchy(&via, &next.room_id, walk.suggested_only).await.ok()?;
        walk.note(&view);
        let mut room = view.room;
        if !room.summary.is_space() {
            room.children_state.clear();
        }
        room.children_state.retain(|child| child.child().is_some() && (!walk.suggested_only || child.suggested()));
        Some(room)
    }

    /// These servers without this one.
    pub(super) fn others(&self, via: &[OwnedServerName]) -> Vec<OwnedServerName> {
        via.iter().filter(|server| **server != self.engine.identity.server_name).cloned().collect()
    }

    /// Whether a user may know of a room what another server told.
    pub(super) async fn may_look_into(&self, requester: &Requester, summary: &RoomSummary) -> Result<bool, ApiError> {
        if summary.open_to_all() {
            return Ok(true);
        }
        if let Some(num) = self.engine.ids.find(IdKind::Room, summary.room_id.as_str()).await? {
            let place = self.engine.user_rooms().get(requester.user, num).await?;
            if place.is_some_and(|place| matches!(place.membership, Membership::Join | Membership::Invite)) {
                return Ok(true);
            }
        }
        for allowed in &summary.allowed_room_ids {
            if let Ok(allowed) = <&RoomId>::try_from(allowed.as_str())
                && self.engine.is_joined(requester.user, allowed).await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
