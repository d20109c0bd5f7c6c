use engine::EngineError;
use http::StatusCode;
use http_kit::{MatrixError, route_error};
use ledger::{ComposeError, Invalid};
use ruma::RoomVersionId;

/// What a route of the ledger API answers instead of a result.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// An entry breaks a rule. (400 `M_INVALID_PARAM` with `field`)
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It is not the sender's to say. (403 `M_FORBIDDEN`)
    #[error("{0}")]
    Forbidden(String),
    /// There is no such entry. (404 `M_NOT_FOUND`)
    #[error("{0}")]
    NoEntry(String),
    /// The room has no ledger. (404 `M_NOT_FOUND`)
    #[error("This room has no ledger")]
    NoLedger,
    /// The room has one already. (409 `COM.CLIQUEPAY.LEDGER_EXISTS`)
    #[error("This room has a ledger already")]
    LedgerExists,
    /// The server cannot read the room's entries. (409 `COM.CLIQUEPAY.ENCRYPTED`)
    #[error("This room is encrypted: only the people in it can read its ledger. Use an app that folds it itself")]
    Encrypted,
    /// The room's version names events freely, so that an id could stand for anything. (400 `M_UNSUPPORTED_ROOM_VERSION`)
    #[error(
        "A ledger needs a room of version 3 or later, and this would be in one of version {0}: upgrade the room first"
    )]
    RoomVersion(RoomVersionId),
    /// The requester is not in the room. (403 `M_FORBIDDEN`)
    #[error("You are not in this room")]
    NotInRoom,
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The users' part failed.
    #[error(transparent)]
    Users(#[from] users::UsersError),
    /// Too many requests, or a suspended account. (429 `M_LIMIT_EXCEEDED`, 403 `M_USER_SUSPENDED`)
    #[error("{0}")]
    Refused(MatrixError),
    /// A computation was cut short.
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
}

impl From<ComposeError> for RouteError {
    fn from(error: ComposeError) -> Self {
        match error {
            ComposeError::Invalid(invalid) => Self::Invalid(invalid),
            ComposeError::Forbidden(why) => Self::Forbidden(why),
            ComposeError::Unknown(_) => Self::NoEntry(error.to_string()),
        }
    }
}

impl From<store::StoreError> for RouteError {
    fn from(error: store::StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        let text = error.to_string();
        match error {
            RouteError::Invalid(Invalid { field, reason }) if field.is_empty() => {
                MatrixError::invalid_param("content", reason).with("field", "")
            }
            RouteError::Invalid(Invalid { field, reason }) => MatrixError::invalid_param(&field, reason),
            RouteError::Forbidden(_) | RouteError::NotInRoom => MatrixError::forbidden(text),
            RouteError::NoEntry(_) | RouteError::NoLedger => MatrixError::not_found(text),
            RouteError::LedgerExists => MatrixError::new(StatusCode::CONFLICT, "COM.CLIQUEPAY.LEDGER_EXISTS", text),
            RouteError::Encrypted => MatrixError::new(StatusCode::CONFLICT, "COM.CLIQUEPAY.ENCRYPTED", text),
            RouteError::Engine(EngineError::UnknownRoom) => MatrixError::forbidden("You are not in this room"),
            RouteError::Engine(EngineError::UnknownEvent) => MatrixError::not_found(text),
            RouteError::Engine(EngineError::Forbidden(_)) => MatrixError::forbidden(text),
            RouteError::Engine(EngineError::Policy(refusal)) => MatrixError::new(
                StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_GATEWAY),
                refusal.errcode,
                refusal.error,
            ),
            RouteError::Engine(EngineError::TooLarge(_)) => MatrixError::too_large(text),
            RouteError::Engine(EngineError::BadEvent(_)) => MatrixError::bad_json(text),
            RouteError::RoomVersion(_) | RouteError::Engine(EngineError::UnsupportedVersion(_)) => {
                MatrixError::unsupported_room_version(text)
            }
            RouteError::Engine(EngineError::AliasTaken) => MatrixError::room_in_use(text),
            RouteError::Engine(EngineError::Partial) => MatrixError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                "The room's members are still being fetched from other servers: try again",
            ),
            RouteError::Engine(EngineError::Conflict | EngineError::Write(_)) => MatrixError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                "The server could not store this. Try again: with the same transaction id nothing happens twice",
            ),
            RouteError::Engine(error) => MatrixError::internal(error),
            RouteError::Refused(error) => error,
            RouteError::Users(error) => MatrixError::internal(error),
            RouteError::Task(error) => MatrixError::internal(error),
        }
    }
}

route_error!(RouteError);
