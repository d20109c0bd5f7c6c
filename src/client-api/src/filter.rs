//! Filters on stored events, by their headers and strings alone.
//! [Filtering](https://spec.matrix.org/v1.19/client-server-api/#filtering).

use std::collections::HashSet;

use engine::EventRow;
use http_kit::MatrixError;
use ruma::{
    OwnedUserId, RoomId,
    api::client::filter::{RoomEventFilter, UrlFilter},
};
use serde::Deserialize;

/// What a filter of events says of their relations. [MSC3874](https://github.com/matrix-org/matrix-spec-proposals/pull/3874), which ruma does
/// not know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Relations {
    #[serde(rename = "org.matrix.msc3874.rel_types")]
    rel_types: Option<Vec<String>>,
    #[serde(rename = "org.matrix.msc3874.not_rel_types", default)]
    not_rel_types: Vec<String>,
}

impl Relations {
    /// From the JSON of a filter of events; that of `/messages`.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM`.
    pub fn of_events(filter: Option<&str>) -> Result<Self, MatrixError> {
        let parse = |text| serde_json::from_str(text).map_err(|error| MatrixError::invalid_param("filter", error));
        Ok(filter.map(parse).transpose()?.unwrap_or_default())
    }

    /// From the JSON of a filter of `/sync`: what it says of timelines.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM`.
    pub fn of_timelines(filter: &str) -> Result<Self, MatrixError> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Filter {
            room: Room,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Room {
            timeline: Relations,
        }
        let filter: Filter =
            serde_json::from_str(filter).map_err(|error| MatrixError::invalid_param("filter", error))?;
        Ok(filter.room.timeline)
    }

    /// Entries of the longer of its lists.
    pub fn longest(&self) -> usize {
        self.rel_types.as_ref().map_or(0, Vec::len).max(self.not_rel_types.len())
    }

    fn pass(&self, row: &EventRow) -> bool {
        let kind = row.relation().map(|(kind, _)| kind);
        let is = |wanted: &String| kind == Some(wanted);
        !self.not_rel_types.iter().any(is) && self.rel_types.as_ref().is_none_or(|kinds| kinds.iter().any(is))
    }
}

/// A filter made ready for many events.
#[derive(Debug, Clone, Default)]
pub struct RowFilter {
    relations: Relations,
    types: Option<Vec<String>>,
    not_types: Vec<String>,
    senders: Option<Vec<String>>,
    not_senders: Vec<String>,
    rooms: Option<Vec<String>>,
    not_rooms: Vec<String>,
    url: Option<bool>,
}

/// Whether a type matches a pattern, in which `*` stands for anything.
pub fn type_matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        match left.find(part) {
            Some(at) => left = left.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

impl RowFilter {
    /// From a filter of a client.
    pub fn new(filter: &RoomEventFilter) -> Self {
        let texts = |ids: &Vec<ruma::OwnedUserId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rooms = |ids: &Vec<ruma::OwnedRoomId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        Self {
            relations: Relations::default(),
            types: filter.types.clone(),
            not_types: filter.not_types.clone(),
            senders: filter.senders.as_ref().map(texts),
            not_senders: texts(&filter.not_senders),
            rooms: filter.rooms.as_ref().map(rooms),
            not_rooms: rooms(&filter.not_rooms),
            url: match filter.url_filter {
                Some(UrlFilter::EventsWithUrl) => Some(true),
                Some(UrlFilter::EventsWithoutUrl) => Some(false),
                None => None,
            },
        }
    }

    /// The same filter, of relations too.
    #[must_use]
    pub fn with_relations(self, relations: Relations) -> Self {
        Self { relations, ..self }
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        self.relations == Relations::default()
            && self.types.is_none()
            && self.not_types.is_empty()
            && self.senders.is_none()
            && self.not_senders.is_empty()
            && self.rooms.is_none()
            && self.not_rooms.is_empty()
            && self.url.is_none()
    }

    /// Whether events of a room pass at all.
    pub fn room(&self, room_id: &RoomId) -> bool {
        let is = |id: &String| id == room_id.as_str();
        !self.not_rooms.iter().any(is) && self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(is))
    }

    /// Whether something with this type and sender passes.
    pub fn passes(&self, event_type: &str, sender: &str) -> bool {
        let of_type = |pattern: &String| type_matches(pattern, event_type);
        let by = |id: &String| id == sender;
        !self.not_types.iter().any(of_type)
            && self.types.as_ref().is_none_or(|types| types.iter().any(of_type))
            && !self.not_senders.iter().any(by)
            && self.senders.as_ref().is_none_or(|senders| senders.iter().any(by))
    }

    /// Whether an event passes (its room aside).
    pub fn row(&self, row: &EventRow) -> bool {
        if self.is_empty() {
            return true;
        }
        self.passes(&row.event_type(), row.sender())
            && self.relations.pass(row)
            && self.url.is_none_or(|wanted| {
                #[derive(Deserialize)]
                struct Content {
                    url: Option<serde::de::IgnoredAny>,
                }
                let has = serde_json::from_str::<Content>(row.content()).is_ok_and(|content| content.url.is_some());
                has == wanted
            })
    }
}

/// Whether an event is not shown because of who sent it. State is shown whoever set it.
/// [Ignoring users](https://spec.matrix.org/v1.19/client-server-api/#ignoring-users).
pub fn is_ignored(ignored: &HashSet<OwnedUserId>, row: &EventRow) -> bool {
    !ignored.is_empty() && !row.is_state() && ignored.iter().any(|id| id.as_str() == row.sender())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, wanted) in [
            ("m.room.message", "m.room.message", true),
            ("m.room.*", "m.room.message", true),
            ("*", "", true),
            ("m.*.member", "m.room.member", true),
            ("m.*.member", "m.room.members", false),
            ("m.room.*", "m.reaction", false),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xbxxa", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(type_matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
