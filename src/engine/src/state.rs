//! Reading state: the current one from flat rows, earlier ones from trees.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use room::Pdu;
use store::{Page, Pos, Value};

use crate::{
    engine::Engine,
    error::EngineError,
    head::Overlay,
    room::Room,
    row::EventRow,
    state_tree::{self, NodeId, Nodes, TreeError},
    tables::{CURRENT, EventNum, INVITE_STATE, NODES, ROOTS, RoomNum, UserNum},
    user_rooms::Membership,
};

/// An entry of the current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentRow {
    /// The event.
    pub num: EventNum,
    /// For `m.room.member`: what it says, so that counting members reads no events.
    pub membership: Membership,
}

impl Value for CurrentRow {
    fn encode(&self) -> Bytes {
        let [a, b, c, d] = self.num.to_be_bytes();
        Bytes::copy_from_slice(&[a, b, c, d, self.membership as u8])
    }

    fn decode(bytes: Bytes) -> Result<Self, String> {
        let [a, b, c, d, membership] = bytes[..].try_into().map_err(|_| "wrong length".to_owned())?;
        Ok(Self {
            num: EventNum::from_be_bytes([a, b, c, d]),
            membership: Membership::from_byte(membership).ok_or("unknown membership")?,
        })
    }
}

/// Tree nodes of a room, through the cache, and for a writer through its overlay.
pub(crate) struct RoomNodes<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) room: RoomNum,
    pub(crate) overlay: Option<&'a Overlay>,
}

impl Nodes for RoomNodes<'_> {
    fn load<'a>(&'a self, id: &'a NodeId) -> BoxFuture<'a, Result<Bytes, TreeError>> {
        if let Some(node) = self.engine.nodes.get(&(self.room, *id)) {
            return std::future::ready(Ok(node)).boxed();
        }
        async move {
            let key = (self.room, id.0);
            let read = match self.overlay {
                Some(overlay) => overlay.get(&self.engine.db, &NODES, &key).await,
                None => self.engine.db.get(&NODES, &key).await,
            };
            let node = read?.ok_or(TreeError::Missing(*id))?;
            self.engine.nodes.insert((self.room, *id), node.clone());
            Ok(node)
        }
        .boxed()
    }
}

impl From<TreeError> for EngineError {
    fn from(error: TreeError) -> Self {
        Self::Inconsistent(error.to_string())
    }
}

/// A member of a room, as the current state has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEntry {
    /// The user's id.
    pub user_id: String,
    /// The membership event.
    pub num: EventNum,
    /// What it says.
    pub membership: Membership,
}

/// An entry of a state: type, state key and event.
pub type StateEntry = (String, String, EventNum);

/// Rows of the current state read at once.
const PAGE: usize = 1000;

impl Engine {
    pub(crate) fn nodes_of(&self, room: RoomNum) -> RoomNodes<'_> {
        RoomNodes { engine: self, room, overlay: None }
    }

    /// One entry of the current state.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn current(
        &self,
        room: RoomNum,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<EventNum>, EngineError> {
        let key = (room, event_type.to_owned(), state_key.to_owned());
        Ok(self.db.get(&CURRENT, &key).await?.map(|row| row.num))
    }

    /// The event of one entry of the current state.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn current_event(
        &self,
        room: RoomNum,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<EventRow>, EngineError> {
        match self.current(room, event_type, state_key).await? {
            Some(num) => Ok(Some(self.event(room, num).await?)),
            None => Ok(None),
        }
    }

    /// One entry of the current state, parsed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn current_pdu(
        &self,
        room: &Room,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<Arc<Pdu>>, EngineError> {
        match self.current(room.num, event_type, state_key).await? {
            Some(num) => Ok(Some(self.pdu(room, num).await?)),
            None => Ok(None),
        }
    }

    /// The membership of a user now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn membership(&self, room: RoomNum, user_id: &str) -> Result<Option<Membership>, EngineError> {
        let key = (room, "m.room.member".to_owned(), user_id.to_owned());
        Ok(self.db.get(&CURRENT, &key).await?.map(|row| row.membership))
    }

    /// All members, whatever their membership, in the order of their ids.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn members(&self, room: RoomNum) -> Result<Vec<MemberEntry>, EngineError> {
        let rows = self.db.scan_all(&CURRENT, &(room, "m.room.member".to_owned())).await?;
        Ok(rows
            .into_iter()
            .map(|((_, _, user_id), row)| MemberEntry { user_id, num: row.num, membership: row.membership })
            .collect())
    }

    /// The first members, in the order of their ids.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn first_members(&self, room: RoomNum, limit: usize) -> Result<Vec<MemberEntry>, EngineError> {
        let prefix = (room, "m.room.member".to_owned());
        let rows = self.db.scan_prefix(&CURRENT, &prefix, Page::first(limit.min(PAGE))).await?;
        Ok(rows
            .into_iter()
            .map(|((_, _, user_id), row)| MemberEntry { user_id, num: row.num, membership: row.membership })
            .collect())
    }

    /// The whole current state.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn current_state(&self, room: RoomNum) -> Result<Vec<StateEntry>, EngineError> {
        let rows = self.db.scan_all(&CURRENT, &room).await?;
        Ok(rows.into_iter().map(|((_, event_type, state_key), row)| (event_type, state_key, row.num)).collect())
    }

    /// The entries of one type in the current state.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn current_of_type(
        &self,
        room: RoomNum,
        event_type: &str,
    ) -> Result<Vec<(String, EventNum)>, EngineError> {
        let rows = self.db.scan_all(&CURRENT, &(room, event_type.to_owned())).await?;
        Ok(rows.into_iter().map(|((_, _, state_key), row)| (state_key, row.num)).collect())
    }

    /// The state root in force at a position: after all events up to and including it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn root_at(&self, room: RoomNum, pos: Pos) -> Result<NodeId, EngineError> {
        let rows = self.db.scan(&ROOTS, &(room, 0u64), &(room, pos.saturating_add(1)), Page::last(1)).await?;
        Ok(rows.first().map_or(NodeId::EMPTY, |(_, root)| root.0))
    }

    /// One entry of an earlier state.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn state_at(
        &self,
        room: RoomNum,
        root: NodeId,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<EventNum>, EngineError> {
        Ok(state_tree::get(&self.nodes_of(room), root, event_type, state_key).await?)
    }

    /// A whole earlier state.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn entries_at(&self, room: RoomNum, root: NodeId) -> Result<Vec<StateEntry>, EngineError> {
        let entries = state_tree::entries(&self.nodes_of(room), root).await?;
        Ok(entries.into_iter().map(|(key, num)| (key.ty.to_string(), key.state_key.to_string(), num)).collect())
    }

    /// The entries of `to` that differ from `from`. A state only grows or changes: entries do not vanish but for forks.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn state_delta(&self, room: RoomNum, from: NodeId, to: NodeId) -> Result<Vec<StateEntry>, EngineError> {
        if from == to {
            return Ok(Vec::new());
        }
        let changes = state_tree::diff(&self.nodes_of(room), from, to).await?;
        Ok(changes
            .into_iter()
            .filter_map(|change| change.new.map(|num| (change.event_type, change.state_key, num)))
            .collect())
    }

    /// The memberships that differ between two states: whose, and the event of `to`, where there is one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn member_changes(
        &self,
        room: RoomNum,
        from: NodeId,
        to: NodeId,
    ) -> Result<Vec<(String, Option<EventNum>)>, EngineError> {
        let changes = state_tree::diff(&self.nodes_of(room), from, to).await?;
        let members = changes.into_iter().filter(|change| change.event_type == "m.room.member");
        Ok(members.map(|change| (change.state_key, change.new)).collect())
    }

    /// The state after an event: the one before it with its own change.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn membership_at(&self, room: RoomNum, row: &EventRow, user_id: &str) -> Result<Membership, EngineError> {
        match self.state_at(room, row.state_before(), "m.room.member", user_id).await? {
            Some(num) => self.membership_of(room, num).await,
            None => Ok(Membership::Leave),
        }
    }

    /// The stripped state shown to an invited or knocking user: a JSON array.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn invite_state(&self, user: UserNum, room: RoomNum) -> Result<Bytes, EngineError> {
        Ok(self.db.get(&INVITE_STATE, &(user, room)).await?.unwrap_or_else(|| Bytes::from_static(b"[]")))
    }

    /// What a membership event says.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn membership_of(&self, room: RoomNum, num: EventNum) -> Result<Membership, EngineError> {
        Ok(membership_in(self.event(room, num).await?.content()))
    }
}

/// The membership in a content.
pub(crate) fn membership_in(content: &str) -> Membership {
    #[derive(serde::Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        membership: Option<std::borrow::Cow<'a, str>>,
    }
    let membership = serde_json::from_str::<Content<'_>>(content).ok().and_then(|content| content.membership);
    membership.map_or(Membership::Leave, |text| Membership::from_state(&text.as_ref().into()))
}
