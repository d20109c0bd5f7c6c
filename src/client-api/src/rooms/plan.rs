//! What making and upgrading rooms have in common.

use std::collections::BTreeSet;

use engine::{Engine, EngineError, Invitee, Names};
use http::StatusCode;
use http_kit::MatrixError;
use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId, UserId, room_version_rules::AuthorizationRules};
use serde_json::{Map, Value};

use crate::{ApiError, App};

/// Length of the random part of a room's id.
const ROOM_ID: usize = 18;

/// 400 for rooms that could not be as asked for.
pub(super) fn invalid_state(why: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    MatrixError::new(StatusCode::BAD_REQUEST, "M_INVALID_ROOM_STATE", why).into()
}

/// What the rules refuse in a new room is a mistake of the request, not a lack of power.
pub(super) fn creation_error(error: EngineError) -> ApiError {
    match error {
        EngineError::Forbidden(why) => invalid_state(why),
        other => other.into(),
    }
}

/// The rules of a version that new rooms can have.
///
/// # Errors
/// 400 `M_UNSUPPORTED_ROOM_VERSION`.
pub(crate) fn rules_of(version: &RoomVersionId) -> Result<AuthorizationRules, ApiError> {
    Ok(Engine::rules(version)?.authorization)
}

/// Checks `additional_creators` of a content of `m.room.create` in versions that know them.
///
/// # Errors
/// 400 `M_INVALID_PARAM`.
pub(super) fn check_creators(create: &Map<String, Value>, rules: &AuthorizationRules) -> Result<(), ApiError> {
    let Some(given) = create.get("additional_creators").filter(|_| rules.additional_room_creators) else {
        return Ok(());
    };
    let refused = || MatrixError::invalid_param("additional_creators", "a list of user ids");
    for id in given.as_array().ok_or_else(refused)? {
        let id = id.as_str().and_then(|id| <&UserId>::try_from(id).ok()).ok_or_else(refused)?;
        id.validate_strict().map_err(|_| refused())?;
    }
    Ok(())
}

/// Checks that no creator is listed in power levels above which they stand.
///
/// # Errors
/// 400 `M_INVALID_ROOM_STATE`.
pub(super) fn check_levels(
    levels: &Map<String, Value>,
    creators: &BTreeSet<&str>,
    rules: &AuthorizationRules,
) -> Result<(), ApiError> {
    if !rules.explicitly_privilege_room_creators {
        return Ok(());
    }
    let users = levels.get("users").and_then(Value::as_object);
    match users.and_then(|users| users.keys().find(|id| creators.contains(id.as_str()))) {
        Some(id) => {
            Err(invalid_state(format!("{id} creates the room and has all power: no level can be set for them")))
        }
        None => Ok(()),
    }
}

impl App {
    /// The id of a new room in versions that do not derive it from the create event.
    pub(super) fn new_room_id(&self) -> Result<OwnedRoomId, ApiError> {
        let text = format!("!{}:{}", self.random_string(ROOM_ID), self.engine.identity.server_name);
        OwnedRoomId::try_from(text).map_err(|error| MatrixError::internal(error).into())
    }

    /// What a user of this server shows in rooms.
    pub(crate) async fn names_of(&self, user_id: &UserId) -> Result<Names, ApiError> {
        if !self.engine.is_local(user_id) {
            return Ok(Names::default());
        }
        let user = self.engine.user_num(user_id).await?;
        let (display_name, avatar_url) = self.users.profiles.names(user).await?;
        Ok(Names { display_name, avatar_url })
    }

    /// Whether a user's server can be asked for anything.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN`
    pub(super) fn reaches(&self, user_id: &UserId) -> Result<(), ApiError> {
        if self.engine.is_local(user_id) || self.remote.reaches_others() {
            return Ok(());
        }
        let why = format!("{user_id} is on another server, and this one reaches no others");
        Err(MatrixError::forbidden(why).into())
    }

    /// Users to invite, each once, with what they show.
    ///
    /// # Errors
    /// 403 `M_INVITE_BLOCKED`, and 404 `M_NOT_FOUND`.
    pub(super) async fn invitees(&self, ids: &[OwnedUserId], sender: &UserId) -> Result<Vec<Invitee>, ApiError> {
        let mut out: Vec<Invitee> = Vec::with_capacity(ids.len());
        for user_id in ids {
            if out.iter().all(|known| known.user_id != *user_id) {
                self.may_be_invited(user_id, sender).await?;
                let remote = !self.engine.is_local(user_id);
                self.reaches(user_id)?;
                out.push(Invitee { user_id: user_id.clone(), names: self.names_of(user_id).await?, remote });
            }
        }
        Ok(out)
    }
}
