//! What a user is notified of, newest first: a walk back through all of their rooms at once, by the order in which this server saw the events.
//! It is found by the push rules when it is asked for; nothing is kept of it.

use std::{
    collections::{BinaryHeap, HashSet, VecDeque},
    sync::Arc,
};

use engine::{Direction, EngineError, EventNum, EventRow, Membership, OutsideRow, Room, RoomNum, UserRoom, Viewer};
use notify::Rooms;
use ruma::{OwnedRoomId, OwnedUserId, UserId};
use store::{IdKind, Pos};
use users::{
    InviteAnswer,
    push::{Actions, CompiledRules, PushContext, PushEvent},
};

use crate::{ApiError, App, judge::Reads};

/// Events of a room that are looked up in one go.
const PAGE: usize = 20;
/// Events that a walk looks at, at most.
const BUDGET: usize = 1000;

/// Where and for whom to look.
pub(crate) struct Range<'a> {
    pub(crate) user: u64,
    pub(crate) rooms: &'a Rooms,
    /// Behind this position.
    pub(crate) after: Pos,
    /// Up to this one.
    pub(crate) to: Pos,
    /// Whether what the user has read is left out.
    pub(crate) unread_only: bool,
    /// Whether invitations are among it.
    pub(crate) invitations: bool,
}

impl Range<'_> {
    fn asks_for_invitation_at(&self, pos: Pos) -> bool {
        self.invitations && self.after < pos && pos <= self.to
    }
}

/// An event that the user's push rules ask a notification for.
pub(crate) struct Found {
    pub(crate) pos: Pos,
    pub(crate) room: RoomNum,
    pub(crate) event: FoundEvent,
    pub(crate) actions: Actions,
    pub(crate) read: bool,
}

/// The event itself.
pub(crate) enum FoundEvent {
    /// In a room that the user is in.
    In(Arc<Room>, EventNum, EventRow),
    /// An invitation.
    Invitation(Invitation),
}

/// An invitation, to a room of this server or of another one.
pub(crate) struct Invitation {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) event_id: String,
    pub(crate) sender: String,
    pub(crate) json: String,
}

/// A room in the walk.
enum Cursor {
    Room {
        num: RoomNum,
        place: UserRoom,
        /// What comes next, newest first.
        page: VecDeque<(Pos, EventNum)>,
        /// What is needed to judge its events, once one is looked at.
        view: Option<View>,
    },
    Invitation {
        num: RoomNum,
        place: UserRoom,
    },
}

struct View {
    room: Arc<Room>,
    reads: Reads,
    name: String,
}

/// A walk under way.
pub(crate) struct Walk<'a> {
    app: &'a App,
    user_id: OwnedUserId,
    range: Range<'a>,
    rules: Arc<CompiledRules>,
    ignored: Arc<HashSet<OwnedUserId>>,
    cursors: Vec<Cursor>,
    /// The newest event of each room that was not looked at yet.
    heap: BinaryHeap<(Pos, usize)>,
    looked: usize,
}

impl<'a> Walk<'a> {
    pub(crate) async fn new(app: &'a App, range: Range<'a>) -> Result<Self, ApiError> {
        let user_id = app.user_of(range.user).await?;
        let rules = app.users.push_rules.compiled(range.user).await?;
        let ignored = app.users.account_data.ignored(range.user).await?;
        let mut places = Vec::new();
        match range.rooms {
            Rooms::All => {
                places
                    .extend(app.engine.user_rooms().of(range.user).await?.iter().map(|(room, place)| (*room, *place)));
            }
            Rooms::These(rooms) => {
                for room in rooms {
                    let place = app.engine.user_rooms().get(range.user, *room).await?;
                    places.extend(place.map(|place| (*room, place)));
                }
            }
        }
        let mut walk =
            Self { app, user_id, range, rules, ignored, cursors: vec![], heap: BinaryHeap::new(), looked: 0 };
        for (num, place) in places {
            walk.begin(num, place).await?;
        }
        Ok(walk)
    }

    /// The position from which on another walk goes on; `None` where nothing is left.
    pub(crate) fn rest(&self) -> Option<Pos> {
        self.heap.peek().map(|(pos, _)| *pos)
    }

    /// The next event; `None` at the end, and where enough was looked at.
    pub(crate) async fn next(&mut self) -> Result<Option<Found>, ApiError> {
        while self.looked < BUDGET
            && let Some((pos, index)) = self.heap.pop()
        {
            self.looked += 1;
            if let Some(found) = self.look(pos, index).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn begin(&mut self, num: RoomNum, place: UserRoom) -> Result<(), ApiError> {
        match place.membership {
            Membership::Join => {
                let page = self.page(num, place, self.range.to).await?;
                let first = page.front().map(|(pos, _)| *pos);
                self.cursors.push(Cursor::Room { num, place, page, view: None });
                self.heap.extend(first.map(|pos| (pos, self.cursors.len() - 1)));
            }
            Membership::Invite if self.range.asks_for_invitation_at(place.pos) => {
                self.cursors.push(Cursor::Invitation { num, place });
                self.heap.push((place.pos, self.cursors.len() - 1));
            }
            _ => {}
        }
        Ok(())
    }

    /// Events of a room up to a position, since the user is in it.
    async fn page(&self, num: RoomNum, place: UserRoom, to: Pos) -> Result<VecDeque<(Pos, EventNum)>, ApiError> {
        let after = self.range.after.max(place.since);
        if after >= to {
            return Ok(VecDeque::new());
        }
        Ok(self.app.engine.stream(num, after, to, PAGE, Direction::Backward).await?.into())
    }

    async fn look(&mut self, pos: Pos, index: usize) -> Result<Option<Found>, ApiError> {
        let (num, place, next) = match self.cursors.get_mut(index) {
            Some(Cursor::Room { num, place, page, .. }) => {
                let next = page.pop_front();
                (*num, *place, next)
            }
            Some(Cursor::Invitation { num, place }) => {
                let (num, place) = (*num, *place);
                return self.invitation(num, place).await;
            }
            None => return Ok(None),
        };
        let Some((_, event)) = next else { return Ok(None) };
        let Some(found) = self.judge(num, place, event, index).await? else {
            // All that is left of the room was read.
            return Ok(None);
        };
        self.advance(pos, index).await?;
        Ok(found)
    }

    /// Puts the next older event of a room in line.
    async fn advance(&mut self, pos: Pos, index: usize) -> Result<(), ApiError> {
        let Some(Cursor::Room { num, place, page, .. }) = self.cursors.get(index) else { return Ok(()) };
        let fresh =
            if page.is_empty() { self.page(*num, *place, pos.saturating_sub(1)).await? } else { VecDeque::new() };
        if let Some(Cursor::Room { page, .. }) = self.cursors.get_mut(index) {
            page.extend(fresh);
            self.heap.extend(page.front().map(|(pos, _)| (*pos, index)));
        }
        Ok(())
    }

    /// Whether an event notifies the user. The outer `None`: neither this nor any older one of the room does.
    async fn judge(
        &mut self,
        num: RoomNum,
        place: UserRoom,
        event: EventNum,
        index: usize,
    ) -> Result<Option<Option<Found>>, ApiError> {
        let row = self.app.engine.event(num, event).await?;
        let viewer = Viewer { user_id: &self.user_id, num: self.range.user, place: Some(place) };
        let Some(Cursor::Room { view, .. }) = self.cursors.get_mut(index) else { return Ok(None) };
        if view.is_none() {
            let room = self.app.engine.room_by_num(num).await?;
            let reads = self.app.reads(num, self.range.user, |_, _| ()).await?;
            let asked = self.rules.ask_display_name();
            let name = if asked { self.app.display_name(&room, &viewer).await? } else { String::new() };
            *view = Some(View { room, reads, name });
        }
        let Some(view) = view else { return Ok(None) };
        let (pos, own) = (row.pos(), row.sender_num() == self.range.user);
        if self.range.unread_only && pos <= view.reads.all {
            return Ok(None);
        }
        let thread = self.app.thread_of(num, &row).await?;
        let read = pos <= view.reads.of(thread.as_ref());
        if own || row.is_redacted() || (read && self.range.unread_only) || is_ignored(&self.ignored, row.sender()) {
            return Ok(Some(None));
        }
        let actions = self.app.actions(&view.room, &viewer, &row, &self.rules, &view.name).await?;
        let event = FoundEvent::In(Arc::clone(&view.room), event, row);
        Ok(Some(actions.notify.then_some(Found { pos, room: num, event, actions, read })))
    }

    async fn invitation(&self, num: RoomNum, place: UserRoom) -> Result<Option<Found>, ApiError> {
        let Some(invitation) = self.app.invitation(self.range.user, num, place).await? else { return Ok(None) };
        if is_ignored(&self.ignored, &invitation.sender) || self.app.is_unwanted(self.range.user, &invitation).await? {
            return Ok(None);
        }
        let Ok(event) = PushEvent::parse(&invitation.json) else { return Ok(None) };
        let context = PushContext {
            user_id: &self.user_id,
            room_id: &invitation.room_id,
            // Who is invited knows of the one who asks.
            member_count: 1,
            display_name: "",
            power_levels: None,
            follows_thread: None,
        };
        let actions = self.rules.evaluate(&event, &context).clone();
        let event = FoundEvent::Invitation(invitation);
        Ok(actions.notify.then_some(Found { pos: place.pos, room: num, event, actions, read: false }))
    }
}

fn is_ignored(ignored: &HashSet<OwnedUserId>, sender: &str) -> bool {
    ignored.iter().any(|id| id.as_str() == sender)
}

impl App {
    /// A user by number.
    pub(crate) async fn user_of(&self, user: u64) -> Result<OwnedUserId, ApiError> {
        let name = self.engine.ids.name(IdKind::User, user).await?;
        let id = name.and_then(|name| UserId::parse(&*name).ok());
        Ok(id.ok_or_else(|| EngineError::Inconsistent(format!("the user {user} has no name")))?)
    }

    /// Whether a user takes no invitations from who sent this one: `/sync` does not show it either.
    async fn is_unwanted(&self, user: u64, invitation: &Invitation) -> Result<bool, ApiError> {
        let Ok(sender) = <&UserId>::try_from(invitation.sender.as_str()) else { return Ok(false) };
        Ok(self.users.invite_answer(user, sender).await? != InviteAnswer::Show)
    }

    async fn invitation(&self, user: u64, room: RoomNum, place: UserRoom) -> Result<Option<Invitation>, ApiError> {
        if place.num == 0 {
            let room_id = self.engine.room_id(room).await?;
            let row = self.engine.outside(user, room).await?;
            return Ok(row.map(|OutsideRow { event_id, sender, event, .. }| Invitation {
                room_id,
                event_id,
                sender,
                json: event,
            }));
        }
        let row = self.engine.event(room, place.num).await?;
        Ok(Some(Invitation {
            room_id: self.engine.room_id(room).await?,
            event_id: row.event_id().to_owned(),
            sender: row.sender().to_owned(),
            json: row.json().to_owned(),
        }))
    }
}
