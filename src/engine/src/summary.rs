//! What a room looks like from outside: its summary, in the directory and in spaces, and who may see that.
//! [Room summaries](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias).

use ruma::{OwnedRoomId, RoomAliasId, RoomId, ServerName, room::JoinRuleKind};
use serde::{Deserialize, Serialize};
use store::IdKind;

use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    row::{EventRow, Visibility},
    tables::UserNum,
    user_rooms::Membership,
};

/// Conditions of restricted rooms looked at, at most.
const CONDITIONS: usize = 100;

/// A short description of a room, as servers and clients pass it around.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSummary {
    /// The room.
    pub room_id: OwnedRoomId,
    /// `m.room.name`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `m.room.topic`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// `m.room.canonical_alias`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_alias: Option<String>,
    /// `m.room.avatar`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// Joined members.
    #[serde(default)]
    pub num_joined_members: u64,
    /// Whether anybody may read it.
    #[serde(default)]
    pub world_readable: bool,
    /// Whether guests may join.
    #[serde(default)]
    pub guest_can_join: bool,
    /// `m.room.join_rules`; those who leave it out mean `public`.
    #[serde(default = "public")]
    pub join_rule: String,
    /// The type in `m.room.create`, such as `m.space`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_type: Option<String>,
    /// The algorithm in `m.room.encryption`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// The room's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_version: Option<String>,
    /// The rooms whose members may join, where the join rule is a restricted one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_room_ids: Vec<String>,
}

fn public() -> String {
    JoinRuleKind::Public.to_string()
}

impl RoomSummary {
    /// Whether the room is a space.
    pub fn is_space(&self) -> bool {
        self.room_type.as_deref() == Some("m.space")
    }

    /// Whether its rules let anybody in, ask to be let in, or read.
    pub fn open_to_all(&self) -> bool {
        self.world_readable || matches!(self.join_rule.as_str(), "public" | "knock" | "knock_restricted")
    }
}

impl Engine {
    /// The summary of a room as it is now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn summary(&self, room: &Room) -> Result<RoomSummary, EngineError> {
        let entries = [
            ("m.room.name", ""),
            ("m.room.topic", ""),
            ("m.room.canonical_alias", ""),
            ("m.room.avatar", ""),
            ("m.room.guest_access", ""),
            ("m.room.encryption", ""),
            ("m.room.join_rules", ""),
        ];
        let rows = self.current_entries(room.num, &entries).await?;
        let row = |index: usize| rows.get(index).and_then(Option::as_ref);
        let text = |index: usize, field: &str| text_of(row(index)?, field);
        let info = room.info();
        let rule = info.auth.as_ref().and_then(|auth| auth.join_rule().ok().cloned()).unwrap_or(JoinRuleKind::Invite);
        let conditional = matches!(rule, JoinRuleKind::Restricted | JoinRuleKind::KnockRestricted);
        let conditions = row(6).filter(|_| conditional).map(allowed_rooms).unwrap_or_default();
        Ok(RoomSummary {
            room_id: room.id.clone(),
            name: text(0, "name"),
            topic: text(1, "topic"),
            canonical_alias: text(2, "alias").filter(|alias| <&RoomAliasId>::try_from(alias.as_str()).is_ok()),
            avatar_url: text(3, "url"),
            num_joined_members: info.joined,
            world_readable: info.visibility == Visibility::WorldReadable,
            guest_can_join: text(4, "guest_access").as_deref() == Some("can_join"),
            join_rule: rule.to_string(),
            room_type: info.room_type.clone(),
            encryption: text(5, "algorithm"),
            room_version: Some(room.version.to_string()),
            allowed_room_ids: conditions.into_iter().map(String::from).collect(),
        })
    }

    /// Whether the room is one that this server keeps up with: somebody here is in it, or nobody is in it anywhere.
    pub fn is_current(&self, room: &Room) -> bool {
        let info = room.info();
        !info.local_members.is_empty() || info.joined == 0
    }

    /// Whether a user may know what the room looks like: who is in it or invited, could join or knock, or may read it.
    /// [Spaces](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy).
    ///
    /// # Errors
    /// Those of the store.
    pub async fn may_preview(&self, room: &Room, user: UserNum) -> Result<bool, EngineError> {
        match self.user_rooms().get(user, room.num).await?.map(|place| place.membership) {
            Some(Membership::Join | Membership::Invite) => return Ok(true),
            Some(Membership::Ban) => return Ok(room.info().visibility == Visibility::WorldReadable),
            _ => {}
        }
        if open_to_all(room) {
            return Ok(true);
        }
        for allowed in self.conditions(room).await? {
            if self.is_joined(user, &allowed).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a user is in a room now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_joined(&self, user: UserNum, room_id: &RoomId) -> Result<bool, EngineError> {
        let Some(num) = self.ids.find(IdKind::Room, room_id.as_str()).await? else { return Ok(false) };
        let place = self.user_rooms().get(user, num).await?;
        Ok(place.is_some_and(|place| place.membership == Membership::Join))
    }

    /// Whether a server may know what the room looks like: some user of it could.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn server_may_preview(&self, room: &Room, server: &ServerName) -> Result<bool, EngineError> {
        if open_to_all(room) || self.takes_part(room, server).await? {
            return Ok(true);
        }
        for allowed in self.conditions(room).await? {
            let Ok(allowed) = self.room(&allowed).await else { continue };
            if self.is_current(&allowed) && self.takes_part(&allowed, server).await? {
                return Ok(true);
            }
        }
        let of_server = |user_id: &str| user_id.split_once(':').is_some_and(|(_, name)| name == server.as_str());
        let members = self.members(room.num).await?;
        Ok(members.iter().any(|member| member.membership == Membership::Invite && of_server(&member.user_id)))
    }

    /// The rooms whose members may join this one; none where its rule is not a restricted one.
    async fn conditions(&self, room: &Room) -> Result<Vec<OwnedRoomId>, EngineError> {
        let info = room.info();
        let rules = &room.rules.authorization;
        let restricted = match info.auth.as_ref().and_then(|auth| auth.join_rule().ok()) {
            Some(JoinRuleKind::Restricted) => rules.restricted_join_rule,
            Some(JoinRuleKind::KnockRestricted) => rules.knock_restricted_join_rule,
            _ => false,
        };
        if !restricted {
            return Ok(Vec::new());
        }
        Ok(self.current_event(room.num, "m.room.join_rules", "").await?.as_ref().map(allowed_rooms).unwrap_or_default())
    }
}

/// Whether the room's rules let anybody in, ask to be let in, or read.
fn open_to_all(room: &Room) -> bool {
    let info = room.info();
    let rules = &room.rules.authorization;
    info.visibility == Visibility::WorldReadable
        || match info.auth.as_ref().and_then(|auth| auth.join_rule().ok()) {
            Some(JoinRuleKind::Public) => true,
            Some(JoinRuleKind::Knock) => rules.knocking,
            Some(JoinRuleKind::KnockRestricted) => rules.knock_restricted_join_rule,
            _ => false,
        }
}

/// The rooms that an `m.room.join_rules` event names.
fn allowed_rooms(row: &EventRow) -> Vec<OwnedRoomId> {
    #[derive(Deserialize)]
    struct JoinRules {
        #[serde(default)]
        allow: Vec<serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Condition {
        #[serde(rename = "type")]
        kind: String,
        room_id: OwnedRoomId,
    }
    let rules = serde_json::from_str::<JoinRules>(row.content()).map(|rules| rules.allow).unwrap_or_default();
    let conditions = rules.into_iter().take(CONDITIONS).filter_map(|one| serde_json::from_value::<Condition>(one).ok());
    conditions.filter(|one| one.kind == "m.room_membership").map(|one| one.room_id).collect()
}

/// A field of an event's content that is a text and not empty.
fn text_of(row: &EventRow, field: &str) -> Option<String> {
    let content: serde_json::Map<String, serde_json::Value> = serde_json::from_str(row.content()).ok()?;
    let text = content.get(field)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}
