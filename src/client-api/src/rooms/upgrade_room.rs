//! `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
//!
//! The new room lands in one commit; then the tombstone, the aliases and the place in the directory in another. What is only
//! wanted "if possible" follows: the old room's restricted power levels, and its canonical alias, which is no more.

use std::{collections::BTreeSet, sync::Arc};

use axum::extract::State;
use engine::{Direction, EngineError, FirstEvent, Membership, NewEvent, NewRoom, Room};
use http_kit::{Group, MatrixError, Requester, Ruma};
use ruma::{
    api::client::room::upgrade_room::v3::{Request, Response},
    events::{TimelineEventType, room::member::MembershipState},
    room_version_rules::AuthorizationRules,
};
use serde_json::{Map, Value, json};

use super::{
    levels::{Succession, restricted},
    plan::{check_creators, creation_error, rules_of},
};
use crate::{ApiError, App};

/// Fields of `m.room.create` that say what the room is.
const CREATE_FIELDS: [&str; 2] = ["type", "m.federate"];
/// State with an empty state key that the new room takes over.
const COPIED: [&str; 9] = [
    "m.room.canonical_alias",
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
];
/// Rooms of a space that its replacement takes over, at most.
const MAX_CHILDREN: usize = 1000;
/// How often the tombstone is tried again where an alias changes at the same time.
const TRIES: usize = 3;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    requester.not_suspended()?;
    app.limits.check(Group::Rooms, &requester)?;
    let rules = rules_of(&body.new_version)?;
    let (old, viewer) = app.room_of(&body.room_id, &requester).await?;
    if viewer.place.is_none_or(|place| place.membership != Membership::Join) {
        return Err(ApiError::not_in_room());
    }
    if let Some(view) = &old.info().auth {
        let tombstone = TimelineEventType::RoomTombstone;
        view.can_send_state(&requester.user_id, &MembershipState::Join, &tombstone, "").map_err(EngineError::from)?;
    }
    let create = app.replacement_create(&old, &body, &rules).await?;
    check_creators(&create, &rules)?;
    let events = app.replacement_events(&old, &requester, &create, &rules).await?;
    let new = NewRoom {
        creator: &requester.user_id,
        creator_num: requester.user,
        version: body.new_version.clone(),
        create: with_creator(create, &requester, &rules),
        room_id: app.new_room_id()?,
        events,
        alias: None,
        public: app.engine.is_public(old.num).await?,
    };
    let made = app.engine.create_room(new, None).await.map_err(creation_error)?;
    app.retire(&old, &made.room, &requester).await?;
    app.carry_over(&made.room, &requester).await;
    Ok(Response::new(made.room.id.clone()))
}

fn with_creator(mut create: Map<String, Value>, requester: &Requester, rules: &AuthorizationRules) -> String {
    if !rules.use_room_create_sender {
        create.insert("creator".to_owned(), requester.user_id.as_str().into());
    }
    Value::Object(create).to_string()
}

fn state_event<'a>(sender: &'a Requester, event_type: TimelineEventType, content: &'a str) -> NewEvent<'a> {
    NewEvent {
        sender: &sender.user_id,
        sender_num: sender.user,
        event_type,
        state_key: Some(""),
        content,
        redacts: None,
        origin_server_ts: None,
        device: None,
        txn_id: None,
    }
}

impl App {
    async fn replacement_create(
        &self,
        old: &Room,
        body: &Request,
        rules: &AuthorizationRules,
    ) -> Result<Map<String, Value>, ApiError> {
        let before = self.content_of(old, "m.room.create").await?.unwrap_or_default();
        let mut create: Map<String, Value> =
            before.into_iter().filter(|(field, _)| CREATE_FIELDS.contains(&field.as_str())).collect();
        create.insert("room_version".to_owned(), body.new_version.as_str().into());
        let mut predecessor = json!({"room_id": old.id});
        // Where the tombstone cannot be made first, because it names a room whose id is not known before, clients look for it.
        let newest = self.engine.stream(old.num, 0, self.engine.frontier(), 1, Direction::Backward).await?;
        if let Some((_, num)) = newest.first().filter(|_| !rules.room_create_event_id_as_room_id) {
            predecessor["event_id"] = self.engine.event(old.num, *num).await?.event_id().into();
        }
        create.insert("predecessor".to_owned(), predecessor);
        if rules.additional_room_creators && !body.additional_creators.is_empty() {
            create.insert("additional_creators".to_owned(), json!(body.additional_creators));
        }
        Ok(create)
    }

    async fn replacement_events(
        &self,
        old: &Room,
        requester: &Requester,
        create: &Map<String, Value>,
        rules: &AuthorizationRules,
    ) -> Result<Vec<FirstEvent>, ApiError> {
        let mut join = Map::from_iter([("membership".to_owned(), "join".into())]);
        self.names_of(&requester.user_id).await?.add_to(&mut join);
        let mut events =
            vec![FirstEvent::new("m.room.member", requester.user_id.as_str(), Value::Object(join).to_string())];
        let levels = self.succession(old, requester, create, rules).await?.levels();
        let levels_event = |levels| FirstEvent::new("m.room.power_levels", "", Value::Object(levels).to_string());
        events.push(levels_event(levels.first));
        for kind in COPIED {
            if let Some(row) = self.engine.current_event(old.num, kind, "").await? {
                events.push(FirstEvent::new(kind, "", row.content()));
            }
        }
        if create.get("type").and_then(Value::as_str) == Some("m.space") {
            let children = self.engine.current_of_type(old.num, "m.space.child").await?;
            for (state_key, num) in children.into_iter().take(MAX_CHILDREN) {
                let row = self.engine.event(old.num, num).await?;
                // A child that was taken out has an empty content.
                if row.content() != "{}" {
                    events.push(FirstEvent::new("m.space.child", state_key, row.content()));
                }
            }
        }
        events.extend(levels.last.map(levels_event));
        Ok(events)
    }

    async fn succession<'a>(
        &self,
        old: &'a Room,
        requester: &'a Requester,
        create: &Map<String, Value>,
        rules: &'a AuthorizationRules,
    ) -> Result<Succession<'a>, ApiError> {
        let others = create.get("additional_creators").and_then(Value::as_array).into_iter().flatten();
        let mut creators: BTreeSet<String> = others.filter_map(Value::as_str).map(str::to_owned).collect();
        creators.insert(requester.user_id.to_string());
        let view = old.info().auth.clone();
        let old_creators = view.iter().flat_map(|view| view.creators()).flatten().map(ToString::to_string).collect();
        Ok(Succession {
            levels: self.content_of(old, "m.room.power_levels").await?.unwrap_or_default(),
            old_creators,
            creators,
            upgrader: requester.user_id.as_str(),
            old_rules: &old.rules.authorization,
            rules,
        })
    }

    /// Ends the old room.
    async fn retire(&self, old: &Arc<Room>, new: &Room, requester: &Requester) -> Result<(), ApiError> {
        let content = json!({"body": "This room has been replaced", "replacement_room": new.id}).to_string();
        for attempt in 1.. {
            let mut writer = self.engine.write(old).await?;
            writer.append(state_event(requester, TimelineEventType::RoomTombstone, &content)).await?;
            writer.hand_over(new).await?;
            match writer.commit().await {
                Err(EngineError::Conflict) if attempt < TRIES => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        if let Some(levels) = self.content_of(old, "m.room.power_levels").await?.and_then(|levels| restricted(&levels))
        {
            self.if_allowed(old, requester, TimelineEventType::RoomPowerLevels, levels).await?;
        }
        if self.content_of(old, "m.room.canonical_alias").await?.is_some_and(|content| !content.is_empty()) {
            self.if_allowed(old, requester, TimelineEventType::RoomCanonicalAlias, Map::new()).await?;
        }
        Ok(())
    }

    async fn if_allowed(
        &self,
        room: &Arc<Room>,
        requester: &Requester,
        event_type: TimelineEventType,
        content: Map<String, Value>,
    ) -> Result<(), ApiError> {
        let content = Value::Object(content).to_string();
        match self.engine.send(room, state_event(requester, event_type, &content), None).await {
            Ok(_) | Err(EngineError::Forbidden(_) | EngineError::Policy(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn content_of(&self, room: &Room, event_type: &str) -> Result<Option<Map<String, Value>>, ApiError> {
        match self.engine.current_event(room.num, event_type, "").await? {
            Some(row) => Ok(Some(serde_json::from_str(row.content()).map_err(MatrixError::internal)?)),
            None => Ok(None),
        }
    }
}
