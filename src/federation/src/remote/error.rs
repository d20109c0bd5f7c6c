use engine::{EngineError, PolicyRefusal};
use http::StatusCode;
use http_kit::MatrixError;
use room::build::BuildError;
use ruma::OwnedServerName;

use crate::error::CallError;

/// Why something that needs another server did not happen.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No server is known that could be asked.
    #[error("No server is known that could be asked about this room: name one with `via`")]
    NoServer,
    /// The last server that was asked gave nothing, or the one that gave the clearest refusal.
    #[error("{server}: {error}")]
    Call {
        /// The server.
        server: OwnedServerName,
        /// What it answered.
        error: CallError,
    },
    /// What a server gave cannot be used.
    #[error("{server} gave an answer that cannot be used: {why}")]
    BadAnswer {
        /// The server.
        server: OwnedServerName,
        /// What is wrong with it.
        why: String,
    },
    /// The room has a version that this server does not support.
    #[error("the room has version {0}, which this server does not support")]
    UnsupportedVersion(String),
    /// This server is shutting down.
    #[error("the server is shutting down")]
    Stopping,
    /// The engine refused it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl RemoteError {
    pub(super) fn bad(server: &ruma::ServerName, why: impl std::fmt::Display) -> Self {
        Self::BadAnswer { server: server.to_owned(), why: why.to_string() }
    }

    /// Whether a server that knows the room said no.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Call { error: CallError::Status { status, .. }, .. }
            if matches!(*status, StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST))
    }

    /// How much it tells whoever asked: where several servers fail, the clearest answer is passed on.
    pub(super) fn clarity(&self) -> u8 {
        match self {
            Self::NoServer => 0,
            Self::Call { error: CallError::Transport(_) | CallError::BadRequest(_), .. } => 1,
            Self::Call { error: CallError::BadReply(_), .. } | Self::BadAnswer { .. } => 2,
            Self::Call { error: CallError::Status { status, .. }, .. } => match *status {
                StatusCode::FORBIDDEN => 6,
                StatusCode::BAD_REQUEST => 5,
                StatusCode::NOT_FOUND => 4,
                _ => 3,
            },
            Self::UnsupportedVersion(_) | Self::Stopping | Self::Engine(_) => 7,
        }
    }
}

/// Refusals of other servers that mean the same to the client.
const PASSED_ON: [&str; 8] = [
    "M_FORBIDDEN",
    "M_NOT_FOUND",
    "M_UNABLE_TO_AUTHORISE_JOIN",
    "M_UNABLE_TO_GRANT_JOIN",
    "M_INCOMPATIBLE_ROOM_VERSION",
    "M_INVITE_BLOCKED",
    "M_UNSUPPORTED_ROOM_VERSION",
    "M_LIMIT_EXCEEDED",
];

impl From<RemoteError> for MatrixError {
    fn from(error: RemoteError) -> Self {
        let text = error.to_string();
        let gateway = |text: String| Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", text);
        match error {
            RemoteError::NoServer => Self::not_found(text),
            RemoteError::Call { error: CallError::Status { status, errcode, .. }, .. }
                if status.is_client_error() && PASSED_ON.contains(&errcode.as_str()) =>
            {
                Self::new(status, errcode, text)
            }
            RemoteError::Call { .. } | RemoteError::BadAnswer { .. } => gateway(text),
            RemoteError::UnsupportedVersion(_) => {
                Self::new(StatusCode::BAD_REQUEST, "M_INCOMPATIBLE_ROOM_VERSION", text)
            }
            RemoteError::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", text),
            RemoteError::Engine(error) => match error {
                EngineError::UnknownRoom | EngineError::UnknownEvent => Self::not_found(text),
                EngineError::Forbidden(why) => Self::forbidden(why),
                EngineError::Policy(refusal) => policy_error(refusal),
                EngineError::TooLarge(why) => Self::too_large(why),
                EngineError::UnsupportedVersion(_) => Self::unsupported_room_version(text),
                EngineError::BadEvent(_) => gateway(text),
                EngineError::Conflict | EngineError::Partial => {
                    Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", text)
                }
                other => Self::internal(other),
            },
        }
    }
}

/// What a policy server answered, as it is.
fn policy_error(PolicyRefusal { status, errcode, error }: PolicyRefusal) -> MatrixError {
    MatrixError::new(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), errcode, error)
}

impl RemoteError {
    pub(super) fn build(server: &ruma::ServerName, error: BuildError) -> Self {
        if error.is_too_large() { Self::Engine(error.into()) } else { Self::bad(server, error) }
    }
}
