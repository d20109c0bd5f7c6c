//! `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::push::delete_pushrule::v3::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.users.push_rules.delete(requester.user, body.kind, &body.rule_id).await?;
    Ok(Response::new())
}
