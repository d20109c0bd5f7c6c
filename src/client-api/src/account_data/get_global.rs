//! `GET /_matrix/client/v3/user/{userId}/account_data/{type}`

use axum::extract::State;
use http_kit::{RawJson, Ruma};
use ruma::api::client::config::get_global_account_data::v3::Request;
use users::account_data::PUSH_RULES;

use super::answer;
use crate::{ApiError, App, own::only_own};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    only_own(&requester, &body.user_id)?;
    let event_type = body.event_type.to_string();
    answer(match event_type.as_str() {
        // Here even where the user never changed a rule.
        PUSH_RULES => Some(app.users.push_rules.content(requester.user).await?),
        other => app.users.account_data.get(requester.user, None, other).await?,
    })
}
