//! `POST /_matrix/client/v3/createRoom`

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use engine::{FirstEvent, NewRoom, Preset, RoomPlan};
use http::StatusCode;
use http_kit::{Group, MatrixError, Requester, Ruma};
use ruma::{
    OwnedUserId, RoomAliasId, UserId,
    api::client::room::{
        Visibility,
        create_room::v3::{Request, Response, RoomPreset},
    },
    events::TimelineEventType,
    serde::Raw,
};
use serde_json::{Map, Value};

use super::plan::{check_creators, check_levels, creation_error, rules_of};
use crate::{ApiError, App};

/// Users invited at once, at most.
const MAX_INVITES: usize = 200;
/// Longest alias, in bytes.
const MAX_ALIAS: usize = 255;
/// Events in `initial_state`, at most.
const MAX_INITIAL_STATE: usize = 500;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    requester.not_suspended()?;
    app.limits.check(Group::Rooms, &requester)?;
    check_bounds(&body)?;
    for _ in &body.invite {
        app.limits.check(Group::Invites, &requester)?;
    }
    let public = body.visibility == Visibility::Public;
    if public && !app.config.allow_public_rooms {
        return Err(MatrixError::forbidden("Rooms cannot be listed in the public directory of this server").into());
    }
    let version = body.room_version.clone().unwrap_or_else(|| app.config.default_room_version.clone());
    let rules = rules_of(&version)?;
    let creation_content = object(body.creation_content.as_ref(), "creation_content")?;
    check_creators(&creation_content, &rules)?;
    let power_levels = object(body.power_level_content_override.as_ref(), "power_level_content_override")?;
    let alias = match &body.room_alias_name {
        Some(name) => Some(app.free_alias(&requester, name).await?),
        None => None,
    };
    let (elsewhere, initial_state) = app.first_state(&body, &requester.user_id).await?;
    let plan = RoomPlan {
        creator: &requester.user_id,
        names: app.names_of(&requester.user_id).await?,
        version: version.clone(),
        preset: preset(&body)?,
        creation_content,
        power_levels,
        alias: alias.clone(),
        initial_state,
        name: body.name.clone(),
        topic: body.topic.clone(),
        invite: app.invitees(&body.invite, &requester.user_id).await?,
        is_direct: body.is_direct,
    };
    let first = plan.first_events()?;
    let create: Map<String, Value> = serde_json::from_str(&first.create).map_err(MatrixError::internal)?;
    let others = create.get("additional_creators").and_then(Value::as_array).into_iter().flatten();
    let mut creators: BTreeSet<&str> = others.filter_map(Value::as_str).collect();
    creators.insert(requester.user_id.as_str());
    check_levels(&plan.power_levels, &creators, &rules)?;
    let new = NewRoom {
        creator: &requester.user_id,
        creator_num: requester.user,
        version,
        create: first.create,
        room_id: app.new_room_id()?,
        events: first.events,
        alias,
        public,
    };
    let made = app.engine.create_room(new, None).await.map_err(creation_error)?;
    app.after_sending(requester.user);
    app.carry_over(&made.room, &requester).await;
    let mut invitations = elsewhere;
    for invitee in plan.invite.iter().filter(|invitee| invitee.remote) {
        invitations.entry(invitee.user_id.clone()).or_insert_with(|| plan.invitation(invitee).content);
    }
    for (user_id, content) in invitations {
        // The room is there whether or not their servers answer: its creator can invite them again.
        if let Err(error) = app.invite_elsewhere(&made.room, &requester, &user_id, content).await {
            tracing::debug!(error = %error.0, %user_id, "an invitation to a new room failed");
        }
    }
    Ok(Response::new(made.room.id.clone()))
}

/// The contents of invitations that other servers have to sign, by who is invited.
type Invitations = BTreeMap<OwnedUserId, String>;

fn check_bounds(body: &Request) -> Result<(), ApiError> {
    if !body.invite_3pid.is_empty() {
        let why = "This server cannot invite people by e-mail address or phone number: invite them by their user id";
        return Err(MatrixError::new(StatusCode::FORBIDDEN, "M_THREEPID_DENIED", why).into());
    }
    if body.invite.len() > MAX_INVITES {
        return Err(MatrixError::invalid_param("invite", format!("at most {MAX_INVITES} users at once")).into());
    }
    if body.initial_state.len() > MAX_INITIAL_STATE {
        return Err(MatrixError::invalid_param("initial_state", format!("at most {MAX_INITIAL_STATE} events")).into());
    }
    Ok(())
}

/// A visibility says which preset is meant where none is named.
fn preset(body: &Request) -> Result<Preset, ApiError> {
    Ok(match &body.preset {
        Some(RoomPreset::PrivateChat) => Preset::Private,
        Some(RoomPreset::TrustedPrivateChat) => Preset::TrustedPrivate,
        Some(RoomPreset::PublicChat) => Preset::Public,
        Some(_) => return Err(MatrixError::invalid_param("preset", "no such preset").into()),
        None if body.visibility == Visibility::Public => Preset::Public,
        None => Preset::Private,
    })
}

fn object<T>(raw: Option<&Raw<T>>, field: &str) -> Result<Map<String, Value>, ApiError> {
    let Some(raw) = raw else { return Ok(Map::new()) };
    serde_json::from_str(raw.json().get())
        .map_err(|_| MatrixError::bad_json(format!("{field}: not an object")).with("field", field).into())
}

fn first_event(json: &str) -> Result<FirstEvent, ApiError> {
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        event_type: String,
        #[serde(default)]
        state_key: String,
        #[serde(borrow)]
        content: &'a serde_json::value::RawValue,
    }
    let bad = |why: &str| MatrixError::bad_json(format!("initial_state: {why}")).with("field", "initial_state");
    let event: Event<'_> = serde_json::from_str(json).map_err(|error| bad(&error.to_string()))?;
    if !event.content.get().starts_with('{') {
        return Err(bad("content is not an object").into());
    }
    Ok(FirstEvent::new(event.event_type, event.state_key, event.content.get()))
}

impl App {
    /// The state that the client wants: invitations of users of other servers, which are sent when the room is there, and the rest.
    async fn first_state(&self, body: &Request, sender: &UserId) -> Result<(Invitations, Vec<FirstEvent>), ApiError> {
        let (mut elsewhere, mut here) = (Invitations::new(), Vec::new());
        for event in body.initial_state.iter().map(Raw::json) {
            let event = first_event(event.get())?;
            match self.invited_elsewhere(&event.event_type, &event.state_key, &event.content) {
                Some(user_id) => {
                    self.reaches(user_id)?;
                    elsewhere.insert(user_id.to_owned(), event.content);
                }
                None => {
                    if event.event_type == TimelineEventType::RoomMember {
                        self.check_invitation(&event.state_key, &event.content, sender).await?;
                    }
                    here.push(event);
                }
            }
        }
        if elsewhere.len() > MAX_INVITES {
            return Err(MatrixError::invalid_param("initial_state", "too many invitations").into());
        }
        Ok((elsewhere, here))
    }

    /// The alias with a localpart, where it is free.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM`, `M_EXCLUSIVE` and `M_ROOM_IN_USE`.
    async fn free_alias(&self, requester: &Requester, name: &str) -> Result<String, ApiError> {
        let refused = || MatrixError::invalid_param("room_alias_name", "not the local part of a room alias");
        if name.is_empty() || name.contains(|letter: char| letter == ':' || letter.is_whitespace() || letter == '\0') {
            return Err(refused().into());
        }
        let alias = format!("#{name}:{}", self.engine.identity.server_name);
        let parsed = RoomAliasId::parse(&alias).ok().filter(|_| alias.len() <= MAX_ALIAS).ok_or_else(refused)?;
        self.may_have_alias(requester, &parsed)?;
        if self.engine.alias(&alias).await?.is_some() {
            return Err(MatrixError::room_in_use("The room alias is taken").into());
        }
        Ok(alias)
    }
}
