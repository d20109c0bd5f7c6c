use http_kit::{MatrixError, route_error};
use users::UsersError;

/// Users and devices in one request about keys, at most.
pub(super) const MAX_ASKED: usize = 5000;

/// Why keys are not given.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("No more than {MAX_ASKED} users and devices in one request")]
    TooMany,
    #[error(transparent)]
    Users(#[from] UsersError),
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::TooMany => Self::too_large(error.to_string()),
            RouteError::Users(error) => Self::internal(error),
        }
    }
}

route_error!(RouteError);
