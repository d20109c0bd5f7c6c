//! `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::api::client::push::set_pushrule::v3::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (after, before) = (body.after.as_deref(), body.before.as_deref());
    app.users.push_rules.put(requester.user, body.rule, after, before).await?;
    Ok(Response::new())
}
