//! `POST /_matrix/client/v3/keys/device_signing/upload`: here, and not with the other keys, since who replaces keys has to confirm
//! who they are.

use std::sync::Arc;

use axum::extract::State;
use http_kit::{Ruma, WithJson};
use ruma::api::client::keys::upload_signing_keys::v3::{Request, Response};
use serde::Deserialize;
use users::encryption::{CrossSigningKeys, Object};

use crate::{error::RouteError, operation::Operation, state::Auth};

/// The keys with all of their fields: they were signed.
#[derive(Deserialize)]
pub(super) struct Body {
    master_key: Option<Object>,
    self_signing_key: Option<Object>,
    user_signing_key: Option<Object>,
}

pub(super) async fn handler(
    State(auth): State<Arc<Auth>>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<Response, RouteError> {
    let Ruma { body, requester, json_body, .. } = request;
    let Body { master_key, self_signing_key, user_signing_key } = body.json;
    let keys = CrossSigningKeys { master: master_key, self_signing: self_signing_key, user_signing: user_signing_key };
    if auth.users.cross_signing.needs_confirmation(requester.user, &keys).await? {
        auth.confirm(&requester, Operation::UploadSigningKeys, &json_body).await?;
    }
    auth.users.cross_signing.upload(requester.user, &requester.user_id, keys).await?;
    Ok(Response::new())
}
