//! Every table of the engine, in one place. Bytes 1 to 31 of [`Keyspace::Events`], [`Keyspace::Orders`] and
//! [`Keyspace::State`], and 8 to 31 of [`Keyspace::Index`], are the engine's.

use bytes::Bytes;
use store::{Json, Keyspace, Pos, Table};

use crate::{
    aliases::AliasRow,
    feed::FeedEntry,
    head::HeadRow,
    outside::OutsideRow,
    partial::PartialRow,
    receipts::ReceiptRow,
    row::EventRow,
    staged::{EventPlace, RelationRow, Root},
    state::CurrentRow,
    timeline::HistoryPoint,
    user_rooms::UserRoom,
};

/// A room's number on this server.
pub type RoomNum = u64;
/// A user's number on this server.
pub type UserNum = u64;
/// A server's number on this server.
pub type ServerNum = u64;
/// An event's number within its room, dense, in the order of arrival, from 1.
pub type EventNum = u32;
/// A depth, as [`room::Pdu::depth`].
pub type Depth = i64;
/// A tie-breaker among events of one depth; negative for history that arrived by backfill.
pub type Arrival = i64;

/// The events themselves.
pub const EVENTS: Table<(RoomNum, EventNum), EventRow> = Table::new(Keyspace::Events, 1, "events");

/// Accepted events in the order in which this server saw them.
pub const STREAM: Table<(RoomNum, Pos), EventNum> = Table::new(Keyspace::Orders, 1, "stream");
/// Accepted events in the order of the room's history.
pub const HISTORY: Table<(RoomNum, Depth, Arrival), EventNum> = Table::new(Keyspace::Orders, 2, "history");
/// Events by the event they relate to.
pub const RELATIONS: Table<(RoomNum, String, Depth, Arrival), RelationRow> =
    Table::new(Keyspace::Orders, 3, "relations");
/// Events that something relates to.
pub const RELATED: Table<(RoomNum, EventNum), ()> = Table::new(Keyspace::Orders, 4, "related");
/// The state root from a position on, where it changed.
pub const ROOTS: Table<(RoomNum, Pos), Root> = Table::new(Keyspace::Orders, 5, "roots");
/// State events by the events among their `auth_events`: (room, the one that is cited, the one that cites it).
pub const CITED: Table<(RoomNum, EventNum, EventNum), ()> = Table::new(Keyspace::Orders, 7, "cited");
/// Receipts by the position at which they were set.
pub const RECEIPT_STREAM: Table<(RoomNum, Pos), String> = Table::new(Keyspace::Orders, 6, "receipt_stream");

/// Roots of threads by the place of their newest reply.
pub const THREAD_ORDER: Table<(RoomNum, Depth, Arrival), String> = Table::new(Keyspace::Orders, 8, "thread_order");

/// What is on its way to other servers: (the server, the position at which it was queued). The position is that of the event where
/// it was queued in the event's own commit. Rows go once they are delivered.
pub const OUTBOX: Table<(ServerNum, Pos), EventPlace> = Table::new(Keyspace::Orders, 9, "outbox");

/// Receipts of local users on their way to other servers: (the server, the position at which the receipt was set) to the room. A
/// newer receipt of the same user takes the place of an older one; rows go once they are delivered.
pub const RECEIPTS_OUT: Table<(ServerNum, Pos), RoomNum> = Table::new(Keyspace::Orders, 10, "receipts_out");

/// What happened, for who follows all of it.
pub const FEED: Table<Pos, FeedEntry> = Table::new(Keyspace::Orders, 20, "feed");

/// The newest end of each room.
pub const HEADS: Table<RoomNum, HeadRow> = Table::new(Keyspace::State, 1, "heads");
/// The current state, flat: (room, type, state key).
pub const CURRENT: Table<(RoomNum, String, String), CurrentRow> = Table::new(Keyspace::State, 2, "current");
/// Rooms whose members are not all known.
pub const PARTIAL_ROOMS: Table<RoomNum, Json<PartialRow>> = Table::new(Keyspace::State, 4, "partial_rooms");

/// Events before which the state lacked members, by their position: they are judged again.
pub const PARTIAL_EVENTS: Table<(RoomNum, Pos), EventNum> = Table::new(Keyspace::Orders, 12, "partial_events");
/// When a room's state was filled in, by the position from which on it lacked members.
pub const FILLED: Table<(RoomNum, Pos), Pos> = Table::new(Keyspace::Orders, 11, "filled");

/// Nodes of the state trees.
pub const NODES: Table<(RoomNum, [u8; 16]), Bytes> = Table::new(Keyspace::State, 3, "nodes");

/// Events by id.
pub const EVENT_IDS: Table<String, EventPlace> = Table::new(Keyspace::Index, 8, "event_ids");
/// Where a user stands in a room.
pub const USER_ROOMS: Table<(UserNum, RoomNum), UserRoom> = Table::new(Keyspace::Index, 9, "user_rooms");
/// The stripped state shown to an invited or knocking user: a JSON array.
pub const INVITE_STATE: Table<(UserNum, RoomNum), Bytes> = Table::new(Keyspace::Index, 10, "invite_state");
/// What was sent with a transaction id: (user, device, path) to event id.
pub const TRANSACTIONS: Table<(UserNum, String, String), String> = Table::new(Keyspace::Index, 11, "transactions");
/// Room aliases of this server.
pub const ALIASES: Table<String, Json<AliasRow>> = Table::new(Keyspace::Index, 12, "aliases");
/// A room's aliases on this server.
pub const ROOM_ALIASES: Table<(RoomNum, String), ()> = Table::new(Keyspace::Index, 13, "room_aliases");
/// Rooms in the public directory.
pub const PUBLIC_ROOMS: Table<RoomNum, ()> = Table::new(Keyspace::Index, 14, "public_rooms");
/// The newest receipt of each kind: (room, user number, receipt type, thread).
pub const RECEIPTS: Table<(RoomNum, UserNum, String, String), Json<ReceiptRow>> =
    Table::new(Keyspace::Index, 15, "receipts");
/// The place of a thread's newest reply: (room, root).
pub const THREAD_ENDS: Table<(RoomNum, String), HistoryPoint> = Table::new(Keyspace::Index, 20, "thread_ends");
/// Redactions whose target is not here yet: (room, target, the redaction's number).
pub const PARKED_REDACTIONS: Table<(RoomNum, String, EventNum), ()> =
    Table::new(Keyspace::Index, 16, "parked_redactions");
/// Events that are not here, or known by reference only, by who follows them: (room, the id, the follower's number).
pub const GAPS: Table<(RoomNum, String, EventNum), ()> = Table::new(Keyspace::Index, 17, "gaps");
/// Membership events of rooms in which nobody of this server is: how a user was invited, knocked, or left from there.
pub const OUTSIDE: Table<(UserNum, RoomNum), Json<OutsideRow>> = Table::new(Keyspace::Index, 18, "outside");
