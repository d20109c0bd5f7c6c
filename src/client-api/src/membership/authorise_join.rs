//! Joining rooms with conditions. [Restricted rooms](https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms).

use engine::{Membership, Room};
use http::StatusCode;
use http_kit::{MatrixError, Requester};
use room::fast::RoomAuthView;
use ruma::{
    OwnedUserId, RoomId, UserId, events::room::power_levels::UserPowerLevel, room::JoinRuleKind,
    state_res::events::RoomPowerLevelsIntField,
};
use serde::Deserialize;
use store::IdKind;

use super::change::refused;
use crate::{ApiError, App};

/// Conditions looked at, at most.
const CONDITIONS: usize = 100;
/// Members looked at to find one who may invite, at most.
const VOUCHERS: usize = 1000;

impl App {
    /// Who vouches for a join: nobody where none is needed.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN` where the user meets no condition, 400 `M_UNABLE_TO_GRANT_JOIN` where nobody here may vouch.
    pub(super) async fn authorise_join(
        &self,
        room: &Room,
        requester: &Requester,
        membership: Option<Membership>,
    ) -> Result<Option<OwnedUserId>, ApiError> {
        let Some(view) = room.info().auth.clone() else { return Ok(None) };
        let rules = &room.rules.authorization;
        let conditional = match view.join_rule() {
            Ok(JoinRuleKind::Restricted) => rules.restricted_join_rule,
            Ok(JoinRuleKind::KnockRestricted) => rules.knock_restricted_join_rule,
            _ => false,
        };
        let needs_none = matches!(membership, Some(Membership::Join | Membership::Invite | Membership::Ban));
        if !conditional || needs_none {
            return Ok(None);
        }
        if !self.meets_a_condition(room, requester.user).await? {
            return Err(refused("You are in none of the rooms whose members may join this one"));
        }
        match self.voucher(room, &view).await? {
            Some(user_id) => Ok(Some(user_id)),
            None => Err(MatrixError::new(
                StatusCode::BAD_REQUEST,
                "M_UNABLE_TO_GRANT_JOIN",
                "Nobody on this server who is in the room may invite others",
            )
            .into()),
        }
    }

    /// Whether the user is in one of the rooms that the join rules name.
    pub(crate) async fn meets_a_condition(&self, room: &Room, user: u64) -> Result<bool, ApiError> {
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
        let Some(row) = self.engine.current_event(room.num, "m.room.join_rules", "").await? else { return Ok(false) };
        let Ok(rules) = serde_json::from_str::<JoinRules>(row.content()) else { return Ok(false) };
        for condition in rules.allow.into_iter().take(CONDITIONS) {
            let Ok(condition) = serde_json::from_value::<Condition>(condition) else { continue };
            let Ok(room_id) = <&RoomId>::try_from(condition.room_id.as_str()) else { continue };
            if condition.kind != "m.room_membership" {
                continue;
            }
            if let Some(num) =
                self.engine.ids.find(IdKind::Room, room_id.as_str()).await.map_err(engine::EngineError::from)?
                && let Some(place) = self.engine.user_rooms().get(user, num).await?
                && place.membership == Membership::Join
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A user of this server who is in the room and may invite.
    async fn voucher(&self, room: &Room, view: &RoomAuthView) -> Result<Option<OwnedUserId>, ApiError> {
        let Ok(needed) = view.level(RoomPowerLevelsIntField::Invite) else { return Ok(None) };
        let may_invite = |user_id: &UserId| match view.user_power_level(user_id) {
            Ok(UserPowerLevel::Int(level)) => level >= needed,
            Ok(_) => true,
            Err(_) => false,
        };
        // Those with a level of their own first: where the others may not invite, these are all that need looking at.
        for user_id in self.users_with_power(room, view).await? {
            let joined = || async { self.engine.membership(room.num, user_id.as_str()).await };
            if self.engine.is_local(&user_id) && may_invite(&user_id) && joined().await? == Some(Membership::Join) {
                return Ok(Some(user_id));
            }
        }
        if !view.level(RoomPowerLevelsIntField::UsersDefault).is_ok_and(|level| level >= needed) {
            return Ok(None);
        }
        for num in room.info().local_members.iter().take(VOUCHERS) {
            let name = self.engine.ids.name(IdKind::User, *num).await.map_err(engine::EngineError::from)?;
            if let Some(user_id) = name.and_then(|name| UserId::parse(&*name).ok()).filter(|id| may_invite(id)) {
                return Ok(Some(user_id));
            }
        }
        Ok(None)
    }

    async fn users_with_power(&self, room: &Room, view: &RoomAuthView) -> Result<Vec<OwnedUserId>, ApiError> {
        #[derive(Deserialize)]
        struct PowerLevels {
            #[serde(default)]
            users: serde_json::Map<String, serde_json::Value>,
        }
        let mut out: Vec<OwnedUserId> = view.creators().into_iter().flatten().cloned().collect();
        if let Some(row) = self.engine.current_event(room.num, "m.room.power_levels", "").await?
            && let Ok(levels) = serde_json::from_str::<PowerLevels>(row.content())
        {
            out.extend(levels.users.keys().filter_map(|id| UserId::parse(id).ok()));
        }
        Ok(out)
    }
}
