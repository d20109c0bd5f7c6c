//! What users had set for a room holds for the one that replaces it: tags, push rules, and that it is a direct chat.

use engine::Room;
use http_kit::Requester;
use ruma::{
    OwnedRoomId, RoomId,
    push::{NewPushRule, NewSimplePushRule, RuleKind},
};
use serde::Deserialize;
use store::IdKind;

use crate::{ApiError, App};

impl App {
    /// Copies a user's settings from the room's predecessor, where there is one that the user was in. That it fails is no
    /// reason to undo what the user asked for: it is only noted.
    pub(crate) async fn carry_over(&self, room: &Room, requester: &Requester) {
        if let Err(error) = self.try_carry_over(room, requester).await {
            tracing::warn!(error = %error.0, room = %room.id, "a room's settings were not carried over to its replacement");
        }
    }

    async fn try_carry_over(&self, room: &Room, requester: &Requester) -> Result<(), ApiError> {
        let user = requester.user;
        let Some(old) = self.predecessor(room).await?.filter(|old| *old != room.id) else { return Ok(()) };
        let num = self.engine.ids.find(IdKind::Room, old.as_str()).await.map_err(engine::EngineError::from)?;
        let Some(num) = num else { return Ok(()) };
        if self.engine.user_rooms().get(user, num).await?.is_none_or(|place| place.forgotten) {
            return Ok(());
        }
        let known = self.users.account_data.tags(user, &room.id).await?;
        for (name, tag) in self.users.account_data.tags(user, &old).await? {
            if !known.contains_key(&name) {
                self.users.account_data.set_tag(user, &room.id, &name, tag).await?;
            }
        }
        self.copy_push_rule(user, &old, &room.id).await?;
        self.users.account_data.copy_direct(user, &old, &room.id).await?;
        Ok(())
    }

    /// The room that a room came to replace.
    pub(crate) async fn predecessor(&self, room: &Room) -> Result<Option<OwnedRoomId>, ApiError> {
        #[derive(Deserialize)]
        struct Create {
            predecessor: Predecessor,
        }
        #[derive(Deserialize)]
        struct Predecessor {
            room_id: OwnedRoomId,
        }
        let row = self.engine.current_event(room.num, "m.room.create", "").await?;
        let create = row.and_then(|row| serde_json::from_str::<Create>(row.content()).ok());
        Ok(create.map(|create| create.predecessor.room_id))
    }

    async fn copy_push_rule(&self, user: u64, old: &RoomId, new: &RoomId) -> Result<(), ApiError> {
        let rules = self.users.push_rules.get(user).await?;
        if rules.room.iter().any(|rule| rule.rule_id == new) {
            return Ok(());
        }
        let Some(rule) = rules.room.iter().find(|rule| rule.rule_id == old) else { return Ok(()) };
        let copy = NewPushRule::Room(NewSimplePushRule::new(new.to_owned(), rule.actions.clone()));
        self.users.push_rules.put(user, copy, None, None).await?;
        if !rule.enabled {
            self.users.push_rules.set_enabled(user, RuleKind::Room, new.as_str(), false).await?;
        }
        Ok(())
    }
}
