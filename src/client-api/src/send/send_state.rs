//! `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`

use std::borrow::Cow;

use axum::extract::State;
use engine::{EngineError, Membership, NewEvent, RoomWriter};
use http_kit::{Group, RawJson, Ruma};
use ruma::{
    OwnedEventId,
    api::client::state::send_state_event::v3::Request,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
};
use serde_json::{Map, Value};

use super::sent;
use crate::{
    ApiError, App,
    access::PATIENCE,
    delayed::{Later, delay_of},
};

pub(super) async fn for_key(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let delay = delay_of(&request)?;
    let Ruma { body, requester, .. } = request;
    if let Some(delay_ms) = delay {
        let later = Later {
            room_id: &body.room_id,
            event_type: body.event_type.to_string(),
            state_key: Some(body.state_key),
            content: body.body.json(),
            delay_ms,
            ts: body.timestamp.map(|ts| ts.get().into()),
            path: None,
            too_long: "M_UNKNOWN",
        };
        return app.send_later(&requester, later).await;
    }
    let membership =
        (body.event_type == StateEventType::RoomMember).then(|| membership(body.body.json().get())).flatten();
    let invites = membership.as_deref() == Some("invite");
    app.limits.check(if invites { Group::Invites } else { Group::Messages }, &requester)?;
    let (room, viewer) = app.room_of(&body.room_id, &requester).await?;
    let event_type = TimelineEventType::from(body.event_type.to_string());
    let joined = viewer.place.is_some_and(|place| place.membership == Membership::Join);
    let is_own = event_type == TimelineEventType::RoomMember && body.state_key == requester.user_id.as_str();
    if !is_own || membership.as_deref() != Some("leave") {
        requester.not_suspended()?;
    }
    let content = body.body.json().get();
    let content = &*if joined && is_own { without_voucher(content) } else { content.into() };
    app.check_state_event(&room, &requester.user_id, (&event_type, &body.state_key), content).await?;
    let event = NewEvent {
        sender: &requester.user_id,
        sender_num: requester.user,
        event_type: event_type.clone(),
        state_key: Some(&body.state_key),
        content,
        redacts: None,
        origin_server_ts: body.timestamp.filter(|_| requester.appservice.is_some()).map(|ts| ts.get().into()),
        device: requester.device_id.as_deref().map(ruma::DeviceId::as_str),
        txn_id: None,
    };
    if event.event_type == TimelineEventType::RoomMember {
        app.engine.knows_member(&room, &body.state_key, PATIENCE).await?;
    }
    let mut writer = app.engine.write(&room).await?;
    if let Some(event_id) = already_so(&mut writer, &event).await? {
        drop(writer);
        // What is already so may still wait for its sync: answer no earlier than that.
        app.engine.db.write().commit().await?;
        return Ok(sent(&event_id));
    }
    let event_id = match app.invited_elsewhere(&event_type, &body.state_key, content) {
        // Their server has to sign it, and no lock is held while it is asked.
        Some(invited) => {
            drop(writer);
            app.invite_elsewhere(&room, &requester, invited, content.to_owned()).await?
        }
        None => {
            let event_id = writer.append(event).await?.event_id;
            writer.commit().await?;
            event_id
        }
    };
    app.after_sending(requester.user);
    Ok(sent(&event_id))
}

pub(crate) fn is_invitation(content: &str) -> bool {
    membership(content).as_deref() == Some("invite")
}

/// The membership that the content of a membership event says.
fn membership(content: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Content {
        membership: String,
    }
    serde_json::from_str::<Content>(content).ok().map(|content| content.membership)
}

/// Nobody has to vouch for who is in the room already: what a client copied from another event is left out.
pub(crate) fn without_voucher(content: &str) -> Cow<'_, str> {
    const VOUCHER: &str = "join_authorised_via_users_server";
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(content) else { return content.into() };
    match fields.remove(VOUCHER) {
        Some(_) => Value::Object(fields).to_string().into(),
        None => content.into(),
    }
}

/// The event that stands, where a member sends again what they themselves sent last: a client that repeats itself adds
/// nothing to the room's history.
pub(crate) async fn already_so(
    writer: &mut RoomWriter<'_>,
    event: &NewEvent<'_>,
) -> Result<Option<OwnedEventId>, EngineError> {
    let kind = event.event_type.to_string();
    let Some(state) = writer.state(&kind, event.state_key.unwrap_or_default()).await? else { return Ok(None) };
    let same = state.sender == event.sender && same_json(state.content.get(), event.content);
    if !same || writer.membership(event.sender).await? != MembershipState::Join {
        return Ok(None);
    }
    Ok(Some(state.event_id.clone()))
}

/// Whether two texts say the same JSON, whatever the order and the spaces.
fn same_json(one: &str, other: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || parse(one).is_some_and(|value| Some(value) == parse(other))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use crate::testing::TestApp;

    #[tokio::test]
    async fn state_that_is_sent_again_is_one_event() {
        let test = TestApp::new(&["alice", "bob"]).await;
        let room = test.public_room(&["alice", "bob"]).await;
        let levels = test.state(&room, "m.room.power_levels", "").await;
        let mut open = levels.clone();
        open["state_default"] = json!(0);
        let set = async |who: &'static str, topic: &'static str| {
            let body = json!({"topic": topic, "n": 1});
            test.set(who, &room, "m.room.topic", "", body).await.ok()["event_id"].clone()
        };
        test.set("alice", &room, "m.room.power_levels", "", open).await.ok();
        let first = set("alice", "a").await;
        assert_eq!(set("alice", "a").await, first);
        // Another's words are not one's own, and what was so before is not so now.
        let second = set("bob", "a").await;
        assert_ne!(second, first);
        assert_ne!(set("alice", "b").await, first);
        let last = set("alice", "a").await;
        assert!(last != first && last != second);
        // Who has left sends nothing.
        test.post("alice", &format!("/v3/rooms/{room}/leave"), json!({})).await.ok();
        let body = json!({"topic": "a", "n": 1});
        test.set("alice", &room, "m.room.topic", "", body).await.refused(403, "M_FORBIDDEN");
    }

    #[tokio::test]
    async fn nobody_vouches_for_who_is_there() {
        let test = TestApp::new(&["alice"]).await;
        let room = test.public_room(&["alice"]).await;
        let body = json!({"membership": "join", "displayname": "A", "join_authorised_via_users_server": "unused"});
        test.set("alice", &room, "m.room.member", "@alice:hs", body).await.ok();
        let wanted = json!({"membership": "join", "displayname": "A"});
        assert_eq!(test.state(&room, "m.room.member", "@alice:hs").await, wanted);
    }
}
