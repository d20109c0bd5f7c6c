//! Which rooms a response may speak of, and what is wanted of each.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use engine::{Membership, Room, RoomNum, UserRoom};
use http_kit::Requester;
use serde_json::Value;

use super::{
    request::{Body, Details, Filters, List},
    required::Required,
};
use crate::{ApiError, App, sync::assemble::Window};

/// What is wanted of a room.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) timeline_limit: usize,
    pub(super) required: Required,
    /// The lists that it is shown in.
    pub(super) lists: Vec<String>,
    /// It is asked for by its id.
    pub(super) subscribed: bool,
}

impl Wish {
    fn add(&mut self, details: &Details, requester: &Requester) {
        self.timeline_limit = self.timeline_limit.max(details.timeline_limit);
        self.required.extend(Required::new(&details.required_state, &requester.user_id));
    }
}

/// A room that the user is in, or was invited to.
pub(super) struct Candidate {
    pub(super) num: RoomNum,
    pub(super) place: UserRoom,
    /// `None` for one that is not here.
    room: Option<Arc<Room>>,
    /// When it was lifted last.
    pub(super) bump: u64,
}

/// What the lists say.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) rooms: BTreeMap<RoomNum, Wish>,
    /// How many rooms are in each list.
    pub(super) counts: BTreeMap<String, usize>,
}

impl App {
    /// Sorts rooms into the lists, and adds those that are asked for by id.
    pub(super) async fn choose(
        &self,
        body: &Body,
        window: &Window,
        requester: &Requester,
        direct: &HashSet<String>,
    ) -> Result<Chosen, ApiError> {
        let mut chosen = Chosen::default();
        let candidates = self.candidates(window, requester).await?;
        for (name, list) in &body.lists {
            let mut rooms = Vec::new();
            for candidate in &candidates {
                if self.passes(&list.filters, candidate, direct, requester).await? {
                    rooms.push(candidate.num);
                }
            }
            chosen.counts.insert(name.clone(), rooms.len());
            for num in shown(list, &rooms) {
                let wish = chosen.rooms.entry(num).or_default();
                wish.add(&list.details, requester);
                if !wish.lists.contains(name) {
                    wish.lists.push(name.clone());
                }
            }
        }
        for (id, details) in &body.room_subscriptions {
            let Some(num) = self.subscribed(id, window).await? else { continue };
            let wish = chosen.rooms.entry(num).or_default();
            wish.add(details, requester);
            wish.subscribed = true;
        }
        Ok(chosen)
    }

    /// The rooms of the user, the one that was lifted last first.
    async fn candidates(&self, window: &Window, requester: &Requester) -> Result<Vec<Candidate>, ApiError> {
        let mut candidates = Vec::new();
        for (num, place) in window.rooms.iter() {
            let (num, place) = (*num, *place);
            if !matches!(place.membership, Membership::Join | Membership::Invite | Membership::Knock) {
                continue;
            }
            if self.is_ignored(requester.user, num, place).await? {
                continue;
            }
            let room = match place.num {
                0 => None,
                _ => Some(self.engine.room_by_num(num).await?),
            };
            let bump = match &room {
                Some(room) if place.membership == Membership::Join => self.bump_stamp(room).await?.max(place.since),
                _ => place.pos,
            };
            candidates.push(Candidate { num, place, room, bump });
        }
        candidates.sort_by_key(|candidate| (std::cmp::Reverse(candidate.bump), candidate.num));
        Ok(candidates)
    }

    async fn passes(
        &self,
        filters: &Filters,
        candidate: &Candidate,
        direct: &HashSet<String>,
        requester: &Requester,
    ) -> Result<bool, ApiError> {
        let fits = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        let invited = candidate.place.membership != Membership::Join;
        if !fits(filters.is_invite, invited) {
            return Ok(false);
        }
        if filters.is_dm.is_some() {
            let id = self.engine.room_id(candidate.num).await?;
            if !fits(filters.is_dm, direct.contains(id.as_str())) {
                return Ok(false);
            }
        }
        let by_type = filters.room_types.is_some() || !filters.not_room_types.is_empty();
        if filters.is_encrypted.is_none() && !by_type {
            return Ok(true);
        }
        let (encrypted, kind) = match &candidate.room {
            Some(room) => (room.info().encrypted, if by_type { self.room_type(room).await? } else { None }),
            None => self.said_of(requester, candidate.num).await?,
        };
        if !fits(filters.is_encrypted, encrypted) {
            return Ok(false);
        }
        if !by_type {
            return Ok(true);
        }
        let among = |kinds: &[Option<String>]| kinds.contains(&kind);
        Ok(filters.room_types.as_deref().is_none_or(among) && !among(&filters.not_room_types))
    }

    /// What an invitation says of a room that is not here: whether it is encrypted, and its type.
    async fn said_of(&self, requester: &Requester, num: RoomNum) -> Result<(bool, Option<String>), ApiError> {
        let state = self.engine.invite_state(requester.user, num).await?;
        let events: Vec<Value> = serde_json::from_slice(&state).unwrap_or_default();
        let of_type = |kind: &str| events.iter().find(|event| event["type"] == kind);
        let kind = of_type("m.room.create").and_then(|create| create["content"]["type"].as_str());
        Ok((of_type("m.room.encryption").is_some(), kind.map(ToOwned::to_owned)))
    }

    async fn room_type(&self, room: &Room) -> Result<Option<String>, ApiError> {
        let Some(create) = self.engine.current_event(room.num, "m.room.create", "").await? else { return Ok(None) };
        let content: Value = serde_json::from_str(create.content()).unwrap_or_default();
        Ok(content.get("type").and_then(Value::as_str).map(ToOwned::to_owned))
    }

    /// A room that the user is in, or was asked into.
    async fn subscribed(&self, id: &str, window: &Window) -> Result<Option<RoomNum>, ApiError> {
        let Some(num) = self.engine.ids.find(store::IdKind::Room, id).await? else { return Ok(None) };
        let place = window.rooms.get(&num);
        Ok(place.filter(|place| !matches!(place.membership, Membership::Leave | Membership::Ban)).map(|_| num))
    }
}

/// The rooms in a list's ranges; without any, all.
fn shown(list: &List, rooms: &[RoomNum]) -> Vec<RoomNum> {
    if list.ranges.is_empty() {
        return rooms.to_vec();
    }
    let within = |(first, last): &(usize, usize)| {
        let end = last.saturating_add(1).min(rooms.len());
        rooms.get(*first..end.max(*first)).unwrap_or_default()
    };
    list.ranges.iter().flat_map(within).copied().collect()
}
