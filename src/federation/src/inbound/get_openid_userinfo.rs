//! `GET /_matrix/federation/v1/openid/userinfo`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo)).

use axum::extract::State;
use http::StatusCode;
use http_kit::{MatrixError, route_error};
use ruma::api::federation::openid::get_openid_userinfo::v1::{Request, Response};
use users::UsersError;

use super::Open;
use crate::Api;

#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("The token is not known, or its time is over")]
    UnknownToken,
    #[error(transparent)]
    Users(UsersError),
}

impl From<UsersError> for RouteError {
    fn from(error: UsersError) -> Self {
        match error {
            UsersError::UnknownToken | UsersError::ExpiredToken => Self::UnknownToken,
            other => Self::Users(other),
        }
    }
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::UnknownToken => Self::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", error.to_string()),
            RouteError::Users(error) => Self::internal(error),
        }
    }
}

route_error!(RouteError);

pub(super) async fn handler(State(api): State<Api>, request: Open<Request>) -> Result<Response, RouteError> {
    Ok(Response::new(api.users.openid.user_of(&request.body.access_token).await?))
}
