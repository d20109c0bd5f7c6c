//! Rooms as they run: the event pipeline, timelines, state snapshots, receipts, typing.
//!
//! An event lands in one atomic commit (see [`RoomWriter`]): it is authorised, hashed, signed and queued under the room's
//! lock, on top of a *speculative head* that is ahead of what is durable; the lock is released, and durability awaited.
//! Readers look only as far as the frontier. Nothing here has tasks, clocks or random numbers of its own.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod admin;
mod aliases;
pub mod auth_chain;
mod auth_graph;
mod by_time;
mod check;
mod create;
mod descendants;
mod effects;
mod ends;
mod engine;
mod enter;
mod entries;
mod error;
mod extend;
mod feed;
mod forget;
mod gaps;
mod head;
mod history;
mod holds;
mod judge;
mod landed;
mod listing;
mod load;
mod news;
mod outgoing;
mod outliers;
mod outside;
mod partial;
mod permit_join;
mod policy;
mod presets;
mod preview;
mod receipts;
mod receive;
mod relations;
mod render;
mod replay;
mod resolution;
mod room;
mod row;
mod serve;
mod settle;
mod spaces;
pub mod splice;
mod staged;
mod state;
pub mod state_tree;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod threads;
mod timeline;
mod typing;
mod upgrade;
mod user_rooms;
mod withdraw;
mod writer;

pub use aliases::AliasRow;
pub use by_time::MaySee;
pub use check::RoomReport;
pub use create::{CreatedRoom, FirstEvent, NewRoom};
pub use descendants::RELATION_DEPTH;
pub use engine::{CacheSizes, Engine, Identity, NoProjector, Projector};
pub use enter::RemoteRoom;
pub use error::EngineError;
pub use feed::{FeedEntry, FeedWatcher, OutsideNews};
pub use gaps::Gap;
pub use head::{Extremity, HeadRow};
pub use holds::HoldStats;
pub use landed::LandedWatcher;
pub use listing::{Listing, ListingSince};
pub use news::{News, NewsWatcher};
pub use outgoing::OutgoingWatcher;
pub use outside::OutsideRow;
pub use partial::{OmittedMembers, PartialRow, ToldState};
pub use permit_join::JoinPermit;
pub use policy::{PolicyRefusal, PolicyServers};
pub use presets::{FirstEvents, Invitee, Names, Preset, RoomPlan};
pub use receipts::{NewReceipt, Receipt, ReceiptRow};
pub use receive::Received;
pub use relations::RelationFilter;
pub use render::Rendering;
pub use room::{Pulse, Room, RoomInfo};
pub use row::{EventMeta, EventRow, Fields, StateFrom, Verdict, Visibility};
pub use serve::{ServerAcl, ServerCounts, StateAt};
pub use spaces::{SpaceChild, SpaceRoom, SpaceView};
pub use staged::EventPlace;
pub use state::{CurrentRow, MemberEntry, StateEntry};
pub use summary::RoomSummary;
pub use tables::{Arrival, Depth, EVENTS, EventNum, HEADS, OUTBOX, RECEIPTS_OUT, RoomNum, ServerNum, UserNum};
pub use timeline::{Direction, HistoryPoint, Viewer};
pub use typing::{Typing, TypingWatcher};
pub use user_rooms::{Membership, RoomsOfUser, UserRoom, UserRooms};
pub use writer::{Appended, DELAYED, NewEvent, RoomWriter, TxnKey};
