//! `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::push::get_pushrule::v3::{Request, Response};

use super::find;
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let rules = app.users.push_rules.get(requester.user).await?;
    Ok(Response::new(find(&rules, body.kind, &body.rule_id)?.into()))
}
