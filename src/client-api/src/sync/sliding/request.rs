//! What a client asks for.

use std::collections::BTreeMap;

use http_kit::MatrixError;
use ruma::presence::PresenceState;
use serde::Deserialize;

/// Lists in a request, at most.
const LISTS: usize = 20;
/// Ranges of a list, at most.
const RANGES: usize = 20;
/// Rooms that are asked for by their ids, at most.
const SUBSCRIPTIONS: usize = 1000;
/// Entries of a list of state, at most.
const REQUIRED: usize = 200;
/// Events of a room's timeline, at most.
const TIMELINE: usize = 100;
/// The longest name of a connection, in bytes.
const NAME: usize = 255;

/// The arguments of the path.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Arguments {
    /// Where to go on.
    pub(super) pos: Option<String>,
    /// How long to wait for news, in milliseconds.
    #[serde(default)]
    pub(super) timeout: u64,
    #[serde(default)]
    pub(super) set_presence: PresenceState,
}

/// The body.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Body {
    /// Tells the connections of a device apart.
    pub(super) conn_id: String,
    pub(super) txn_id: Option<String>,
    pub(super) lists: BTreeMap<String, List>,
    pub(super) room_subscriptions: BTreeMap<String, Details>,
    pub(super) extensions: Extensions,
}

/// A list of rooms, the one in which something happened last first.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct List {
    /// The places that are shown, first and last.
    #[serde(default)]
    pub(super) ranges: Vec<(usize, usize)>,
    #[serde(flatten)]
    pub(super) details: Details,
    #[serde(default)]
    pub(super) filters: Filters,
}

/// What is shown of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    /// Types and state keys; see [`super::required::Required`].
    pub(super) required_state: Vec<(String, String)>,
    pub(super) timeline_limit: usize,
}

/// Which rooms are in a list: those for which all that is said holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filters {
    pub(super) is_dm: Option<bool>,
    pub(super) is_encrypted: Option<bool>,
    pub(super) is_invite: Option<bool>,
    /// `null` stands for rooms without a type.
    pub(super) room_types: Option<Vec<Option<String>>>,
    pub(super) not_room_types: Vec<Option<String>>,
}

/// What is asked for besides rooms.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Extensions {
    pub(super) to_device: ToDevice,
    pub(super) e2ee: Switch,
    pub(super) account_data: Extension,
    pub(super) receipts: Extension,
    pub(super) typing: Extension,
    #[serde(rename = "io.element.msc4308.thread_subscriptions")]
    pub(super) threads: Threads,
}

/// Changes of subscriptions to threads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Threads {
    pub(super) enabled: bool,
    /// How many at once.
    pub(super) limit: Option<usize>,
}

/// Messages to the device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ToDevice {
    pub(super) enabled: bool,
    /// How many at once.
    pub(super) limit: Option<usize>,
    /// What the client has: the `next_batch` that came with it.
    pub(super) since: Option<String>,
}

/// An extension without choices.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Switch {
    pub(super) enabled: bool,
}

/// An extension that speaks of rooms: by default of all that the response could speak of.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Extension {
    pub(super) enabled: bool,
    /// Rooms of these lists, `*` for all.
    pub(super) lists: Option<Vec<String>>,
    /// These rooms that are asked for by id, `*` for all.
    pub(super) rooms: Option<Vec<String>>,
}

impl Body {
    /// # Errors
    /// 400 `M_INVALID_PARAM` for what is asked for beyond all bounds.
    pub(super) fn check(&mut self) -> Result<(), MatrixError> {
        let too_much = |field: &str, most: usize| MatrixError::invalid_param(field, format!("more than {most}"));
        if self.conn_id.len() > NAME {
            return Err(too_much("conn_id", NAME));
        }
        if self.lists.len() > LISTS {
            return Err(too_much("lists", LISTS));
        }
        if self.room_subscriptions.len() > SUBSCRIPTIONS {
            return Err(too_much("room_subscriptions", SUBSCRIPTIONS));
        }
        if self.lists.values().any(|list| list.ranges.len() > RANGES) {
            return Err(too_much("ranges", RANGES));
        }
        if self.lists.values().flat_map(|list| &list.ranges).any(|(first, last)| first > last) {
            return Err(MatrixError::invalid_param("ranges", "a range ends before it begins"));
        }
        let details = self.lists.values_mut().map(|list| &mut list.details).chain(self.room_subscriptions.values_mut());
        for details in details {
            if details.required_state.len() > REQUIRED {
                return Err(too_much("required_state", REQUIRED));
            }
            details.timeline_limit = details.timeline_limit.min(TIMELINE);
        }
        Ok(())
    }
}
