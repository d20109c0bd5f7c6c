//! The end of an invitation to a room that is not here, or of a knock on one, of which no other server can be told.

use std::collections::HashMap;

use ::room::{
    build::{EventDraft, LegacyIds, MAX_DEPTH, sign},
    check,
};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, MilliSecondsSinceUnixEpoch, RoomId, UInt, UserId,
    events::TimelineEventType,
};
use store::IdKind;

use crate::{
    engine::Engine,
    error::EngineError,
    outside::{Change, OutsideRow},
    tables::UserNum,
    user_rooms::Membership,
};

impl Engine {
    /// Ends an invitation to a room that is not here, or a knock on it, for this server alone: the other one cannot be reached. Whether
    /// there was one.
    ///
    /// # Errors
    /// [`EngineError::Conflict`], and those of the store.
    pub async fn withdraw_outside(&self, room_id: &RoomId, user_id: &UserId) -> Result<bool, EngineError> {
        let user = self.user_num(user_id).await?;
        let Some(num) = self.ids.find(IdKind::Room, room_id.as_str()).await? else { return Ok(false) };
        let place = self.user_rooms().get(user, num).await?;
        if !place.is_some_and(|place| matches!(place.membership, Membership::Invite | Membership::Knock)) {
            return Ok(false);
        }
        let event = match self.outside(user, num).await? {
            Some(asked) => Some(self.leave_after(&asked, room_id, (user, user_id))?),
            None => None,
        };
        let change = Change { membership: Membership::Leave, event, invite_state: None };
        self.change_outside(room_id, user, change).await
    }

    /// The user's leave, behind the event that invited them: their clients are shown it, and no other server gets it.
    fn leave_after(
        &self,
        asked: &OutsideRow,
        room_id: &RoomId,
        (user, user_id): (UserNum, &UserId),
    ) -> Result<OutsideRow, EngineError> {
        let broken = EngineError::Inconsistent;
        let rules = Self::rules(&asked.version)?;
        let object: CanonicalJsonObject =
            serde_json::from_str(&asked.event).map_err(|error| broken(error.to_string()))?;
        let (asked_id, hash) = check::event_id(&object, &rules).map_err(|error| broken(error.to_string()))?;
        let depth = object.get("depth").and_then(CanonicalJsonValue::as_integer).map_or(0, i64::from);
        let server = &self.identity.server_name;
        let event_id = EventId::parse(format!("${}x{user}:{server}", self.unique_now()));
        let event_id = event_id.map_err(|error| broken(error.to_string()))?;
        let follows = [asked_id.clone()];
        let draft = EventDraft {
            room_id: Some(room_id),
            sender: user_id,
            event_type: &TimelineEventType::RoomMember,
            state_key: Some(user_id.as_str()),
            content: r#"{"membership":"leave"}"#,
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.now())),
            depth: u64::try_from(depth).unwrap_or_default().saturating_add(1).min(MAX_DEPTH),
            prev_events: &follows,
            auth_events: &follows,
            redacts: None,
            legacy: Some(LegacyIds { event_id: &event_id, hashes: &HashMap::from([(asked_id, hash)]) }),
        };
        let signed = sign(&draft, &rules, server, &self.identity.key).map_err(|error| broken(error.to_string()))?;
        Ok(OutsideRow {
            version: asked.version.clone(),
            event_id: signed.pdu.event_id.to_string(),
            sender: user_id.to_string(),
            event: signed.json,
        })
    }
}
