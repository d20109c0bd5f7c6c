//! Devices without a browser of their own.
//! [Device authorisation flow](https://spec.matrix.org/v1.19/client-server-api/#device-authorisation-flow).

use std::{net::IpAddr, sync::Arc};

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::{
    oauth::{client::DEVICE_GRANT, device_grants::INTERVAL_SECONDS, error::OauthError, pages::LinkPage, scope::Scope},
    oidc::{Pages, Problem, Purpose, Trouble},
    state::Auth,
};

impl Auth {
    /// Gives a device its codes.
    pub(crate) async fn begin_device(
        &self,
        client: &str,
        scope: &str,
        ip: Option<IpAddr>,
    ) -> Result<Value, OauthError> {
        let (sso, oauth) = self.oauth()?;
        self.limits.page_from(ip)?;
        let client = self.client(oauth, client).await?;
        if !client.client.may(DEVICE_GRANT) {
            return Err(OauthError::new("unauthorized_client", "The client did not register for device codes"));
        }
        let scope = Scope::parse(scope).map_err(|why| OauthError::new("invalid_scope", why))?;
        let begun = oauth.devices.begin(client, scope, &self.entropy);
        let place = sso.url("/_cliquepay/oauth/link");
        let code: String = form_urlencoded::byte_serialize(begun.user_code.as_bytes()).collect();
        Ok(json!({
            "device_code": begun.device_code,
            "user_code": begun.user_code,
            "verification_uri": place,
            "verification_uri_complete": format!("{place}?user_code={code}"),
            "expires_in": begun.seconds,
            "interval": INTERVAL_SECONDS,
        }))
    }

    /// Answers a device that asks whether somebody has agreed.
    pub(crate) async fn poll_device(self: &Arc<Self>, device_code: &str, client: &str) -> Result<Value, OauthError> {
        let (_, oauth) = self.oauth()?;
        let (grant, user) = oauth.devices.poll(device_code, client)?;
        self.log_in_app(user, &grant.client, &grant.scope, &self.entropy.session_id()).await
    }

    /// The page that asks which code a device shows. One that comes with the address is filled in, and still to be sent.
    pub(crate) fn link_page(&self, user_code: &str, headers: &HeaderMap) -> Result<Response, Trouble> {
        let (sso, _) = self.oauth_pages()?;
        let action = sso.url("/_cliquepay/oauth/link");
        Ok(Pages::of(headers).link(StatusCode::OK, &LinkPage { action: &action, user_code, problem: None }))
    }

    /// Goes on with the device that shows a code.
    pub(crate) async fn link(
        &self,
        user_code: &str,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let (sso, oauth) = self.oauth_pages()?;
        let action = sso.url("/_cliquepay/oauth/link");
        let again = |problem: Problem| {
            let page = LinkPage { action: &action, user_code, problem: Some(problem) };
            Ok(Pages::of(headers).link(problem.status(), &page))
        };
        // Whoever guesses codes is guessing log-ins.
        if self.limits.login_from(ip).is_err() {
            return again(Problem::TooMany);
        }
        let Some(grant) = oauth.devices.find(user_code) else { return again(Problem::UnknownCode) };
        let waiting = self.waiting(Purpose::Device(grant), false, None, 0);
        self.begin_or_go_on(sso, waiting, headers).await
    }
}
