//! What every sender has in common.

use engine::Room;
use http_kit::MatrixError;
use ruma::{
    RoomAliasId, UserId,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde::Deserialize;

use crate::{ApiError, App};

/// Aliases of other servers that one event may add: each is asked for there.
const ALIASES_ELSEWHERE: usize = 5;

impl App {
    /// Somebody sent something: they are there. Whether they still type, perhaps on another device, is for their clients to say.
    pub(crate) fn after_sending(&self, user: u64) {
        if self.config.presence {
            self.users.presence.active(user);
        }
    }

    /// Somebody does not type in a room any more.
    pub(crate) fn stopped_typing(&self, room: &Room, user: u64) {
        if self.engine.typing.set(room.num, user, 0) {
            self.wake_room(room);
        }
    }

    /// Wakes the long polls of a room's members here, for what is not a commit.
    pub(crate) fn wake_room(&self, room: &Room) {
        let notifier = self.engine.db.notifier();
        for user in room.info().local_members.iter() {
            notifier.wake(*user);
        }
    }

    /// What the specification wants of state events beyond the rules of the room.
    pub(crate) async fn check_state_event(
        &self,
        room: &Room,
        sender: &UserId,
        (event_type, state_key): (&TimelineEventType, &str),
        content: &str,
    ) -> Result<(), ApiError> {
        match event_type {
            TimelineEventType::RoomCreate => Err(MatrixError::bad_state("A room is created once").into()),
            TimelineEventType::RoomPowerLevels if state_key.is_empty() => check_levels(room, content),
            TimelineEventType::RoomMember => self.check_invitation(state_key, content, sender).await,
            TimelineEventType::RoomCanonicalAlias if state_key.is_empty() => self.check_aliases(room, content).await,
            _ => Ok(()),
        }
    }

    /// Whether who is invited by the content of a membership, if anybody is, can be.
    ///
    /// # Errors
    /// 403 `M_INVITE_BLOCKED`, and 404 `M_NOT_FOUND`.
    pub(crate) async fn check_invitation(
        &self,
        state_key: &str,
        content: &str,
        sender: &UserId,
    ) -> Result<(), ApiError> {
        match <&UserId>::try_from(state_key) {
            Ok(user_id) if invites(content) => self.may_be_invited(user_id, sender).await,
            _ => Ok(()),
        }
    }

    /// The user of another server whom an event invites: their server has to sign it.
    pub(crate) fn invited_elsewhere<'a>(
        &self,
        event_type: &TimelineEventType,
        state_key: &'a str,
        content: &str,
    ) -> Option<&'a UserId> {
        let user_id = <&UserId>::try_from(state_key).ok()?;
        let is_invitation = *event_type == TimelineEventType::RoomMember && invites(content);
        (is_invitation && !self.engine.is_local(user_id)).then_some(user_id)
    }

    /// New aliases exist and point here.
    async fn check_aliases(&self, room: &Room, content: &str) -> Result<(), ApiError> {
        #[derive(Default, Deserialize)]
        struct Content {
            #[serde(default)]
            alias: Option<String>,
            #[serde(default)]
            alt_aliases: Vec<String>,
        }
        let parse = |text: &str| serde_json::from_str::<Content>(text);
        let new = parse(content).map_err(|error| MatrixError::invalid_param("alias", error))?;
        let old = match self.engine.current_event(room.num, "m.room.canonical_alias", "").await? {
            Some(row) => parse(row.content()).unwrap_or_default(),
            None => Content::default(),
        };
        let known = |alias: &String| old.alias.as_ref() == Some(alias) || old.alt_aliases.contains(alias);
        let mut elsewhere = 0;
        for alias in new.alias.iter().chain(&new.alt_aliases).filter(|alias| !alias.is_empty() && !known(alias)) {
            let Ok(id) = RoomAliasId::parse(alias) else {
                return Err(MatrixError::invalid_param("alias", format!("{alias} is not a room alias")).into());
            };
            elsewhere += usize::from(id.server_name() != self.engine.identity.server_name);
            if elsewhere > ALIASES_ELSEWHERE {
                return Err(MatrixError::bad_alias("too many new aliases of other servers at once").into());
            }
            if !self.points_at(&id, room).await? {
                return Err(MatrixError::bad_alias(format!("{alias} does not point at this room")).into());
            }
        }
        Ok(())
    }

    /// Whether an alias, of this server or another, leads to a room. One whose server gives no answer does not.
    async fn points_at(&self, alias: &RoomAliasId, room: &Room) -> Result<bool, ApiError> {
        if alias.server_name() == self.engine.identity.server_name {
            let row = self.engine.alias(alias.as_str()).await?;
            return Ok(row.is_some_and(|row| row.room_id == room.id.as_str()));
        }
        Ok(self.resolve_alias(alias).await.is_ok_and(|(found, _)| found == room.id))
    }
}

/// Whether the content of a membership is an invitation.
fn invites(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Content {
        membership: MembershipState,
    }
    serde_json::from_str::<Content>(content).is_ok_and(|content| content.membership == MembershipState::Invite)
}

/// Those who stand above all power levels are in none.
fn check_levels(room: &Room, content: &str) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(default)]
        users: serde_json::Map<String, serde_json::Value>,
    }
    let info = room.info();
    let Some(Ok(creators)) = info.auth.as_ref().map(|view| view.creators()) else { return Ok(()) };
    if !room.rules.authorization.explicitly_privilege_room_creators {
        return Ok(());
    }
    let listed = serde_json::from_str::<Content>(content)
        .is_ok_and(|content| creators.iter().any(|creator| content.users.contains_key(creator.as_str())));
    if listed {
        return Err(MatrixError::bad_json("users: creators of the room have all power and no level").into());
    }
    Ok(())
}
