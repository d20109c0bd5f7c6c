//! `POST /_cliquepay/oauth/revoke`: an app logs out (RFC 7009).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;
use serde_json::json;

use super::{needed, to_app};
use crate::{fields::Fields, oauth::json_answer, routes::asker::Asker, state::Auth};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    to_app(async {
        auth.oauth()?;
        let form = Fields::of_form(&asker.headers, request.into_body()).await?;
        auth.revoke_app(needed(&form, "token")?).await?;
        Ok(json_answer(StatusCode::OK, &json!({})))
    })
    .await
}
