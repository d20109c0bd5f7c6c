//! The seam to rooms: this crate knows none.

use std::error::Error;

use futures::future::BoxFuture;
use ruma::OwnedRoomId;
use serde_json::value::RawValue;
use store::Pos;
use users::{UserNum, push::Actions};

use crate::{RoomNum, Rooms};

/// Why it could not be found out what is new.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// Whose push rules decide.
    pub user: UserNum,
    /// Where to look.
    pub rooms: &'a Rooms,
    /// Behind this position.
    pub after: Pos,
    /// Up to this one.
    pub to: Pos,
    /// So many, at most: the newest.
    pub limit: usize,
    /// Whether [`Notice::detail`] is wanted.
    pub detailed: bool,
}

/// An event that a user is to be notified of.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Its position.
    pub pos: Pos,
    /// Its id.
    pub event_id: String,
    /// Its room.
    pub room_id: OwnedRoomId,
    /// Its type.
    pub event_type: String,
    /// What the user's push rules ask for.
    pub actions: Actions,
    /// The rest, where it was asked for.
    pub detail: Option<Detail>,
}

/// What a gateway that wants more than ids is told of an event.
#[derive(Debug, Clone)]
pub struct Detail {
    /// Who sent it.
    pub sender: String,
    /// The name of the sender in the room.
    pub sender_display_name: Option<String>,
    /// The room's name.
    pub room_name: Option<String>,
    /// The room's canonical alias.
    pub room_alias: Option<String>,
    /// Whether it is a membership event about the user.
    pub user_is_target: bool,
    /// Its content.
    pub content: Box<RawValue>,
}

/// Knows what happens in rooms.
pub trait Source: Send + Sync {
    /// The events that the user is to be notified of and has not read yet, oldest first: in rooms that the user is in, and invitations. Nothing
    /// that the user sent.
    fn notices<'a>(&'a self, search: Search<'a>) -> BoxFuture<'a, Result<Vec<Notice>, SourceError>>;

    /// How many unread messages there are up to a position, in each of these rooms where there are any.
    fn unread<'a>(
        &'a self,
        user: UserNum,
        rooms: &'a Rooms,
        to: Pos,
    ) -> BoxFuture<'a, Result<Vec<(RoomNum, u64)>, SourceError>>;
}
