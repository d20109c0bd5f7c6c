//! What the next transaction of a service holds.

use auth::appservices::Registration;
use engine::{EngineError, EventPlace, EventRow, FeedEntry, OutsideNews, Room, RoomNum};
use ruma::UserId;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use store::Pos;

use super::DeliveryError;
use crate::{interest::acts_as, services::Services, tables::InFlight};

/// Events in a transaction, at most.
const MAX_EVENTS: usize = 100;
/// Bytes of a transaction, about.
const MAX_BYTES: usize = 1 << 20;
/// Rows of the feed that are looked at in one go.
const PAGE: usize = 200;
/// So many goes are made before others get their turn.
const MAX_PAGES: usize = 20;

/// What is put together, and how far in the feed.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) events: Vec<Box<RawValue>>,
    pub(super) ephemeral: Vec<Box<RawValue>>,
    bytes: usize,
    /// Everything up to here is in it, or is none of the service's concern.
    pub(super) upto: Pos,
    /// The feed goes on behind that.
    pub(super) more: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    events: &'a [Box<RawValue>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ephemeral: &'a [Box<RawValue>],
    /// The same under the name from before it was part of the specification.
    #[serde(rename = "de.sorunome.msc2409.ephemeral", skip_serializing_if = "<[_]>::is_empty")]
    old_ephemeral: &'a [Box<RawValue>],
}

impl Draft {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.ephemeral.is_empty()
    }

    fn is_full(&self) -> bool {
        self.events.len() + self.ephemeral.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES
    }

    fn push_event(&mut self, json: String) -> Result<(), DeliveryError> {
        self.bytes += json.len();
        self.events.push(RawValue::from_string(json)?);
        Ok(())
    }

    pub(super) fn push_ephemeral(&mut self, event: &impl Serialize) -> Result<(), DeliveryError> {
        let event = to_raw_value(event)?;
        self.bytes += event.get().len();
        self.ephemeral.push(event);
        Ok(())
    }
}

impl Services {
    /// What is in the feed behind a position for a service, as much as fits into a transaction.
    pub(super) async fn compose(
        &self,
        (index, service): (usize, &Registration),
        after: Pos,
    ) -> Result<Draft, DeliveryError> {
        let mut draft = Draft { upto: after, ..Draft::default() };
        for _ in 0..MAX_PAGES {
            let rows = self.engine.feed(draft.upto, PAGE).await?;
            draft.more = rows.len() == PAGE;
            for (pos, entry) in rows {
                if draft.is_full() {
                    draft.more = true;
                    return Ok(draft);
                }
                self.add((index, service), &mut draft, (pos, entry)).await?;
                draft.upto = pos;
            }
            // What is at hand goes out before more is looked for.
            if !draft.more || !draft.is_empty() {
                return Ok(draft);
            }
        }
        Ok(draft)
    }

    /// The transaction that a draft becomes.
    pub(super) fn transaction(&self, service: &Registration, draft: &Draft) -> Result<InFlight, DeliveryError> {
        let old_ephemeral = if service.old_ephemeral { draft.ephemeral.as_slice() } else { &[] };
        let body = to_raw_value(&Body { events: &draft.events, ephemeral: &draft.ephemeral, old_ephemeral })?;
        let txn_id = format!("{:x}-{:016x}", self.clock.now_ms(), self.random());
        Ok(InFlight { txn_id, body, upto: draft.upto, events: draft.events.len() })
    }

    async fn add(
        &self,
        service: (usize, &Registration),
        draft: &mut Draft,
        (pos, entry): (Pos, FeedEntry),
    ) -> Result<(), DeliveryError> {
        match entry {
            FeedEntry::Event(place) => {
                if let Some(event) = self.event(service, place).await? {
                    draft.push_event(event)?;
                }
            }
            FeedEntry::Outside(news) => {
                if let Some(event) = self.outside(service.1, news).await? {
                    draft.push_event(event)?;
                }
            }
            FeedEntry::Receipt(room) if service.1.receive_ephemeral => {
                if let Some(receipt) = self.receipt(service, room, pos).await? {
                    draft.push_ephemeral(&receipt)?;
                }
            }
            FeedEntry::Receipt(_) => {}
        }
        Ok(())
    }

    async fn event(&self, service: (usize, &Registration), place: EventPlace) -> Result<Option<String>, DeliveryError> {
        let Some(room) = self.room_if_there(place.room).await? else { return Ok(None) };
        let row = match self.engine.event(place.room, place.num).await {
            // The room was purged since.
            Err(EngineError::UnknownEvent) => return Ok(None),
            other => other?,
        };
        if !self.is_interested(service, &room, &row).await? {
            return Ok(None);
        }
        let invited = invited(&row).filter(|user_id| service.1.acts_as(user_id));
        let invite_state = match invited {
            Some(user_id) => self.invite_state(&user_id, room.num).await?,
            None => None,
        };
        Ok(Some(self.engine.render_alone(&room, &row, invite_state).await?))
    }

    /// An invitation, or its end, of one of the service's users from outside of the room.
    async fn outside(&self, service: &Registration, news: OutsideNews) -> Result<Option<String>, DeliveryError> {
        let Some(user_id) = self.user_id(news.user).await? else { return Ok(None) };
        if !acts_as(service, user_id.as_str()) {
            return Ok(None);
        }
        let mut event = news.event;
        if let Some(state) = self.invite_state(&user_id, news.room).await?
            && event.pop() == Some('}')
        {
            event.push_str(&format!(",\"unsigned\":{{\"invite_room_state\":{state}}}}}"));
        }
        Ok(Some(event))
    }

    /// What an invited user is shown of a room, while they are invited.
    async fn invite_state(&self, user_id: &UserId, room: RoomNum) -> Result<Option<String>, DeliveryError> {
        let user = self.engine.user_num(user_id).await?;
        let state = self.engine.invite_state(user, room).await?;
        Ok(String::from_utf8(state.to_vec()).ok().filter(|state| state != "[]"))
    }

    pub(super) async fn room_if_there(&self, room: RoomNum) -> Result<Option<std::sync::Arc<Room>>, DeliveryError> {
        match self.engine.room_by_num(room).await {
            Ok(room) => Ok(Some(room)),
            Err(EngineError::UnknownRoom) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whom an event invites.
fn invited(row: &EventRow) -> Option<ruma::OwnedUserId> {
    #[derive(serde::Deserialize)]
    struct Content {
        membership: Option<String>,
    }
    let about = row.state_key().filter(|_| row.type_json() == "\"m.room.member\"")?;
    let content: Content = serde_json::from_str(row.content()).ok()?;
    (content.membership? == "invite").then(|| UserId::parse(&*about).ok()).flatten()
}
