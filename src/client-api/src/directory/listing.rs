//! A page of the published rooms, those with the most members first.
//!
//! Without a filter the rooms are ordered by what is in memory of each, and only those of the page are read. A search reads
//! the name, topic and alias of all of them, of which there are [`LOOKED_AT`] at most.

use std::{cmp::Reverse, sync::Arc};

use engine::{EventRow, Room, Visibility};
use http_kit::{MatrixError, RawJson};
use ruma::{
    OwnedMxcUri, OwnedRoomAliasId, UInt,
    directory::{Filter, PublicRoomsChunk, PublicRoomsChunkInit},
    room::JoinRuleKind,
};
use serde_json::{Map, Value, json};

use crate::{ApiError, App};

/// Published rooms looked at, at most: those that this server has known for longest.
const LOOKED_AT: usize = 20_000;
/// Rooms read from the list in one go.
const SCAN: usize = 1000;
/// Rooms of a page, where the client says nothing, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;

/// Where a room stands in the list: members, then number.
type Place = (Reverse<u64>, u64);

/// Where a page begins. The list moves while somebody pages through it; a place in it stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Start,
    After(Place),
    Before(Place),
}

impl Since {
    fn decode(text: &str) -> Option<Self> {
        let (direction, rest) = (text.chars().next()?, text.get(1..)?);
        let (members, num) = rest.split_once('_')?;
        let place = (Reverse(members.parse().ok()?), num.parse().ok()?);
        match direction {
            'n' => Some(Self::After(place)),
            'p' => Some(Self::Before(place)),
            _ => None,
        }
    }

    fn encode(direction: char, (Reverse(members), num): Place) -> String {
        format!("{direction}{members}_{num}")
    }
}

/// A page of the list.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) chunk: Vec<PublicRoomsChunk>,
    pub(super) next_batch: Option<String>,
    pub(super) prev_batch: Option<String>,
    pub(super) total: usize,
}

impl Listing {
    /// The response. It names the join rule of all rooms: not every client knows what one that is left out stands for.
    ///
    /// # Errors
    /// None in practice.
    pub(super) fn reply(self) -> Result<RawJson, ApiError> {
        let mut chunk = serde_json::to_value(self.chunk).map_err(MatrixError::internal)?;
        for room in chunk.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            room.entry("join_rule").or_insert_with(|| "public".into());
        }
        let mut out = json!({"chunk": chunk, "total_room_count_estimate": self.total});
        for (field, token) in [("next_batch", self.next_batch), ("prev_batch", self.prev_batch)] {
            if let Some(token) = token {
                out[field] = token.into();
            }
        }
        Ok(RawJson(out.to_string().into()))
    }
}

impl App {
    /// A page of the published rooms that pass the filter.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` for tokens that are none of ours, and those of the store.
    pub(super) async fn published_rooms(
        &self,
        filter: &Filter,
        since: Option<&str>,
        limit: Option<UInt>,
    ) -> Result<Listing, ApiError> {
        let since = match since.filter(|since| !since.is_empty()) {
            None => Since::Start,
            Some(text) => {
                Since::decode(text).ok_or_else(|| MatrixError::invalid_param("since", "not a token of this list"))?
            }
        };
        let limit = limit.map_or(PAGE, |limit| usize::try_from(limit).unwrap_or(PAGE_MAX)).clamp(1, PAGE_MAX);
        let mut rooms = self.candidates(filter).await?;
        rooms.sort_unstable_by_key(|(place, _)| *place);
        let (from, to) = match since {
            Since::Start => (0, limit),
            Since::After(place) => {
                let from = rooms.partition_point(|(other, _)| *other <= place);
                (from, from.saturating_add(limit))
            }
            Since::Before(place) => {
                let to = rooms.partition_point(|(other, _)| *other < place);
                (to.saturating_sub(limit), to)
            }
        };
        let to = to.min(rooms.len());
        let page = rooms.get(from.min(to)..to).unwrap_or_default();
        let mut chunk = Vec::with_capacity(page.len());
        for (_, room) in page {
            chunk.push(self.describe(room).await?);
        }
        let first = page.first().filter(|_| from > 0).map(|(place, _)| Since::encode('p', *place));
        let last = page.last().filter(|_| to < rooms.len()).map(|(place, _)| Since::encode('n', *place));
        Ok(Listing { chunk, next_batch: last, prev_batch: first, total: rooms.len() })
    }

    async fn candidates(&self, filter: &Filter) -> Result<Vec<(Place, Arc<Room>)>, ApiError> {
        let term = filter.generic_search_term.as_deref().map(str::trim).filter(|term| !term.is_empty());
        let term = term.map(str::to_lowercase);
        let mut out = Vec::new();
        let (mut after, mut seen) = (0, 0);
        while seen < LOOKED_AT {
            let nums = self.engine.public_rooms(after, SCAN).await?;
            for num in &nums {
                let room = self.engine.room_by_num(*num).await?;
                let info = room.info();
                let of_type = filter.room_types.is_empty()
                    || filter.room_types.iter().any(|wanted| wanted.as_str() == info.room_type.as_deref());
                // Nobody can join a room that everybody has left.
                if info.joined == 0 || !of_type {
                    continue;
                }
                if let Some(term) = &term
                    && !self.mentions(&room, term).await?
                {
                    continue;
                }
                out.push(((Reverse(info.joined), *num), room));
            }
            seen += nums.len();
            match nums.last() {
                Some(last) if nums.len() == SCAN => after = *last,
                _ => break,
            }
        }
        Ok(out)
    }

    /// Whether a room's name, topic or main alias has a text in it, in whatever case.
    async fn mentions(&self, room: &Room, term: &str) -> Result<bool, ApiError> {
        let described = self.describe(room).await?;
        let alias = described.canonical_alias.map(|alias| alias.to_string());
        Ok([described.name, described.topic, alias]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(term)))
    }

    async fn describe(&self, room: &Room) -> Result<PublicRoomsChunk, ApiError> {
        let entries = [
            ("m.room.name", ""),
            ("m.room.topic", ""),
            ("m.room.canonical_alias", ""),
            ("m.room.avatar", ""),
            ("m.room.guest_access", ""),
        ];
        let rows = self.engine.current_entries(room.num, &entries).await?;
        let text = |index: usize, field: &str| rows.get(index)?.as_ref().and_then(|row| text_of(row, field));
        let info = room.info();
        let mut out = PublicRoomsChunk::from(PublicRoomsChunkInit {
            num_joined_members: UInt::new_saturating(info.joined),
            room_id: room.id.clone(),
            world_readable: info.visibility == Visibility::WorldReadable,
            guest_can_join: text(4, "guest_access").as_deref() == Some("can_join"),
        });
        out.name = text(0, "name");
        out.topic = text(1, "topic");
        out.canonical_alias = text(2, "alias").and_then(|alias| OwnedRoomAliasId::try_from(alias).ok());
        out.avatar_url = text(3, "url").map(OwnedMxcUri::from);
        let rule = info.auth.as_ref().and_then(|auth| auth.join_rule().ok().cloned());
        out.join_rule = rule.unwrap_or(JoinRuleKind::Invite);
        out.room_type = info.room_type.as_deref().map(Into::into);
        Ok(out)
    }
}

/// A field of an event's content that is a text and not empty.
fn text_of(row: &EventRow, field: &str) -> Option<String> {
    let content: Map<String, Value> = serde_json::from_str(row.content()).ok()?;
    let text = content.get(field)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_and_strangers_are_refused() {
        let place = (Reverse(7), 3);
        assert_eq!(Since::decode(&Since::encode('n', place)), Some(Since::After(place)));
        assert_eq!(Since::decode(&Since::encode('p', place)), Some(Since::Before(place)));
        for bad in ["", "n", "n7", "n7_", "x7_3", "n-7_3", "é7_3"] {
            assert_eq!(Since::decode(bad), None, "{bad}");
        }
    }
}
