//! `POST /_cliquepay/oauth/token`: where apps get their tokens. [Grant types](https://spec.matrix.org/v1.19/client-server-api/#grant-types).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;

use super::{needed, to_app};
use crate::{
    fields::Fields,
    oauth::{CodeExchange, DEVICE_GRANT, OauthError, json_answer},
    routes::asker::Asker,
    state::Auth,
};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    to_app(async {
        let (_, oauth) = auth.oauth()?;
        let form = Fields::of_form(&asker.headers, request.into_body()).await?;
        let grant = needed(&form, "grant_type")?;
        let client = needed(&form, "client_id")?;
        let answer = match grant {
            "authorization_code" => {
                let exchange = CodeExchange {
                    code: needed(&form, "code")?,
                    client,
                    redirect_uri: needed(&form, "redirect_uri")?,
                    verifier: needed(&form, "code_verifier")?,
                };
                auth.exchange_code(oauth, &exchange).await?
            }
            "refresh_token" => auth.refresh_app(needed(&form, "refresh_token")?, client).await?,
            DEVICE_GRANT => auth.poll_device(needed(&form, "device_code")?, client).await?,
            _ => return Err(OauthError::new("unsupported_grant_type", "There is no such way to get tokens here")),
        };
        Ok(json_answer(StatusCode::OK, &answer))
    })
    .await
}
