use engine::EngineError;
use http::StatusCode;
use http_kit::{MatrixError, route_error};
use notify::NotifyError;
use store::{CommitError, StoreError};
use users::UsersError;

/// What a handler of this crate answers instead of a response.
#[derive(Debug)]
pub struct ApiError(pub MatrixError);

route_error!(ApiError);

impl ApiError {
    /// 403 for those who are not in the room.
    pub fn not_in_room() -> Self {
        Self(MatrixError::forbidden("You are not in this room"))
    }

    /// 404 for state that is not set.
    pub fn no_state() -> Self {
        Self(MatrixError::not_found("The room has no such state"))
    }

    /// 404 for events that are not there, or not for this user.
    pub fn no_event() -> Self {
        Self(MatrixError::not_found("Event not found"))
    }
}

impl ApiError {
    /// 404 in place of 403, where an endpoint tells no difference between what is not there and what is not for this user.
    #[must_use]
    pub fn hidden(self) -> Self {
        if self.0.status == StatusCode::FORBIDDEN { Self::no_event() } else { self }
    }
}

impl From<ApiError> for MatrixError {
    fn from(error: ApiError) -> Self {
        error.0
    }
}

impl From<MatrixError> for ApiError {
    fn from(error: MatrixError) -> Self {
        Self(error)
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        Self(match error {
            EngineError::UnknownRoom => MatrixError::not_found("Room not found"),
            EngineError::UnknownEvent => MatrixError::not_found("Event not found"),
            EngineError::Forbidden(why) => MatrixError::forbidden(why),
            // The policy server's own words.
            EngineError::Policy(refusal) => MatrixError::new(
                StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_GATEWAY),
                refusal.errcode,
                refusal.error,
            ),
            EngineError::TooLarge(why) => MatrixError::too_large(why),
            EngineError::BadEvent(why) => MatrixError::bad_json(why),
            EngineError::UnsupportedVersion(_) => MatrixError::unsupported_room_version(error.to_string()),
            EngineError::AliasTaken => MatrixError::room_in_use("The room alias is taken"),
            EngineError::Partial => MatrixError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                "The room's members are still being fetched from other servers: try again",
            ),
            EngineError::Conflict => MatrixError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                "The room changed at the same time: try again",
            ),
            EngineError::Write(_) => MatrixError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                "The server could not store this: it may or may not have happened. Try again with the same transaction id",
            ),
            EngineError::Store(_) | EngineError::Inconsistent(_) => MatrixError::internal(error),
        })
    }
}

impl From<UsersError> for ApiError {
    fn from(error: UsersError) -> Self {
        let text = error.to_string();
        Self(match error {
            UsersError::UserInUse => MatrixError::user_in_use(text),
            UsersError::InvalidLocalpart(_) => MatrixError::invalid_username(text),
            UsersError::UserNotFound
            | UsersError::DeviceNotFound
            | UsersError::FilterNotFound
            | UsersError::RuleNotFound
            | UsersError::DelayedNotFound => MatrixError::not_found(text),
            UsersError::TooManyDelayed { .. } => {
                MatrixError::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", text)
            }
            UsersError::InvalidId(field) => MatrixError::invalid_param(field, "empty, too long or ill-formed"),
            UsersError::UnknownToken => MatrixError::unknown_token(false),
            UsersError::ExpiredToken => MatrixError::unknown_token(true),
            UsersError::InvalidProfileKey => MatrixError::invalid_param("keyName", text),
            UsersError::ProfileKeyTooLarge => MatrixError::new(StatusCode::BAD_REQUEST, "M_KEY_TOO_LARGE", text),
            UsersError::ProfileTooLarge => MatrixError::new(StatusCode::BAD_REQUEST, "M_PROFILE_TOO_LARGE", text),
            UsersError::InvalidProfileValue(_) => MatrixError::invalid_param("value", text),
            UsersError::NotAnObject(_) => MatrixError::bad_json(text),
            UsersError::TooLarge { .. } => MatrixError::too_large(text),
            UsersError::BadKey(_) => MatrixError::bad_json(text),
            UsersError::OthersKey | UsersError::KeyExists(_) => {
                MatrixError::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", text)
            }
            UsersError::InvalidSignature => MatrixError::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", text),
            UsersError::NoMasterKey => MatrixError::missing_param("master_key"),
            UsersError::KeyIdInUse => MatrixError::forbidden(text),
            UsersError::NoBackup(_) => MatrixError::not_found(text),
            UsersError::WrongBackupVersion { current } => {
                MatrixError::new(StatusCode::FORBIDDEN, "M_WRONG_ROOM_KEYS_VERSION", text)
                    .with("current_version", current.to_string())
            }
            UsersError::BackupMismatch(field) => MatrixError::invalid_param(field, text),
            UsersError::ServerDefaultRule => MatrixError::invalid_param("ruleId", text),
            UsersError::InsertRule(error) => insert_rule(&error, text),
            UsersError::UnsubscribedSince => {
                MatrixError::new(StatusCode::CONFLICT, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION", text)
            }
            UsersError::Store(error) => MatrixError::internal(error),
            UsersError::Commit(error) => return error.into(),
        })
    }
}

impl From<NotifyError> for ApiError {
    fn from(error: NotifyError) -> Self {
        Self(match error {
            NotifyError::Invalid { field, why } => MatrixError::invalid_param(field, why),
            NotifyError::TooMany(_) => MatrixError::unknown(error.to_string()),
            NotifyError::DeviceGone => MatrixError::unknown_token(false),
            NotifyError::Users(error) => return error.into(),
            NotifyError::Commit(error) => return error.into(),
            NotifyError::Store(_) | NotifyError::Source(_) | NotifyError::Json(_) => MatrixError::internal(error),
        })
    }
}

fn insert_rule(error: &ruma::push::InsertPushRuleError, text: String) -> MatrixError {
    match error {
        ruma::push::InsertPushRuleError::UnknownRuleId => MatrixError::not_found(text),
        _ => MatrixError::invalid_param("ruleId", text),
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self(MatrixError::internal(error))
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        EngineError::from(error).into()
    }
}
