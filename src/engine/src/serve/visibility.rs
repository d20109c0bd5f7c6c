//! What a server may see of a room: what one of its users may.
//! [Room history visibility](https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility).

use std::collections::HashMap;

use ruma::ServerName;
use serde_json::value::RawValue;
use store::Pos;

use super::servers::server_of;
use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    row::{EventRow, Verdict, Visibility},
    state::MemberEntry,
    state_tree::{self, NodeId},
    tables::EventNum,
    user_rooms::Membership,
};

/// Users of one server whose memberships are looked at, at most: those who are joined first. Where more would have to be, the event
/// counts as one that the server may not see.
const MAX_USERS: usize = 1000;
/// Memberships looked up at once.
const BATCH: usize = 64;

/// Answers for one server, about several events of a room.
pub(super) struct ServerView<'a> {
    engine: &'a Engine,
    room: &'a Room,
    server: &'a ServerName,
    takes_part: bool,
    /// The server's users who ever were members, and the position of the newest event at which one of them was still joined.
    users: Option<(Vec<MemberEntry>, Pos)>,
    /// The closest that a user of the server was to the room, by state.
    seen: HashMap<NodeId, Membership>,
    memberships: HashMap<EventNum, Membership>,
}

impl<'a> ServerView<'a> {
    pub(super) async fn new(engine: &'a Engine, room: &'a Room, server: &'a ServerName) -> Result<Self, EngineError> {
        let takes_part = engine.takes_part(room, server).await?;
        Ok(Self { engine, room, server, takes_part, users: None, seen: HashMap::new(), memberships: HashMap::new() })
    }

    /// Whether the server may see an event that has a place in the room.
    pub(super) async fn can_see(&mut self, row: &EventRow) -> Result<bool, EngineError> {
        if row.verdict() == Verdict::Rejected || row.outlier() {
            return Ok(false);
        }
        let visibility = row.visibility();
        if visibility == Visibility::WorldReadable
            || (visibility == Visibility::Shared && self.takes_part)
            || self.is_about_its_own(row)
        {
            return Ok(true);
        }
        if visibility == Visibility::Shared && row.pos() <= self.last_there().await? {
            return Ok(true);
        }
        Ok(match self.closest(row.state_before()).await? {
            Membership::Join => true,
            Membership::Invite => visibility == Visibility::Invited,
            _ => false,
        })
    }

    /// Whether a user of the server sent the event, or their membership is what it changes: nothing new to the server.
    fn is_about_its_own(&self, row: &EventRow) -> bool {
        let own = |user_id: &str| server_of(user_id) == Some(self.server.as_str());
        own(row.sender())
            || (row.type_json() == "\"m.room.member\"" && row.state_key().is_some_and(|user_id| own(&user_id)))
    }

    async fn last_there(&mut self) -> Result<Pos, EngineError> {
        Ok(self.users().await?.1)
    }

    async fn users(&mut self) -> Result<&(Vec<MemberEntry>, Pos), EngineError> {
        let users = match self.users.take() {
            Some(users) => users,
            None => self.read_users().await?,
        };
        Ok(self.users.insert(users))
    }

    async fn read_users(&self) -> Result<(Vec<MemberEntry>, Pos), EngineError> {
        let mut users = self.engine.members(self.room.num).await?;
        users.retain(|member| server_of(&member.user_id) == Some(self.server.as_str()));
        users.sort_by_key(|member| (member.membership != Membership::Join, member.num));
        users.truncate(MAX_USERS);
        let mut last = 0;
        for member in &users {
            if !matches!(member.membership, Membership::Leave | Membership::Ban) {
                continue;
            }
            let row = self.engine.event(self.room.num, member.num).await?;
            if row.replaces() != 0
                && self.engine.membership_of(self.room.num, row.replaces()).await? == Membership::Join
            {
                last = last.max(row.pos());
            }
        }
        Ok((users, last))
    }

    /// The closest to the room that a user of the server is in a state: joined, invited, or neither.
    async fn closest(&mut self, root: NodeId) -> Result<Membership, EngineError> {
        if let Some(known) = self.seen.get(&root) {
            return Ok(*known);
        }
        self.users().await?;
        let users: Vec<&str> = match &self.users {
            Some((users, _)) => users.iter().map(|user| user.user_id.as_str()).collect(),
            None => Vec::new(),
        };
        let mut closest = Membership::Leave;
        'search: for batch in users.chunks(BATCH) {
            let keys: Vec<(&str, &str)> = batch.iter().map(|user| ("m.room.member", *user)).collect();
            let found = state_tree::get_many(&self.engine.nodes_of(self.room.num), root, &keys).await?;
            for num in found.into_iter().flatten() {
                let membership = match self.memberships.get(&num) {
                    Some(known) => *known,
                    None => self.engine.membership_of(self.room.num, num).await?,
                };
                self.memberships.insert(num, membership);
                match membership {
                    Membership::Join => {
                        closest = membership;
                        break 'search;
                    }
                    Membership::Invite => closest = membership,
                    _ => {}
                }
            }
        }
        self.seen.insert(root, closest);
        Ok(closest)
    }
}

impl Engine {
    /// Whether a server may see an event, by the history visibility at it and its users' memberships then and since. Rejected events
    /// and outliers have no place in the room: nobody sees them.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn server_can_see(&self, room: &Room, server: &ServerName, row: &EventRow) -> Result<bool, EngineError> {
        ServerView::new(self, room, server).await?.can_see(row).await
    }

    /// An event as it goes to a server: whole where it may see it, redacted where it may not.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn pdu_for(
        &self,
        room: &Room,
        server: &ServerName,
        row: &EventRow,
    ) -> Result<Box<RawValue>, EngineError> {
        let whole = self.server_can_see(room, server, row).await?;
        wire(room, row, whole)
    }

    /// Several events of a room as they go to a server, in their order: see [`Engine::pdu_for`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn pdus_for(
        &self,
        room: &Room,
        server: &ServerName,
        rows: &[(EventNum, EventRow)],
    ) -> Result<Vec<Box<RawValue>>, EngineError> {
        let mut view = ServerView::new(self, room, server).await?;
        let mut out = Vec::with_capacity(rows.len());
        for (_, row) in rows {
            let whole = view.can_see(row).await?;
            out.push(wire(room, row, whole)?);
        }
        Ok(out)
    }
}

fn wire(room: &Room, row: &EventRow, whole: bool) -> Result<Box<RawValue>, EngineError> {
    if whole {
        return row.pdu();
    }
    let redacted = ::room::redact::strip(row.json(), &room.rules);
    let redacted = redacted.map_err(|error| EngineError::Inconsistent(error.to_string()))?;
    RawValue::from_string(redacted).map_err(|error| EngineError::Inconsistent(error.to_string()))
}

impl EventRow {
    /// The event as it goes over the wire, whole: state and the events that allow it, which who takes part gets whatever the
    /// room's visibility is.
    ///
    /// # Errors
    /// [`EngineError::Inconsistent`] where what is stored is no JSON.
    pub fn pdu(&self) -> Result<Box<RawValue>, EngineError> {
        RawValue::from_string(self.json().to_owned()).map_err(|error| EngineError::Inconsistent(error.to_string()))
    }
}
