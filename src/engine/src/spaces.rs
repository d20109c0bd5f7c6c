//! Rooms in spaces. [Spaces](https://spec.matrix.org/v1.19/client-server-api/#spaces).

use ruma::{OwnedRoomId, OwnedServerName, RoomId};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{engine::Engine, error::EngineError, room::Room, row::EventRow, summary::RoomSummary, tables::EventNum};

/// Rooms of one space, at most; those that come first.
const MAX_CHILDREN: usize = 1000;
/// Servers to ask about a child, at most.
const MAX_VIA: usize = 10;
/// The longest `order` that counts, in bytes.
const MAX_ORDER: usize = 50;

/// An `m.space.child` event, stripped but for when it was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SpaceChild {
    /// `m.space.child`
    #[serde(rename = "type")]
    pub kind: String,
    /// The child's room id.
    pub state_key: String,
    /// The content, untouched.
    pub content: Box<RawValue>,
    /// Who sent it.
    pub sender: String,
    /// When, in Unix milliseconds, by the sender's server's clock.
    pub origin_server_ts: u64,
}

/// What of a child's content decides where it stands.
#[derive(Deserialize)]
struct ChildContent {
    #[serde(default)]
    via: Vec<serde_json::Value>,
    #[serde(default)]
    order: serde_json::Value,
    #[serde(default)]
    suggested: serde_json::Value,
}

impl SpaceChild {
    /// The child, where the event still says that there is one, and the servers to ask about it.
    pub fn child(&self) -> Option<(OwnedRoomId, Vec<OwnedServerName>)> {
        let room_id = <&RoomId>::try_from(self.state_key.as_str()).ok()?;
        let content: ChildContent = serde_json::from_str(self.content.get()).ok()?;
        let via: Vec<OwnedServerName> = content
            .via
            .into_iter()
            .take(MAX_VIA)
            .filter_map(|name| OwnedServerName::try_from(name.as_str()?).ok())
            .collect();
        (!via.is_empty()).then(|| (room_id.to_owned(), via))
    }

    /// Whether the space recommends the child.
    pub fn suggested(&self) -> bool {
        serde_json::from_str::<ChildContent>(self.content.get())
            .is_ok_and(|content| content.suggested == serde_json::Value::Bool(true))
    }

    /// [Ordering of children](https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space): those with an
    /// order first, then by age.
    fn place(&self) -> (bool, String, u64, String) {
        let order = serde_json::from_str::<ChildContent>(self.content.get()).ok();
        let order = order.and_then(|content| content.order.as_str().map(str::to_owned));
        let valid = |order: &String| order.len() <= MAX_ORDER && order.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let order = order.filter(valid);
        (order.is_none(), order.unwrap_or_default(), self.origin_server_ts, self.state_key.clone())
    }
}

/// A room as it is shown in a space: its summary and, where it is a space itself, the rooms in it.
#[derive(Debug, Clone, Serialize)]
pub struct SpaceRoom {
    /// The summary.
    #[serde(flatten)]
    pub summary: RoomSummary,
    /// Its children, in order.
    pub children_state: Vec<SpaceChild>,
}

impl<'de> Deserialize<'de> for SpaceRoom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Children {
            #[serde(default, deserialize_with = "readable")]
            children_state: Vec<SpaceChild>,
        }
        let bad = serde::de::Error::custom::<serde_json::Error>;
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let summary = serde_json::from_str(json.get()).map_err(bad)?;
        let Children { children_state } = serde_json::from_str(json.get()).map_err(bad)?;
        Ok(Self { summary, children_state })
    }
}

/// Those of a list that can be read, up to the bound: one that cannot does not cost the others.
fn readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let items = Vec::<Box<RawValue>>::deserialize(deserializer)?;
    Ok(items.iter().take(MAX_CHILDREN).filter_map(|item| serde_json::from_str(item.get()).ok()).collect())
}

/// A space and what a server tells of the rooms in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SpaceView {
    /// The space.
    pub room: SpaceRoom,
    /// Those of its rooms that the server knows and the asking one may know.
    #[serde(default, deserialize_with = "readable")]
    pub children: Vec<RoomSummary>,
    /// Those that the asking server may not know.
    #[serde(default, deserialize_with = "readable")]
    pub inaccessible_children: Vec<OwnedRoomId>,
}

impl Engine {
    /// A room with its children; only with those that it suggests, where wanted.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn space_room(&self, room: &Room, suggested_only: bool) -> Result<SpaceRoom, EngineError> {
        let summary = self.summary(room).await?;
        let mut children_state = Vec::new();
        // What other rooms say of children means nothing.
        if summary.is_space() {
            let entries = self.current_of_type(room.num, "m.space.child").await?;
            let nums: Vec<EventNum> = entries.into_iter().map(|(_, num)| num).collect();
            let rows = self.events(room.num, &nums).await?;
            children_state = rows.iter().filter_map(|(_, row)| space_child(row)).collect();
            children_state.retain(|child| child.child().is_some() && (!suggested_only || child.suggested()));
            children_state.sort_by_cached_key(SpaceChild::place);
            children_state.truncate(MAX_CHILDREN);
        }
        Ok(SpaceRoom { summary, children_state })
    }
}

fn space_child(row: &EventRow) -> Option<SpaceChild> {
    Some(SpaceChild {
        kind: row.event_type().into_owned(),
        state_key: row.state_key()?.into_owned(),
        content: RawValue::from_string(row.content().to_owned()).ok()?,
        sender: row.sender().to_owned(),
        origin_server_ts: row.origin_server_ts(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(room: &str, ts: u64, content: serde_json::Value) -> SpaceChild {
        let json = serde_json::json!({
            "type": "m.space.child", "state_key": room, "sender": "@a:hs", "origin_server_ts": ts, "content": content,
        });
        serde_json::from_str(&json.to_string()).unwrap()
    }

    #[test]
    fn children_stand_by_order_then_age_then_id() {
        let via = serde_json::json!(["hs"]);
        let mut children = [
            child("!d:hs", 9, serde_json::json!({"via": via})),
            child("!c:hs", 7, serde_json::json!({"via": via, "order": "\u{7f}"})),
            child("!b:hs", 7, serde_json::json!({"via": via, "order": 3})),
            child("!z:hs", 99, serde_json::json!({"via": via, "order": "a"})),
            child("!y:hs", 99, serde_json::json!({"via": via, "order": " "})),
        ];
        children.sort_by_cached_key(SpaceChild::place);
        let order: Vec<&str> = children.iter().map(|child| child.state_key.as_str()).collect();
        assert_eq!(order, ["!y:hs", "!z:hs", "!b:hs", "!c:hs", "!d:hs"]);
    }

    #[test]
    fn a_child_without_a_server_to_ask_is_none() {
        for content in [
            serde_json::json!({}),
            serde_json::json!({"via": []}),
            serde_json::json!({"via": "hs"}),
            serde_json::json!({"via": [3, "not a name"]}),
        ] {
            assert!(child("!a:hs", 1, content).child().is_none());
        }
        let (room, via) = child("!a:hs", 1, serde_json::json!({"via": [3, "hs"]})).child().unwrap();
        assert_eq!((room.as_str(), via.len()), ("!a:hs", 1));
        assert!(child("no room", 1, serde_json::json!({"via": ["hs"]})).child().is_none());
    }

    #[test]
    fn what_another_server_tells_of_a_space_is_read() {
        let json = serde_json::json!({
            "room": {
                "room_id": "!s:hs", "num_joined_members": 3, "world_readable": false, "guest_can_join": false,
                "room_type": "m.space", "name": null,
                "children_state": [7, {"type": "m.space.child", "state_key": "!c:hs", "sender": "@a:hs",
                    "origin_server_ts": 5, "content": "CONTENT"}],
            },
            "children": ["odd", {"room_id": "!c:hs", "num_joined_members": 1, "join_rule": "odd"}],
        });
        let json = json.to_string().replace("\"CONTENT\"", r#"{"via":["hs"],"n":1.0}"#);
        let view: SpaceView = serde_json::from_str(&json).unwrap();
        assert!(view.room.summary.is_space() && view.room.summary.open_to_all());
        assert_eq!(view.room.children_state.len(), 1);
        assert_eq!(view.children[0].join_rule, "odd");
        let back = serde_json::to_string(&view).unwrap();
        assert!(back.contains(r#""content":{"via":["hs"],"n":1.0}"#), "{back}");
    }
}
