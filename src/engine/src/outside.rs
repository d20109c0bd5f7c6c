//! Memberships in rooms in which nobody of this server is: who was invited to one or knocked on one of another server, and what
//! became of that. Of such a room nothing is known but its id and what the other server said of it.

use std::sync::Arc;

use ::room::{Pdu, check::ReceivedEvent};
use bytes::Bytes;
use ruma::{RoomId, RoomVersionId, UserId, events::TimelineEventType};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{IdKind, Json, Op, Outcome, Precondition, Value, WakeKeys};

use crate::{
    engine::Engine,
    error::EngineError,
    feed::{FeedEntry, OutsideNews},
    news::News,
    receive::Received,
    row::Verdict,
    state::membership_in,
    tables::{INVITE_STATE, OUTSIDE, RoomNum, USER_ROOMS, UserNum},
    user_rooms::{Membership, UserRoom},
};

/// Events shown to an invited user, at most.
const MAX_STRIPPED: usize = 64;
/// Bytes of them, at most.
const MAX_STRIPPED_BYTES: usize = 128 * 1024;

/// A membership event of a room that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideRow {
    /// The room's version.
    pub version: RoomVersionId,
    /// The event's id.
    pub event_id: String,
    /// Who sent it.
    pub sender: String,
    /// The canonical event.
    pub event: String,
}

/// What is shown of an event to who is not in the room.
#[derive(Serialize, Deserialize)]
struct Stripped {
    content: Box<RawValue>,
    sender: String,
    state_key: String,
    #[serde(rename = "type")]
    event_type: String,
    /// Only in timelines.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin_server_ts: Option<ruma::MilliSecondsSinceUnixEpoch>,
    /// Only where the room is not said outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<String>,
}

impl Stripped {
    fn of(pdu: &Pdu) -> Self {
        Self {
            content: pdu.content.clone(),
            sender: pdu.sender.to_string(),
            state_key: pdu.state_key.clone().unwrap_or_default(),
            event_type: pdu.event_type.to_string(),
            event_id: None,
            origin_server_ts: None,
            room_id: None,
        }
    }

    /// The event of a row as a client gets it, with its room.
    fn in_timeline(row: &OutsideRow, room_id: &RoomId) -> Option<String> {
        let mut event = serde_json::from_str::<Self>(&row.event).ok()?;
        (event.event_id, event.room_id) = (Some(row.event_id.clone()), Some(room_id.to_string()));
        serde_json::to_string(&event).ok()
    }
}

/// A change of a place from outside.
pub(crate) struct Change {
    pub(crate) membership: Membership,
    pub(crate) event: Option<OutsideRow>,
    pub(crate) invite_state: Option<Bytes>,
}

impl Engine {
    /// An invitation that another server sent to a user of ours, and what it says of the room. Where this server takes part in the room,
    /// the event is received as any other where that is possible.
    ///
    /// # Errors
    /// [`EngineError::BadEvent`] where it invites nobody of ours, [`EngineError::Forbidden`] where the rules refuse it or the user is in
    /// the room; [`EngineError::UnsupportedVersion`], [`EngineError::Conflict`], and those of the store.
    pub async fn receive_invite(
        &self,
        version: RoomVersionId,
        event: ReceivedEvent,
        stripped: Vec<Box<RawValue>>,
    ) -> Result<(), EngineError> {
        self.receive_asked(version, event, stripped, Membership::Invite).await
    }

    /// A knock of a user of ours on a room of another server, which took it in and says this of the room.
    ///
    /// # Errors
    /// As [`Engine::receive_invite`].
    pub async fn receive_knock(
        &self,
        version: RoomVersionId,
        event: ReceivedEvent,
        stripped: Vec<Box<RawValue>>,
    ) -> Result<(), EngineError> {
        self.receive_asked(version, event, stripped, Membership::Knock).await
    }

    /// The end of an invitation or a knock: the user's own, the inviter's, or an answer to the knock. Whether it ended one. Where this
    /// server takes part in the room the event has to be received as any other, and changes nothing here.
    ///
    /// # Errors
    /// [`EngineError::BadEvent`] where it is no such event of a user of ours; [`EngineError::Conflict`], and those of the store.
    pub async fn receive_membership_outside(&self, event: ReceivedEvent) -> Result<bool, EngineError> {
        let pdu = &event.pdu;
        let membership = membership_in(pdu.content.get());
        let user_id = self.local_target(pdu, &[Membership::Leave, Membership::Ban], membership)?;
        let Some(num) = self.ids.find(IdKind::Room, pdu.room_id.as_str()).await? else { return Ok(false) };
        let user = self.user_num(user_id).await?;
        let Some(asked) = self.outside(user, num).await? else { return Ok(false) };
        let version = asked.version.clone();
        let answers = pdu.auth_events.iter().any(|id| id.as_str() == asked.event_id);
        let place = self.user_rooms().get(user, num).await?.map(|place| place.membership);
        let may = pdu.sender == user_id
            || answers && (place == Some(Membership::Knock) || pdu.sender.as_str() == asked.sender);
        if !may || !matches!(place, Some(Membership::Invite | Membership::Knock)) {
            return Ok(false);
        }
        let change = Change { membership, event: Some(outside_row(version, event.clone())), invite_state: None };
        self.change_outside(&pdu.room_id, user, change).await
    }

    /// The newest membership event that was heard of a user from outside a room; `None` where what the room's own events say is newer.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn outside(&self, user: UserNum, room: RoomNum) -> Result<Option<OutsideRow>, EngineError> {
        Ok(self.db.get(&OUTSIDE, &(user, room)).await?.map(|row| row.0))
    }

    /// The same as a client gets it in a timeline; `None` also where it is an invitation or a knock, or cannot be shown.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn outside_event(&self, user: UserNum, room: RoomNum) -> Result<Option<String>, EngineError> {
        let Some(row) = self.outside(user, room).await? else { return Ok(None) };
        let Ok(mut event) = serde_json::from_str::<Stripped>(&row.event) else { return Ok(None) };
        (event.event_id, event.room_id) = (Some(row.event_id), None);
        let ended = matches!(membership_in(event.content.get()), Membership::Leave | Membership::Ban);
        Ok(Some(event).filter(|_| ended).and_then(|event| serde_json::to_string(&event).ok()))
    }

    /// A room that is known by its number alone: its id, and a user's place in it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn place_outside(
        &self,
        room_id: &RoomId,
        user: UserNum,
    ) -> Result<Option<(RoomNum, UserRoom)>, EngineError> {
        let Some(num) = self.ids.find(IdKind::Room, room_id.as_str()).await? else { return Ok(None) };
        Ok(self.user_rooms().get(user, num).await?.filter(|place| place.num == 0).map(|place| (num, place)))
    }

    /// How many rooms of other servers a user is invited to, or has knocked on, and takes no part in otherwise.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn pending_outside(&self, user: UserNum) -> Result<usize, EngineError> {
        let rooms = self.user_rooms().of(user).await?;
        let pending = |place: &&UserRoom| {
            place.num == 0 && matches!(place.membership, Membership::Invite | Membership::Knock) && !place.forgotten
        };
        Ok(rooms.values().filter(pending).count())
    }

    /// As [`Engine::forget`], for a place that was heard of from outside the room.
    ///
    /// # Errors
    /// [`EngineError::Conflict`], and those of the store.
    pub async fn forget_outside(&self, room_id: &RoomId, user: UserNum) -> Result<Option<Membership>, EngineError> {
        let Some((num, _)) = self.place_outside(room_id, user).await? else { return Ok(None) };
        let _entering = self.entering(num).lock().await;
        let key = (user, num);
        let Some(row) = self.db.get(&USER_ROOMS, &key).await? else { return Ok(None) };
        if !matches!(row.membership, Membership::Leave | Membership::Ban) || row.forgotten || row.num != 0 {
            return Ok(Some(row.membership));
        }
        let before = Precondition::Equals(USER_ROOMS.keyspace, USER_ROOMS.key(&key), row.encode());
        let row = UserRoom { forgotten: true, ..row };
        let mut write = self.db.write();
        write.require(before).put(&USER_ROOMS, &key, &row);
        let view = self.view();
        write.on_done(move |outcome| {
            if outcome == Outcome::Done {
                view.user_room(user, num, row);
            }
        });
        write.commit().await?;
        Ok(Some(row.membership))
    }

    async fn receive_asked(
        &self,
        version: RoomVersionId,
        event: ReceivedEvent,
        stripped: Vec<Box<RawValue>>,
        membership: Membership,
    ) -> Result<(), EngineError> {
        Self::rules(&version)?;
        let found = membership_in(event.pdu.content.get());
        let user_id = self.local_target(&event.pdu, &[membership], found)?.to_owned();
        let room_id = event.pdu.room_id.clone();
        if let Some(room) = self.taken_part_in(&room_id).await? {
            match self.receive(&room, event.clone()).await? {
                Received::Known(_) | Received::Stored { verdict: Verdict::Accepted, .. } => return Ok(()),
                Received::Stored { .. } => {
                    return Err(EngineError::Forbidden("the rules of the room refuse this membership".to_owned()));
                }
                Received::Missing(_) => {}
            }
        }
        let user = self.user_num(&user_id).await?;
        self.ids.number(IdKind::Room, room_id.as_str()).await?;
        let invite_state = Some(stripped_state(&event.pdu, stripped)?);
        let change = Change { membership, event: Some(outside_row(version, event)), invite_state };
        if self.change_outside(&room_id, user, change).await? {
            Ok(())
        } else {
            Err(EngineError::Forbidden("the user is in the room".to_owned()))
        }
    }

    /// The room, where users of ours are in it.
    async fn taken_part_in(&self, room_id: &RoomId) -> Result<Option<Arc<crate::room::Room>>, EngineError> {
        match self.room(room_id).await {
            Ok(room) => Ok(Some(room).filter(|room| !room.info().local_members.is_empty())),
            Err(EngineError::UnknownRoom) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn local_target<'a>(
        &self,
        pdu: &'a Pdu,
        wanted: &[Membership],
        found: Membership,
    ) -> Result<&'a UserId, EngineError> {
        let user_id = pdu.state_key.as_deref().and_then(|key| <&UserId>::try_from(key).ok());
        user_id
            .filter(|user_id| {
                pdu.event_type == TimelineEventType::RoomMember && self.is_local(user_id) && wanted.contains(&found)
            })
            .ok_or_else(|| EngineError::BadEvent("not such a membership of a user of this server".to_owned()))
    }

    /// Changes a user's place, unless they are in the room. Whether it was changed.
    pub(crate) async fn change_outside(
        &self,
        room_id: &RoomId,
        user: UserNum,
        change: Change,
    ) -> Result<bool, EngineError> {
        let Some(num) = self.ids.find(IdKind::Room, room_id.as_str()).await? else { return Ok(false) };
        let _entering = self.entering(num).lock().await;
        // The room's own writer changes places as well.
        let room = match self.room_by_num(num).await {
            Ok(room) => Some(room),
            Err(EngineError::UnknownRoom) => None,
            Err(error) => return Err(error),
        };
        let writer = match &room {
            Some(room) => Some(self.write(room).await?),
            None => None,
        };
        let key = (user, num);
        let old = match &writer {
            Some(writer) => writer.head()?.overlay.get(&self.db, &USER_ROOMS, &key).await?,
            None => self.db.get(&USER_ROOMS, &key).await?,
        };
        if old.is_some_and(|old| old.membership == Membership::Join) {
            return Ok(false);
        }
        let news = change.event.as_ref().and_then(|event| Stripped::in_timeline(event, room_id));
        let mut ops: Vec<Op> = vec![match change.event {
            Some(event) => OUTSIDE.put(&key, &Json(event)),
            None => OUTSIDE.delete(&key),
        }];
        ops.push(match change.invite_state {
            Some(state) => INVITE_STATE.put(&key, &state),
            None => INVITE_STATE.delete(&key),
        });
        let membership = change.membership;
        let view = self.view();
        let ticket = self.db.enqueue_at(1, |pos, mut write| {
            let before = old.map_or(Membership::Leave, |old| old.membership);
            let same = old.filter(|old| old.membership == membership);
            let row = UserRoom {
                membership,
                before: same.map_or(before, |old| old.before),
                forgotten: false,
                num: 0,
                pos,
                since: same.map_or(pos, |old| old.since),
                left: old.map_or(0, |old| old.left),
            };
            write.require(match &old {
                Some(old) => Precondition::Equals(USER_ROOMS.keyspace, USER_ROOMS.key(&key), old.encode()),
                None => USER_ROOMS.absent(&key),
            });
            write.ops(ops).put(&USER_ROOMS, &key, &row).wake(WakeKeys::None.and(user));
            if let Some(event) = news {
                view.feed.entry(&mut write, pos, || FeedEntry::Outside(OutsideNews { user, room: num, event }));
            }
            write.on_done(move |outcome| {
                if outcome == Outcome::Done {
                    view.user_room(user, num, row);
                    view.news.tell(|| News { room: num, members: None, users: vec![user] });
                    view.feed.tell();
                }
            });
            write
        });
        ticket.await?;
        Ok(true)
    }
}

fn outside_row(version: RoomVersionId, event: ReceivedEvent) -> OutsideRow {
    let ReceivedEvent { json, pdu, .. } = event;
    OutsideRow { version, event_id: pdu.event_id.to_string(), sender: pdu.sender.to_string(), event: json }
}

/// What is shown to the user, as far as it has the right form: a JSON array with the membership event at its end.
fn stripped_state(own: &Pdu, stripped: Vec<Box<RawValue>>) -> Result<Bytes, EngineError> {
    let (mut shown, mut size) = (Vec::new(), 0);
    for raw in stripped.into_iter().take(MAX_STRIPPED) {
        let Ok(mut event) = serde_json::from_str::<Stripped>(raw.get()) else { continue };
        (event.event_id, event.origin_server_ts, event.room_id) = (None, None, None);
        size += event.content.get().len();
        let is_own = event.event_type == "m.room.member" && Some(&event.state_key) == own.state_key.as_ref();
        if size <= MAX_STRIPPED_BYTES && !is_own {
            shown.push(event);
        }
    }
    shown.push(Stripped::of(own));
    let json = serde_json::to_vec(&shown).map_err(|error| EngineError::BadEvent(error.to_string()))?;
    Ok(json.into())
}
