//! Names and avatars are copied into membership events: a change of profile is a new event in every room.
//! [Events on change of profile information](https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information).

use engine::{EngineError, Membership, Names, NewEvent, RoomNum};
use futures::{StreamExt as _, TryStreamExt as _};
use http_kit::Requester;
use ruma::events::TimelineEventType;
use serde_json::{Map, Value};

use crate::{ApiError, App};

/// Rooms written to at the same time, so that they share the store's syncs.
const AT_ONCE: usize = 32;

impl App {
    /// Brings the user's membership events in all rooms up to the profile, where a field that is copied there changed.
    ///
    /// # Errors
    /// Those of the store. What was reached stays changed; setting the field again reaches the rest.
    pub(super) async fn propagate_profile(&self, requester: &Requester, key: &str) -> Result<(), ApiError> {
        self.seen_active(requester.user).await?;
        if !matches!(key, "displayname" | "avatar_url") {
            return Ok(());
        }
        let rooms = self.engine.user_rooms().of(requester.user).await?;
        let joined = rooms.iter().filter(|(_, place)| place.membership == Membership::Join);
        let joined: Vec<RoomNum> = joined.map(|(room, _)| *room).collect();
        futures::stream::iter(joined)
            .map(|room| self.update_member(requester, room))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    async fn update_member(&self, requester: &Requester, room: RoomNum) -> Result<(), ApiError> {
        let room = self.engine.room_by_num(room).await?;
        let mut writer = self.engine.write(&room).await?;
        let user_id = &requester.user_id;
        let Some(pdu) = writer.state("m.room.member", user_id.as_str()).await? else { return Ok(()) };
        let Ok(old) = serde_json::from_str::<Map<String, Value>>(pdu.content.get()) else { return Ok(()) };
        if old.get("membership").and_then(Value::as_str) != Some("join") {
            return Ok(());
        }
        // Read under the room's lock: of two changes at the same time the last to write has seen both.
        let (display_name, avatar_url) = self.users.profiles.names(requester.user).await?;
        let mut content = old.clone();
        content.remove("displayname");
        content.remove("avatar_url");
        // It vouched for the first join alone.
        content.remove("join_authorised_via_users_server");
        Names { display_name, avatar_url }.add_to(&mut content);
        if content.get("displayname") == old.get("displayname") && content.get("avatar_url") == old.get("avatar_url") {
            return Ok(());
        }
        let content = Value::Object(content).to_string();
        let event = NewEvent {
            sender: user_id,
            sender_num: requester.user,
            event_type: TimelineEventType::RoomMember,
            state_key: Some(user_id.as_str()),
            content: &content,
            redacts: None,
            origin_server_ts: None,
            device: None,
            txn_id: None,
        };
        match writer.append(event).await {
            // One room's rules do not keep a name from the others.
            Err(EngineError::Forbidden(_) | EngineError::TooLarge(_)) => return Ok(()),
            other => other?,
        };
        match writer.commit().await {
            // Nor does its policy server.
            Err(EngineError::Policy(_)) => Ok(()),
            other => Ok(other?),
        }
    }
}
