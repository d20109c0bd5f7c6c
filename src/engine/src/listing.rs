//! A page of the published rooms, those with the most members first.
//! [Published room directory](https://spec.matrix.org/v1.19/client-server-api/#published-room-directory).
//!
//! Without a filter the rooms are ordered by what is in memory of each, and only those of the page are read. A search reads
//! the name, topic and alias of all of them, of which there are [`LOOKED_AT`] at most.

use std::{cmp::Reverse, sync::Arc};

use ruma::directory::Filter;
use serde::Serialize;

use crate::{engine::Engine, error::EngineError, room::Room, summary::RoomSummary, tables::RoomNum};

/// Published rooms looked at, at most: those that this server has known for longest.
const LOOKED_AT: usize = 20_000;
/// Rooms read from the list in one go.
const SCAN: usize = 1000;
/// Rooms of a page, where nobody says how many, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;

/// Where a room stands in the list: members, then number.
type Place = (Reverse<u64>, u64);

/// Where a page begins. The list moves while somebody pages through it; a place in it stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingSince {
    /// At the first room.
    Start,
    /// Behind a place.
    After(Place),
    /// It ends before a place.
    Before(Place),
}

impl ListingSince {
    /// Reads a token; `None` where it is none of ours. An empty one stands for the start.
    pub fn decode(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Start);
        }
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
#[derive(Debug, Default, Serialize)]
pub struct Listing {
    /// The rooms. Each names its join rule: not every client knows what one that is left out stands for.
    pub chunk: Vec<RoomSummary>,
    /// The token of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// The token of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// Rooms that pass the filter.
    pub total_room_count_estimate: usize,
}

impl Engine {
    /// A page of the published rooms of this server that pass the filter: `limit` of them, within bounds.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn published_rooms(
        &self,
        filter: &Filter,
        since: ListingSince,
        limit: Option<usize>,
    ) -> Result<Listing, EngineError> {
        self.listing(self.public_list().await?, filter, since, limit).await
    }

    /// The published rooms of this server, as many as are looked at.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn public_list(&self) -> Result<Vec<RoomNum>, EngineError> {
        let mut rooms = Vec::new();
        while rooms.len() < LOOKED_AT {
            let page = self.public_rooms(rooms.last().copied().unwrap_or_default(), SCAN).await?;
            let last = page.len() < SCAN;
            rooms.extend(page);
            if last {
                break;
            }
        }
        Ok(rooms)
    }

    /// A page of some rooms that pass the filter: `limit` of them, within bounds.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn listing(
        &self,
        rooms: Vec<RoomNum>,
        filter: &Filter,
        since: ListingSince,
        limit: Option<usize>,
    ) -> Result<Listing, EngineError> {
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
        let mut rooms = self.listed(rooms, filter).await?;
        rooms.sort_unstable_by_key(|(place, _)| *place);
        let (from, to) = match since {
            ListingSince::Start => (0, limit),
            ListingSince::After(place) => {
                let from = rooms.partition_point(|(other, _)| *other <= place);
                (from, from.saturating_add(limit))
            }
            ListingSince::Before(place) => {
                let to = rooms.partition_point(|(other, _)| *other < place);
                (to.saturating_sub(limit), to)
            }
        };
        let to = to.min(rooms.len());
        let page = rooms.get(from.min(to)..to).unwrap_or_default();
        let mut chunk = Vec::with_capacity(page.len());
        for (_, room) in page {
            chunk.push(self.summary(room).await?);
        }
        let prev_batch = page.first().filter(|_| from > 0).map(|(place, _)| ListingSince::encode('p', *place));
        let next_batch = page.last().filter(|_| to < rooms.len()).map(|(place, _)| ListingSince::encode('n', *place));
        Ok(Listing { chunk, next_batch, prev_batch, total_room_count_estimate: rooms.len() })
    }

    async fn listed(&self, rooms: Vec<RoomNum>, filter: &Filter) -> Result<Vec<(Place, Arc<Room>)>, EngineError> {
        let term = filter.generic_search_term.as_deref().map(str::trim).filter(|term| !term.is_empty());
        let term = term.map(str::to_lowercase);
        let mut out = Vec::new();
        for num in rooms.into_iter().take(LOOKED_AT) {
            let room = self.room_by_num(num).await?;
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
            out.push(((Reverse(info.joined), num), room));
        }
        Ok(out)
    }

    /// Whether a room's name, topic or main alias has a text in it, in whatever case.
    async fn mentions(&self, room: &Room, term: &str) -> Result<bool, EngineError> {
        let summary = self.summary(room).await?;
        Ok([summary.name, summary.topic, summary.canonical_alias]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(term)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_and_strangers_are_refused() {
        let place = (Reverse(7), 3);
        assert_eq!(ListingSince::decode(&ListingSince::encode('n', place)), Some(ListingSince::After(place)));
        assert_eq!(ListingSince::decode(&ListingSince::encode('p', place)), Some(ListingSince::Before(place)));
        assert_eq!(ListingSince::decode(""), Some(ListingSince::Start));
        for bad in ["n", "n7", "n7_", "x7_3", "n-7_3", "é7_3"] {
            assert_eq!(ListingSince::decode(bad), None, "{bad}");
        }
    }
}
