//! Confirming something by logging in through one's provider once more.
//! [SSO during User-Interactive Authentication](https://spec.matrix.org/v1.19/client-server-api/#sso-during-user-interactive-authentication).

use std::net::IpAddr;

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use users::UserNum;

use crate::{
    interactive::Stage,
    oidc::{
        flows::{FlowError, Goal, Step},
        login::{Trouble, add_cookies, sso},
        pages::Pages,
        provider::Provider,
        words::Problem,
    },
    state::Auth,
};

impl Auth {
    /// The providers that a user logs in through.
    pub(crate) async fn providers_of(&self, user: UserNum) -> users::Result<Vec<&Provider>> {
        let Some(sso) = self.sso.as_ref().filter(|sso| !sso.providers.is_empty()) else { return Ok(Vec::new()) };
        let identities = sso.identities.of_user(user).await?;
        Ok(identities.iter().filter_map(|(issuer, _)| sso.of_issuer(issuer)).collect())
    }

    /// The page that says what is to be confirmed, and leads to the provider.
    pub(crate) async fn confirm_page(
        &self,
        session: &str,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        self.limits.page_from(ip).map_err(crate::error::RouteError::from)?;
        let over = Trouble(StatusCode::BAD_REQUEST, Problem::Over);
        let (user, what) = self.sessions.pending(session).ok_or(over)?;
        let user_id = self.open(user).await?;
        let providers = self.providers_of(user).await?;
        if providers.is_empty() {
            return Err(Trouble(StatusCode::NOT_FOUND, Problem::NoSuchProvider));
        }
        let begun = self.begin_step(sso, Step::Confirming { session: session.to_owned(), user })?;
        let link = |id: &str| sso.url(&format!("/_cliquepay/login/confirm/{id}?flow={}", begun.id));
        let links: Vec<_> = providers.iter().map(|one| (link(&one.settled.id), one.settled.name.clone())).collect();
        let mut page = Pages::of(headers).confirm_with(user_id.as_str(), &what, &links);
        add_cookies(page.headers_mut(), [Some(begun.cookie)]);
        Ok(page)
    }

    /// Sends somebody who wants to confirm something to their provider.
    pub(crate) async fn confirm_at(
        &self,
        provider: &str,
        flow: &str,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        let Step::Confirming { session, user } = sso.flows.take(flow, headers)? else {
            return Err(FlowError::Unknown.into());
        };
        let found = sso.find(provider).ok_or(Trouble(StatusCode::NOT_FOUND, Problem::NoSuchProvider))?;
        self.go_to_provider(sso, found, (Goal::Confirm { session, user }, true), ip).await
    }

    /// Somebody has logged in at their provider once more.
    pub(crate) fn confirmed(
        &self,
        session: &str,
        (user, came): (UserNum, UserNum),
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        if user != came {
            return Err(Trouble(StatusCode::FORBIDDEN, Problem::OtherAccount));
        }
        if !self.sessions.approve(session, user, &[Stage::Sso]) {
            return Err(Trouble(StatusCode::BAD_REQUEST, Problem::Over));
        }
        Ok(Pages::of(headers).approved())
    }
}
