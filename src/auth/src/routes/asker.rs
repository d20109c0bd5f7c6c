//! Whoever opens a page.

use std::net::IpAddr;

use axum::{
    body::Body,
    extract::{FromRequestParts, RawQuery},
};
use http::{HeaderMap, StatusCode, request::Parts};
use http_kit::ClientIp;

use crate::{
    fields::Fields,
    oidc::{Problem, Trouble, Wish},
};

/// Who asks, and with what.
pub(super) struct Asker {
    pub(super) ip: Option<IpAddr>,
    pub(super) headers: HeaderMap,
    pub(super) query: Fields,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let RawQuery(query) = RawQuery::from_request_parts(parts, state).await?;
        let query = Fields::parse(query.unwrap_or_default().as_bytes());
        Ok(Self { ip: ClientIp::of(&parts.extensions), headers: parts.headers.clone(), query })
    }
}

impl Asker {
    /// What a client wants of a log-in.
    pub(super) fn wish(&self) -> Wish<'_> {
        let action = self.query.get("action");
        let aware = matches!(action, Some("login" | "register"));
        Wish { redirect_url: self.query.get("redirectUrl"), aware, create: action == Some("register") }
    }

    /// The form that was sent.
    pub(super) async fn form(&self, body: Body) -> Result<Fields, Trouble> {
        Fields::of_form(&self.headers, body).await.map_err(|_| Trouble(StatusCode::BAD_REQUEST, Problem::Over))
    }
}
