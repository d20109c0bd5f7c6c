//! `GET /_matrix/client/v3/auth/{stage}/fallback/web`: what is confirmed on a page, for clients that know no other way.
//! [Fallback](https://spec.matrix.org/v1.19/client-server-api/#fallback).

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http_kit::MatrixError;

use super::{asker::Asker, sso::page};
use crate::{interactive::Stage, oidc::Trouble, state::Auth};

pub(super) async fn show(State(auth): State<Arc<Auth>>, Path(stage): Path<String>, asker: Asker) -> Response {
    let session = asker.query.get("session").unwrap_or_default();
    match Stage::parse(&stage) {
        Some(Stage::Sso) => page(&auth, &asker.headers, auth.confirm_page(session, asker.ip, &asker.headers)).await,
        Some(Stage::Oauth | Stage::CrossSigningReset) => {
            page(&auth, &asker.headers, async { auth.to_account_page(session) }).await
        }
        _ => MatrixError::unrecognized("There is no page for this stage").into_response(),
    }
}

/// Where the browser of somebody who wants to confirm something at their provider goes.
pub(super) async fn at_provider(State(auth): State<Arc<Auth>>, Path(idp_id): Path<String>, asker: Asker) -> Response {
    let flow = asker.query.get("flow").unwrap_or_default();
    page(&auth, &asker.headers, auth.confirm_at(&idp_id, flow, asker.ip, &asker.headers)).await
}

impl Auth {
    /// Leads a browser to the page of the account where a session is confirmed.
    fn to_account_page(&self, session: &str) -> Result<Response, Trouble> {
        let over = Trouble(http::StatusCode::BAD_REQUEST, crate::oidc::Problem::Over);
        let (_, what) = self.sessions.pending(session).ok_or(over)?;
        let url = self.account_url(&what).ok_or(over)?;
        crate::oidc::go(&format!("{url}&session={session}"), [])
    }
}
