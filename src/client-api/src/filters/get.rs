//! `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`

use axum::extract::State;
use bytes::Bytes;
use http_kit::{RawJson, Ruma};
use ruma::api::client::filter::get_filter::v3::Request;

use crate::{ApiError, App, own::only_own};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    only_own(&requester, &body.user_id)?;
    let filter = app.users.filters.get(requester.user, &body.filter_id).await?;
    Ok(RawJson(Bytes::copy_from_slice(filter.as_bytes())))
}
