//! Entering rooms of other servers, and events whose past is not here.

use std::{collections::BTreeSet, sync::Arc};

use ::room::check::ReceivedEvent;
use ruma::{OwnedEventId, RoomVersionId, events::TimelineEventType};
use store::IdKind;

use crate::{
    engine::Engine,
    error::EngineError,
    head::{Head, HeadRow},
    judge::Judging,
    load,
    outliers::{Here, Senders},
    partial::OmittedMembers,
    receive::{Landing, Received},
    room::{Room, RoomInfo},
    row::{StateFrom, Verdict},
    tables::EventNum,
    writer::RoomWriter,
};

/// What another server tells of a room that a user of ours has just entered.
#[derive(Debug, Clone)]
pub struct RemoteRoom {
    /// The room's version.
    pub version: RoomVersionId,
    /// The events that allow the state, in any order.
    pub auth_chain: Vec<ReceivedEvent>,
    /// The state before [`Self::event`], in any order.
    pub state: Vec<ReceivedEvent>,
    /// The event by which our user entered, signed by both servers where it has to be.
    pub event: ReceivedEvent,
    /// What stands for the members that were left out of the state, where they were.
    pub omitted: Option<OmittedMembers>,
}

impl Engine {
    /// Enters a room: its state and the events that allow it become outliers, the membership event its newest, in one commit. Where
    /// the room is known here already it goes on from there: with this event as its only end where nobody of this server was in it
    /// any more, otherwise with one more branch. Of auth chain and state those events are left out that are of another room or whose auth
    /// events are missing. Where members were left out, the room is partial until it is filled ([`Engine::fill`]).
    ///
    /// # Errors
    /// [`EngineError::Forbidden`] where the rules refuse the event in this state, [`EngineError::BadEvent`] where it is no membership,
    /// where an event that it cites or the room's create event is missing, or that is of another version; those of the store.
    pub async fn enter(&self, remote: RemoteRoom) -> Result<Arc<Room>, EngineError> {
        let RemoteRoom { version, auth_chain, state, event, omitted } = remote;
        let rules = Self::rules(&version)?;
        if event.pdu.event_type != TimelineEventType::RoomMember || event.pdu.state_key.is_none() {
            return Err(EngineError::BadEvent("not a membership".to_owned()));
        }
        let room_id = event.pdu.room_id.clone();
        let all = auth_chain.iter().chain(&state).chain([&event]).map(|event| &event.pdu);
        let senders = self.senders(all).await?;
        // One commit for all of them, and none under the room's lock.
        self.number_servers(omitted.iter().flat_map(OmittedMembers::believed)).await?;
        let num = self.ids.number(IdKind::Room, room_id.as_str()).await?;
        let entry = Entry {
            senders: &senders,
            ids: state.iter().map(|event| event.pdu.event_id.clone()).collect(),
            outliers: auth_chain.into_iter().chain(state).collect(),
            event,
            version: &version,
            omitted,
        };
        let _entering = self.entering(num).lock().await;
        match self.room(&room_id).await {
            Err(EngineError::UnknownRoom) => {}
            Err(error) => return Err(error),
            Ok(room) if room.version != version => {
                return Err(EngineError::BadEvent("the room is of another version".to_owned()));
            }
            Ok(room) => {
                let mut writer = self.write(&room).await?;
                writer.enter(entry).await?;
                writer.commit().await?;
                return Ok(room);
            }
        }
        let head = Head::new(HeadRow::empty(), None, RoomInfo::empty());
        let room = Arc::new(Room::new(num, room_id, version.clone(), rules, head));
        let mut writer = RoomWriter::of_new_room(self, &room).await?;
        writer.enter(entry).await?;
        self.announce(&room);
        if let Err(error) = writer.commit().await {
            self.withdraw(&room);
            self.chains.forget(num);
            return Err(error);
        }
        self.register(&room);
        Ok(room)
    }

    /// Takes an event some of whose predecessors are not here: `state` names the state before it as another server says it is. All of
    /// that is here, as outliers or otherwise; what is not is left out. Where some of what it follows is here, the states after that
    /// have their say.
    ///
    /// # Errors
    /// As [`Engine::receive`].
    pub async fn receive_at(
        &self,
        room: &Arc<Room>,
        event: ReceivedEvent,
        state: &[OwnedEventId],
    ) -> Result<Received, EngineError> {
        self.senders([&event.pdu]).await?;
        let mut writer = self.write(room).await?;
        let received = writer.receive_at(event, state).await?;
        match received {
            Received::Stored { .. } => writer.commit().await?,
            // It may still wait for its sync.
            Received::Known(_) => {
                drop(writer);
                self.db.write().commit().await?;
            }
            Received::Missing(_) => {}
        }
        Ok(received)
    }
}

/// What is put together to enter a room.
struct Entry<'a> {
    senders: &'a Senders,
    outliers: Vec<ReceivedEvent>,
    /// The ids of the state.
    ids: Vec<OwnedEventId>,
    event: ReceivedEvent,
    version: &'a RoomVersionId,
    omitted: Option<OmittedMembers>,
}

impl RoomWriter<'_> {
    async fn enter(&mut self, entry: Entry<'_>) -> Result<(), EngineError> {
        self.check_room(&entry.event.pdu).await?;
        if let Some((num, false)) = self.known(&entry.event.pdu.event_id).await? {
            let verdict = self.event_row(num).await?.verdict();
            return if verdict == Verdict::Accepted { Ok(()) } else { Err(refused()) };
        }
        // Who was away for a while missed what came in between: the ends known here are none any more.
        let away = self.head()?.info.local_members.is_empty();
        let here = self.take_outliers(entry.outliers, entry.senders, &BTreeSet::new()).await?;
        let is_create = |id: &&OwnedEventId| {
            here.pdus.get(*id).is_some_and(|pdu| {
                !pdu.rejected
                    && pdu.is_state(&TimelineEventType::RoomCreate, "")
                    && load::version_in(pdu.content.get()).is_ok_and(|version| version == *entry.version)
            })
        };
        if entry.ids.iter().find(is_create).is_none() {
            return Err(EngineError::BadEvent("the room's create event is missing".to_owned()));
        }
        let abandoned = self.partial_since().await?.filter(|_| away);
        let received = if away {
            self.forget_partial()?;
            self.receive_told(entry.event, &here, &entry.ids, (StateFrom::Anew, entry.omitted.is_some())).await?
        } else if entry.omitted.is_some() {
            // Somebody of ours entered meanwhile: what this server knows is more than was told.
            self.receive(entry.event).await?
        } else {
            self.receive_told(entry.event, &here, &entry.ids, (StateFrom::Told, false)).await?
        };
        match received {
            Received::Stored { num, verdict: Verdict::Accepted } => {
                if let Some(since) = abandoned {
                    self.filled = Some((since, self.head()?.row.root));
                }
                match entry.omitted {
                    Some(omitted) if away => self.begin_partial(num, &omitted).await,
                    _ => Ok(()),
                }
            }
            Received::Missing(ids) => Err(EngineError::BadEvent(format!("{} events are missing", ids.len()))),
            _ => Err(refused()),
        }
    }

    async fn receive_at(&mut self, event: ReceivedEvent, state: &[OwnedEventId]) -> Result<Received, EngineError> {
        self.check_room(&event.pdu).await?;
        if let Some((num, false)) = self.known(&event.pdu.event_id).await? {
            return Ok(Received::Known(num));
        }
        let here = self.here(state.iter().cloned().collect()).await?;
        self.receive_told(event, &here, state, (StateFrom::Told, false)).await
    }

    /// Judges and stages an event before which the state is as told.
    async fn receive_told(
        &mut self,
        event: ReceivedEvent,
        here: &Here,
        state: &[OwnedEventId],
        (from, partial): (StateFrom, bool),
    ) -> Result<Received, EngineError> {
        let known = self.known(&event.pdu.event_id).await?.map(|(num, _)| num);
        let references = self.references(&event.pdu).await?;
        if !references.uncited.is_empty() {
            return Ok(Received::Missing(references.uncited));
        }
        let told = self.stage_told(here, state)?;
        // Beside states that lack members a whole one says all there is to say.
        let alone = from == StateFrom::Anew || self.partial();
        let prev: &[EventNum] = if alone { &[] } else { &references.prev };
        let before = self.resolve_with(told, prev).await?;
        let partial = partial || self.partial();
        let judging = Judging { by_now: from != StateFrom::Anew, partial };
        let verdict = self.judge(&event.pdu, &references.cited, before, judging).await?;
        let landing = Landing { references, before, from, verdict, partial, known, history: None };
        let num = self.land(event, landing).await?;
        Ok(Received::Stored { num, verdict })
    }
}

fn refused() -> EngineError {
    EngineError::Forbidden("the rules of the room refuse this membership".to_owned())
}
