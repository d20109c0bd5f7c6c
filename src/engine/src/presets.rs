//! The first events of a room, in the order that the specification wants.
//! [createRoom](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom).

use ruma::{OwnedUserId, RoomVersionId, UserId};
use serde_json::{Map, Value, json};

use crate::{create::FirstEvent, engine::Engine, error::EngineError};

/// A bundle of settings that a creator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Who is invited may come.
    Private,
    /// The same, and those invited have the creator's power.
    TrustedPrivate,
    /// Anybody may come.
    Public,
}

/// What a user shows of themself in a room.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// `displayname`
    pub display_name: Option<String>,
    /// `avatar_url`
    pub avatar_url: Option<String>,
}

impl Names {
    /// Puts the names into the content of a membership event.
    pub fn add_to(&self, content: &mut Map<String, Value>) {
        if let Some(name) = &self.display_name {
            content.insert("displayname".to_owned(), name.clone().into());
        }
        if let Some(url) = &self.avatar_url {
            content.insert("avatar_url".to_owned(), url.clone().into());
        }
    }
}

/// Somebody to invite, with what is known of them.
#[derive(Debug, Clone)]
pub struct Invitee {
    /// The user.
    pub user_id: OwnedUserId,
    /// For local users.
    pub names: Names,
    /// Whether their server has to sign the invitation: then it is sent when the room is there, and is none of its first events.
    pub remote: bool,
}

/// What a creator asks for.
#[derive(Debug, Clone)]
pub struct RoomPlan<'a> {
    /// The creator.
    pub creator: &'a UserId,
    /// What the creator shows.
    pub names: Names,
    /// The room's version.
    pub version: RoomVersionId,
    /// The preset.
    pub preset: Preset,
    /// Further content of `m.room.create`.
    pub creation_content: Map<String, Value>,
    /// What takes the place of the default power levels, key by key.
    pub power_levels: Map<String, Value>,
    /// An alias for `m.room.canonical_alias`.
    pub alias: Option<String>,
    /// Further state, in order.
    pub initial_state: Vec<FirstEvent>,
    /// `m.room.name`
    pub name: Option<String>,
    /// `m.room.topic`
    pub topic: Option<String>,
    /// Who is invited.
    pub invite: Vec<Invitee>,
    /// Whether invitations say that this is a direct chat.
    pub is_direct: bool,
}

/// The create event's content and the events behind it.
#[derive(Debug, Clone)]
pub struct FirstEvents {
    /// The content of `m.room.create`.
    pub create: String,
    /// What follows.
    pub events: Vec<FirstEvent>,
}

impl RoomPlan<'_> {
    /// The room's first events.
    ///
    /// # Errors
    /// [`EngineError::UnsupportedVersion`].
    pub fn first_events(&self) -> Result<FirstEvents, EngineError> {
        let rules = Engine::rules(&self.version)?.authorization;
        let mut create = self.creation_content.clone();
        create.insert("room_version".to_owned(), self.version.as_str().into());
        if rules.use_room_create_sender {
            create.remove("creator");
        } else {
            create.insert("creator".to_owned(), self.creator.as_str().into());
        }
        if rules.additional_room_creators && self.preset == Preset::TrustedPrivate && !self.invite.is_empty() {
            let mut all: Vec<Value> = match create.get("additional_creators") {
                Some(Value::Array(given)) => given.clone(),
                _ => Vec::new(),
            };
            for invitee in &self.invite {
                let id = Value::from(invitee.user_id.as_str());
                if !all.contains(&id) && invitee.user_id != self.creator {
                    all.push(id);
                }
            }
            create.insert("additional_creators".to_owned(), all.into());
        }
        let mut events = vec![self.own_join(), self.levels(rules.explicitly_privilege_room_creators)];
        if let Some(alias) = &self.alias {
            events.push(FirstEvent::new("m.room.canonical_alias", "", json!({"alias": alias}).to_string()));
        }
        events.extend(self.preset_events());
        events.extend(self.initial_state.iter().cloned());
        if let Some(name) = &self.name {
            events.push(FirstEvent::new("m.room.name", "", json!({"name": name}).to_string()));
        }
        if let Some(topic) = &self.topic {
            let content = json!({"topic": topic, "m.topic": {"m.text": [{"body": topic}]}});
            events.push(FirstEvent::new("m.room.topic", "", content.to_string()));
        }
        let local = self.invite.iter().filter(|invitee| !invitee.remote);
        events.extend(local.map(|invitee| self.invitation(invitee)));
        Ok(FirstEvents { create: Value::Object(create).to_string(), events })
    }

    fn own_join(&self) -> FirstEvent {
        let mut content = Map::new();
        content.insert("membership".to_owned(), "join".into());
        self.names.add_to(&mut content);
        FirstEvent::new("m.room.member", self.creator.as_str(), Value::Object(content).to_string())
    }

    /// The invitation of a user.
    pub fn invitation(&self, invitee: &Invitee) -> FirstEvent {
        let mut content = Map::new();
        content.insert("membership".to_owned(), "invite".into());
        if self.is_direct {
            content.insert("is_direct".to_owned(), true.into());
        }
        invitee.names.add_to(&mut content);
        FirstEvent::new("m.room.member", invitee.user_id.as_str(), Value::Object(content).to_string())
    }

    fn levels(&self, creators_stand_above: bool) -> FirstEvent {
        let mut users = Map::new();
        if !creators_stand_above {
            users.insert(self.creator.to_string(), 100.into());
            if self.preset == Preset::TrustedPrivate {
                users.extend(self.invite.iter().map(|invitee| (invitee.user_id.to_string(), 100.into())));
            }
        }
        let mut levels = json!({
            "users": users,
            "users_default": 0,
            "events": {
                "m.room.name": 50,
                "m.room.power_levels": 100,
                "m.room.history_visibility": 100,
                "m.room.canonical_alias": 50,
                "m.room.avatar": 50,
                // In version 12 an upgrade is for the creators, who stand above all levels.
                "m.room.tombstone": if creators_stand_above { 150 } else { 100 },
                "m.room.server_acl": 100,
                "m.room.encryption": 100,
            },
            "events_default": 0,
            "state_default": 50,
            "ban": 50,
            "kick": 50,
            "redact": 50,
            "invite": if self.preset == Preset::Public { 50 } else { 0 },
            "historical": 100,
        });
        if let Value::Object(levels) = &mut levels {
            for (key, value) in &self.power_levels {
                levels.insert(key.clone(), value.clone());
            }
        }
        FirstEvent::new("m.room.power_levels", "", levels.to_string())
    }

    fn preset_events(&self) -> Vec<FirstEvent> {
        let (rule, guests) = match self.preset {
            Preset::Private | Preset::TrustedPrivate => ("invite", Some("can_join")),
            // Guests are forbidden where nothing is said of them.
            Preset::Public => ("public", None),
        };
        let mut all = vec![
            ("m.room.join_rules", json!({"join_rule": rule})),
            ("m.room.history_visibility", json!({"history_visibility": "shared"})),
        ];
        all.extend(guests.map(|guests| ("m.room.guest_access", json!({"guest_access": guests}))));
        // The client's own state comes later and may set the same: then this event would only be noise.
        let given = |kind: &str| {
            self.initial_state.iter().any(|event| event.event_type.to_string() == kind && event.state_key.is_empty())
        };
        all.into_iter()
            .filter(|(kind, _)| !given(kind))
            .map(|(kind, content)| FirstEvent::new(kind, "", content.to_string()))
            .collect()
    }
}
