//! `POST /_cliquepay/oauth/device`: a device without a browser wants to be logged in (RFC 8628).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;

use super::{needed, to_app};
use crate::{fields::Fields, oauth::json_answer, routes::asker::Asker, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    to_app(async {
        auth.oauth()?;
        let form = Fields::of_form(&asker.headers, request.into_body()).await?;
        let scope = form.get("scope").unwrap_or_default();
        let answer = auth.begin_device(needed(&form, "client_id")?, scope, asker.ip).await?;
        Ok(json_answer(StatusCode::OK, &answer))
    })
    .await
}
