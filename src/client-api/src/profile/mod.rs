//! Profiles. [Profiles](https://spec.matrix.org/v1.19/client-server-api/#profiles).

mod delete_field;
mod get_field;
mod get_profile;
mod propagate;
mod set_field;

use axum::Router;
use engine::UserNum;
use http_kit::{MatrixError, RawJson, RumaRouter};
use ruma::UserId;
use serde_json::{Map, Value};

use crate::{ApiError, App};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .ruma(get_profile::handler)
        .ruma(get_field::handler)
        .ruma(set_field::handler)
        .ruma(delete_field::handler)
}

impl App {
    /// The number of a local user who has not closed their account.
    async fn profile_owner(&self, user_id: &UserId) -> Result<UserNum, ApiError> {
        let account = self.users.accounts.by_user_id(user_id).await?.filter(|account| !account.deactivated);
        account.map(|account| account.num).ok_or_else(|| MatrixError::not_found("Profile not found").into())
    }
}

/// What another server tells of its user, without what it gives as not set.
fn remote_reply(mut fields: Map<String, Value>) -> Result<RawJson, ApiError> {
    fields.retain(|_, value| !value.is_null());
    Ok(RawJson(Value::Object(fields).to_string().into()))
}
