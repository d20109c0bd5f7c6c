//! `GET /_matrix/federation/v1/query/profile`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile)).

use axum::extract::State;
use engine::splice::push_json_string;
use http_kit::{MatrixError, RawJson, route_error};
use ruma::api::federation::query::get_profile_information::v1::Request;
use users::UsersError;

use super::Signed;
use crate::Api;

#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("the user is of another server")]
    NotOurs,
    #[error("There is no such user")]
    UnknownUser,
    #[error(transparent)]
    Users(#[from] UsersError),
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NotOurs => Self::invalid_param("user_id", error),
            RouteError::UnknownUser => Self::not_found(error.to_string()),
            RouteError::Users(error) => Self::internal(error),
        }
    }
}

route_error!(RouteError);

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, RouteError> {
    let Signed { body, .. } = request;
    if !api.engine.is_local(&body.user_id) {
        return Err(RouteError::NotOurs);
    }
    let account = api.users.accounts.by_user_id(&body.user_id).await?.filter(|account| !account.deactivated);
    let user = account.ok_or(RouteError::UnknownUser)?.num;
    let mut out = String::from("{");
    match body.field {
        Some(field) => {
            if let Some(value) = api.users.profiles.get(user, field.as_str()).await? {
                push_field(&mut out, field.as_str(), value.get());
            }
        }
        None => {
            for field in api.users.profiles.all(user).await? {
                push_field(&mut out, &field.key, field.value.get());
            }
        }
    }
    out.push('}');
    Ok(RawJson(out.into()))
}

fn push_field(out: &mut String, key: &str, value: &str) {
    if out.len() > 1 {
        out.push(',');
    }
    push_json_string(out, key);
    out.push(':');
    out.push_str(value);
}
