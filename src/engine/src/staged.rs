//! What a commit holds before its stream positions are known.

use std::sync::Arc;

use bytes::Bytes;
use room::Pdu;
use store::{DbWrite, Op, Pos};

use crate::{
    head::Overlay,
    room::Room,
    row::EventRow,
    state_tree::NodeId,
    tables::{
        EVENT_IDS, EVENTS, EventNum, HISTORY, OUTBOX, PARTIAL_EVENTS, RELATIONS, ROOTS, STREAM, ServerNum, USER_ROOMS,
        UserNum,
    },
    user_rooms::{Membership, UserRoom},
};

/// An event that was judged, waiting for its position. One that was not accepted gets a position but no place in the orders.
pub(crate) struct Staged {
    pub(crate) num: EventNum,
    pub(crate) row: EventRow,
    pub(crate) pdu: Arc<Pdu>,
    pub(crate) relation: Option<(String, String)>,
    /// The state from it on, where that is not the one before.
    pub(crate) new_root: Option<NodeId>,
    /// The servers that it goes to.
    pub(crate) to: Option<Arc<[ServerNum]>>,
}

impl Staged {
    /// Adds the event's rows at its position.
    pub(crate) fn write(&mut self, room: &Room, pos: Pos, write: &mut DbWrite<'_>, overlay: &mut Overlay) {
        self.row.set_pos(pos);
        let (depth, arrival) = (self.row.depth(), self.row.arrival());
        let event = EVENTS.put(&(room.num, self.num), &self.row);
        let id = EVENT_IDS.put(&self.row.event_id().to_owned(), &EventPlace { room: room.num, num: self.num });
        overlay.stage(&event);
        overlay.stage(&id);
        write.op(event).op(id);
        if self.row.partial_state() {
            write.op(PARTIAL_EVENTS.put(&(room.num, pos), &self.num));
        }
        if !self.row.in_room() {
            return;
        }
        for server in self.to.iter().flat_map(|to| to.iter()) {
            write.op(OUTBOX.put(&(*server, pos), &EventPlace { room: room.num, num: self.num }));
        }
        if self.row.in_stream() {
            write.op(STREAM.put(&(room.num, pos), &self.num));
        }
        write.op(HISTORY.put(&(room.num, depth, arrival), &self.num));
        if let Some(root) = self.new_root {
            write.op(ROOTS.put(&(room.num, pos), &Root(root)));
        }
        if let Some((kind, target)) = &self.relation {
            let value =
                RelationRow { num: self.num, kind: kind.clone(), event_type: self.row.event_type().into_owned() };
            let relation = RELATIONS.put(&(room.num, target.clone(), depth, arrival), &value);
            overlay.stage(&relation);
            write.op(relation);
        }
    }
}

/// A local user whose place in the room changes with an event of the commit.
#[derive(Debug, Clone)]
pub(crate) struct UserChange {
    pub(crate) user: UserNum,
    pub(crate) num: EventNum,
    /// Which event of the commit it is, from 0.
    pub(crate) index: u64,
    pub(crate) before: Option<UserRoom>,
    pub(crate) membership: Membership,
}

impl UserChange {
    /// The row, given the position of the commit's first event.
    pub(crate) fn row(&self, first: Pos) -> UserRoom {
        let pos = first + self.index;
        match self.before {
            // A new name or picture: the membership stays as it is.
            Some(before) if before.membership == self.membership => {
                UserRoom { num: self.num, pos, forgotten: false, ..before }
            }
            before => UserRoom {
                membership: self.membership,
                before: before.map_or(Membership::Leave, |before| before.membership),
                forgotten: false,
                num: self.num,
                pos,
                since: pos,
                left: match before {
                    Some(before) if before.membership == Membership::Join => pos,
                    before => before.map_or(0, |before| before.left),
                },
            },
        }
    }

    pub(crate) fn write(
        &self,
        room: &Room,
        first: Pos,
        write: &mut DbWrite<'_>,
        overlay: &mut Overlay,
    ) -> (UserNum, UserRoom) {
        let row = self.row(first);
        let op: Op = USER_ROOMS.put(&(self.user, room.num), &row);
        overlay.stage(&op);
        write.op(op);
        (self.user, row)
    }
}

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPlace {
    /// The room's number.
    pub room: u64,
    /// The event's number in it.
    pub num: EventNum,
}

impl store::Value for EventPlace {
    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(12);
        out.extend_from_slice(&self.room.to_be_bytes());
        out.extend_from_slice(&self.num.to_be_bytes());
        Bytes::from(out)
    }

    fn decode(bytes: Bytes) -> Result<Self, String> {
        let (room, num) = bytes.split_first_chunk::<8>().ok_or("wrong length")?;
        let num = num.try_into().map_err(|_| "wrong length".to_owned())?;
        Ok(Self { room: u64::from_be_bytes(*room), num: u32::from_be_bytes(num) })
    }
}

/// A root as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root(pub NodeId);

impl store::Value for Root {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.0)
    }

    fn decode(bytes: Bytes) -> Result<Self, String> {
        Ok(Self(NodeId(bytes[..].try_into().map_err(|_| "wrong length".to_owned())?)))
    }
}

/// An event that relates to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationRow {
    /// Its number.
    pub num: EventNum,
    /// `rel_type`
    pub kind: String,
    /// Its own type.
    pub event_type: String,
}

impl store::Value for RelationRow {
    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(6 + self.kind.len() + self.event_type.len());
        out.extend_from_slice(&self.num.to_be_bytes());
        out.extend_from_slice(&u16::try_from(self.kind.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(self.kind.as_bytes());
        out.extend_from_slice(self.event_type.as_bytes());
        Bytes::from(out)
    }

    fn decode(bytes: Bytes) -> Result<Self, String> {
        let (num, rest) = bytes.split_first_chunk::<4>().ok_or("wrong length")?;
        let (len, rest) = rest.split_first_chunk::<2>().ok_or("wrong length")?;
        let (kind, event_type) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or("wrong length")?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string());
        Ok(Self { num: u32::from_be_bytes(*num), kind: text(kind)?, event_type: text(event_type)? })
    }
}
