//! `POST /_cliquepay/oauth/register`: an app registers (RFC 7591).

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;
use http_kit::body;
use serde_json::{Map, Value};

use super::{is_json, to_app};
use crate::{
    oauth::{OauthError, json_answer},
    routes::asker::Asker,
    state::Auth,
};

/// The largest registration, in bytes.
const MAX_BODY: usize = 32 << 10;
/// How deep its fields may be nested.
const MAX_DEPTH: usize = 8;

pub(super) async fn handler(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    to_app(async {
        auth.oauth()?;
        is_json(&asker.headers)?;
        let body = body::read(request.into_body(), MAX_BODY, Duration::from_secs(30)).await?;
        let wrong = || OauthError::new("invalid_client_metadata", "The body must be a JSON object");
        let body = body::json_within(body, MAX_DEPTH).map_err(|_| wrong())?;
        let metadata: Map<String, Value> = serde_json::from_slice(&body).map_err(|_| wrong())?;
        let answer = auth.register_client(&metadata, asker.ip).await?;
        Ok(json_answer(StatusCode::CREATED, &answer))
    })
    .await
}
