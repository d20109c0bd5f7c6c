//! Joining rooms with conditions. [Restricted rooms](https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms).

use ::room::fast::RoomAuthView;
use ruma::{
    OwnedUserId, RoomId, UserId, events::room::power_levels::UserPowerLevel, room::JoinRuleKind,
    state_res::events::RoomPowerLevelsIntField,
};
use serde::Deserialize;
use store::IdKind;

use crate::{engine::Engine, error::EngineError, room::Room, user_rooms::Membership};

/// Conditions looked at, at most.
const CONDITIONS: usize = 100;
/// Members looked at to find one who may invite, at most.
const VOUCHERS: usize = 1000;

/// Whether a user may join a room whose join rules name conditions, as far as this server can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinPermit {
    /// Nobody has to vouch: the rules name no conditions, or the user is invited (or in the room, or banned) already.
    Unneeded,
    /// The user meets a condition, and this member, a user of this server, may vouch for them.
    VouchedBy(OwnedUserId),
    /// The user meets none of the conditions.
    Unmet,
    /// The user meets none of those conditions that this server can check: of other rooms it does not know the members.
    Unknown,
    /// The user meets a condition, but no member on this server may invite others.
    Ungranted,
}

/// Whether a user meets a condition.
enum Met {
    Yes,
    No,
    Unknown,
}

impl Engine {
    /// Whether a user may join a room where its join rules name conditions. This server has to be in the room.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn permit_join(&self, room: &Room, user_id: &UserId) -> Result<JoinPermit, EngineError> {
        let Some(view) = room.info().auth.clone() else { return Ok(JoinPermit::Unneeded) };
        let rules = &room.rules.authorization;
        let conditional = match view.join_rule() {
            Ok(JoinRuleKind::Restricted) => rules.restricted_join_rule,
            Ok(JoinRuleKind::KnockRestricted) => rules.knock_restricted_join_rule,
            _ => false,
        };
        let membership = self.membership(room.num, user_id.as_str()).await?;
        let needs_none = matches!(membership, Some(Membership::Join | Membership::Invite | Membership::Ban));
        if !conditional || needs_none {
            return Ok(JoinPermit::Unneeded);
        }
        Ok(match self.meets_a_condition(room, user_id).await? {
            Met::No => JoinPermit::Unmet,
            Met::Unknown => JoinPermit::Unknown,
            Met::Yes => match self.voucher(room, &view).await? {
                Some(user_id) => JoinPermit::VouchedBy(user_id),
                None => JoinPermit::Ungranted,
            },
        })
    }

    /// Whether the user is in one of the rooms that the join rules name.
    async fn meets_a_condition(&self, room: &Room, user_id: &UserId) -> Result<Met, EngineError> {
        #[derive(Deserialize)]
        struct JoinRules {
            #[serde(default)]
            allow: Vec<serde_json::Value>,
        }
        #[derive(Deserialize)]
        struct Condition {
            #[serde(rename = "type")]
            kind: String,
            room_id: String,
        }
        let Some(row) = self.current_event(room.num, "m.room.join_rules", "").await? else { return Ok(Met::No) };
        let Ok(rules) = serde_json::from_str::<JoinRules>(row.content()) else { return Ok(Met::No) };
        let mut met = Met::No;
        for condition in rules.allow.into_iter().take(CONDITIONS) {
            let Ok(condition) = serde_json::from_value::<Condition>(condition) else { continue };
            let Ok(room_id) = <&RoomId>::try_from(condition.room_id.as_str()) else { continue };
            if condition.kind != "m.room_membership" {
                continue;
            }
            match self.room(room_id).await {
                // Of rooms that nobody here is in, what is known may be long out of date.
                Ok(other) if !other.info().local_members.is_empty() => {
                    if self.membership(other.num, user_id.as_str()).await? == Some(Membership::Join) {
                        return Ok(Met::Yes);
                    }
                }
                Ok(_) | Err(EngineError::UnknownRoom) => met = Met::Unknown,
                Err(error) => return Err(error),
            }
        }
        Ok(met)
    }

    /// A user of this server who is in the room and may invite.
    async fn voucher(&self, room: &Room, view: &RoomAuthView) -> Result<Option<OwnedUserId>, EngineError> {
        let Ok(needed) = view.level(RoomPowerLevelsIntField::Invite) else { return Ok(None) };
        let may_invite = |user_id: &UserId| match view.user_power_level(user_id) {
            Ok(UserPowerLevel::Int(level)) => level >= needed,
            Ok(_) => true,
            Err(_) => false,
        };
        // Those with a level of their own first: where the others may not invite, these are all that need looking at.
        for user_id in self.users_with_power(room, view).await? {
            let joined = || async { self.membership(room.num, user_id.as_str()).await };
            if self.is_local(&user_id) && may_invite(&user_id) && joined().await? == Some(Membership::Join) {
                return Ok(Some(user_id));
            }
        }
        if !view.level(RoomPowerLevelsIntField::UsersDefault).is_ok_and(|level| level >= needed) {
            return Ok(None);
        }
        for num in room.info().local_members.iter().take(VOUCHERS) {
            let name = self.ids.name(IdKind::User, *num).await?;
            if let Some(user_id) = name.and_then(|name| UserId::parse(&*name).ok()).filter(|id| may_invite(id)) {
                return Ok(Some(user_id));
            }
        }
        Ok(None)
    }

    async fn users_with_power(&self, room: &Room, view: &RoomAuthView) -> Result<Vec<OwnedUserId>, EngineError> {
        #[derive(Deserialize)]
        struct PowerLevels {
            #[serde(default)]
            users: serde_json::Map<String, serde_json::Value>,
        }
        let mut out: Vec<OwnedUserId> = view.creators().into_iter().flatten().cloned().collect();
        if let Some(row) = self.current_event(room.num, "m.room.power_levels", "").await?
            && let Ok(levels) = serde_json::from_str::<PowerLevels>(row.content())
        {
            out.extend(levels.users.keys().filter_map(|id| UserId::parse(id).ok()));
        }
        Ok(out)
    }
}
