//! What pushers ask rooms.

use engine::{EngineError, Membership, Room, RoomNum, Viewer};
use futures::{FutureExt as _, future::BoxFuture};
use notify::{Detail, Notice, Rooms, Search, Source, SourceError};
use ruma::UserId;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::Pos;

use crate::{
    ApiError, App,
    notices::{Found, FoundEvent, Invitation, Range, Walk},
    sync::total,
};

/// An event as somebody sees it who is invited; or of a membership event what concerns us.
#[derive(Deserialize)]
struct Stripped {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    state_key: String,
    content: Box<RawValue>,
}

#[derive(Deserialize, Default)]
struct Names {
    name: Option<String>,
    alias: Option<String>,
    displayname: Option<String>,
}

fn names(content: &str) -> Names {
    serde_json::from_str(content).unwrap_or_default()
}

impl Source for App {
    fn notices<'a>(&'a self, search: Search<'a>) -> BoxFuture<'a, Result<Vec<Notice>, SourceError>> {
        async move { self.notices_of(search).await.map_err(|error| Box::new(error.0) as SourceError) }.boxed()
    }

    fn unread<'a>(
        &'a self,
        user: u64,
        rooms: &'a Rooms,
        to: Pos,
    ) -> BoxFuture<'a, Result<Vec<(RoomNum, u64)>, SourceError>> {
        async move { self.unread_by_room(user, rooms, to).await.map_err(|error| Box::new(error.0) as SourceError) }
            .boxed()
    }
}

impl App {
    async fn notices_of(&self, search: Search<'_>) -> Result<Vec<Notice>, ApiError> {
        let Search { user, rooms, after, to, limit, detailed } = search;
        let range = Range { user, rooms, after, to, unread_only: true, invitations: true };
        let mut walk = Walk::new(self, range).await?;
        let mut notices = Vec::new();
        while notices.len() < limit
            && let Some(found) = walk.next().await?
        {
            notices.extend(self.notice(user, found, detailed).await?);
        }
        notices.reverse();
        Ok(notices)
    }

    async fn notice(&self, user: u64, found: Found, detailed: bool) -> Result<Option<Notice>, ApiError> {
        let Found { pos, room: num, event, actions, .. } = found;
        let (room_id, event_id, event_type, detail) = match event {
            FoundEvent::In(room, _, row) => {
                let user_id = self.user_of(user).await?;
                let detail = if detailed { Some(self.detail(&room, &row, &user_id).await?) } else { None };
                (room.id.clone(), row.event_id().to_owned(), row.event_type().into_owned(), detail)
            }
            FoundEvent::Invitation(invitation) => {
                let detail = if detailed { self.detail_of_invitation(user, num, &invitation).await? } else { None };
                (invitation.room_id, invitation.event_id, "m.room.member".to_owned(), detail)
            }
        };
        Ok(Some(Notice { pos, event_id, room_id, event_type, actions, detail }))
    }

    async fn detail(&self, room: &Room, row: &engine::EventRow, user_id: &UserId) -> Result<Detail, ApiError> {
        let entries = [("m.room.name", ""), ("m.room.canonical_alias", ""), ("m.room.member", row.sender())];
        let rows = self.engine.current_entries(room.num, &entries).await?;
        let names = |index: usize| rows.get(index).and_then(Option::as_ref).map(|row| names(row.content()));
        let is_member = row.type_json() == "\"m.room.member\"";
        Ok(Detail {
            sender: row.sender().to_owned(),
            sender_display_name: names(2).and_then(|names| names.displayname),
            room_name: names(0).and_then(|names| names.name).filter(|name| !name.is_empty()),
            room_alias: names(1).and_then(|names| names.alias),
            user_is_target: is_member && row.state_key().as_deref() == Some(user_id.as_str()),
            content: content_of(row.content().to_owned())?,
        })
    }

    /// As far as the room was shown to the user who is invited.
    async fn detail_of_invitation(
        &self,
        user: u64,
        room: RoomNum,
        invitation: &Invitation,
    ) -> Result<Option<Detail>, ApiError> {
        let Ok(event) = serde_json::from_str::<Stripped>(&invitation.json) else { return Ok(None) };
        let shown = self.engine.invite_state(user, room).await?;
        let shown: Vec<Stripped> = serde_json::from_slice(&shown).unwrap_or_default();
        let find = |kind: &str, key: &str| {
            let event = shown.iter().find(|event| event.event_type == kind && event.state_key == key);
            event.map(|event| names(event.content.get())).unwrap_or_default()
        };
        Ok(Some(Detail {
            sender: invitation.sender.clone(),
            sender_display_name: find("m.room.member", &invitation.sender).displayname,
            room_name: find("m.room.name", "").name.filter(|name| !name.is_empty()),
            room_alias: find("m.room.canonical_alias", "").alias,
            user_is_target: true,
            content: event.content,
        }))
    }

    async fn unread_by_room(&self, user: u64, rooms: &Rooms, to: Pos) -> Result<Vec<(RoomNum, u64)>, ApiError> {
        let user_id = self.user_of(user).await?;
        let places = self.engine.user_rooms().of(user).await?;
        let mut unread = Vec::new();
        for (num, place) in places.iter() {
            let asked = match rooms {
                Rooms::All => true,
                Rooms::These(rooms) => rooms.contains(num),
            };
            if !asked || place.membership != Membership::Join {
                continue;
            }
            let room = match self.engine.room_by_num(*num).await {
                Err(EngineError::UnknownRoom) => continue,
                other => other?,
            };
            let viewer = Viewer { user_id: &user_id, num: user, place: Some(*place) };
            let counts = self.unread(&room, &viewer, to).await?;
            unread.push((*num, total(&counts).notifications));
        }
        Ok(unread)
    }
}

fn content_of(json: String) -> Result<Box<RawValue>, ApiError> {
    RawValue::from_string(json).map_err(|error| EngineError::Inconsistent(error.to_string()).into())
}
