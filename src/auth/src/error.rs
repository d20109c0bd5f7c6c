//! What an endpoint of this crate answers when it does not do what it was asked.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_kit::{AuthError, MatrixError};
use users::UsersError;

use crate::{interactive::Challenge, oidc::OidcConfigError, password::PasswordError};

/// The server was configured in a way that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// Argon2 does not take these parameters.
    #[error("auth.password: {0}")]
    Password(String),
    /// A number that must be above zero is not.
    #[error("{0} must be above zero")]
    Zero(&'static str),
    /// A registration token or the shared secret is empty.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// The providers that people log in through.
    #[error(transparent)]
    Oidc(#[from] OidcConfigError),
}

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The requester must first confirm who they are.
    #[error("authentication is needed")]
    Challenge(Box<Challenge>),
    /// A Matrix error.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    /// An error from the users' data.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// A password could not be hashed or compared.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        match self {
            Self::Challenge(challenge) => challenge.into_response(),
            Self::Matrix(error) => error.into_response(),
            Self::Users(error) => users_error(error).into_response(),
            Self::Password(error) => MatrixError::from(error).into_response(),
        }
    }
}

/// The Matrix error of what users' data answer.
pub(crate) fn users_error(error: UsersError) -> MatrixError {
    match error {
        UsersError::UserInUse => MatrixError::user_in_use("This user name is taken: choose another"),
        UsersError::InvalidLocalpart(why) => {
            MatrixError::invalid_username(format!("This user name cannot be used: {why}"))
        }
        UsersError::UserNotFound => MatrixError::not_found("There is no such account"),
        UsersError::DeviceNotFound => MatrixError::not_found("You have no such device"),
        UsersError::InvalidId(what) => {
            MatrixError::invalid_param("device_id", format_args!("{what} is empty or too long"))
        }
        UsersError::UnknownToken => MatrixError::unknown_token(false),
        UsersError::ExpiredToken => MatrixError::unknown_token(true),
        UsersError::TooLarge { .. } => MatrixError::too_large(error.to_string()),
        UsersError::BadKey(_) => MatrixError::bad_json(error.to_string()),
        UsersError::OthersKey => MatrixError::invalid_param("user_id", error),
        UsersError::InvalidSignature => {
            MatrixError::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", error.to_string())
        }
        UsersError::NoMasterKey => MatrixError::missing_param("master_key"),
        UsersError::KeyIdInUse => MatrixError::forbidden(error.to_string()),
        error => MatrixError::internal(error),
    }
}

/// The same for a token that opens a request.
pub(crate) fn token_error(error: UsersError) -> AuthError {
    match error {
        UsersError::UnknownToken => AuthError::UnknownToken { soft_logout: false },
        UsersError::ExpiredToken => AuthError::UnknownToken { soft_logout: true },
        error => AuthError::Internal(Box::new(error)),
    }
}
