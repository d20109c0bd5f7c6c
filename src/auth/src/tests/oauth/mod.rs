//! The OAuth 2.0 API: an app and a browser, step by step.

mod account;
mod clients;
mod confirm;
mod device;
mod ends;
mod flow;
mod provider;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use super::{
    oidc::{BASE, Browser, Page, REDIRECT, Site, sso_config},
    *,
};

pub(in crate::tests) const METADATA: &str = "/_matrix/client/v1/auth_metadata";
pub(in crate::tests) const TOKEN: &str = "/_cliquepay/oauth/token";
pub(in crate::tests) const REVOKE: &str = "/_cliquepay/oauth/revoke";
pub(in crate::tests) const REGISTER_CLIENT: &str = "/_cliquepay/oauth/register";
pub(in crate::tests) const AUTHORIZE: &str = "/_cliquepay/oauth/authorize";
pub(in crate::tests) const CALLBACK: &str = "https://app.example.com/callback";
/// As long as a verifier must be.
pub(in crate::tests) const VERIFIER: &str = "the-verifier-of-the-app-0123456789-0123456789";

pub(in crate::tests) fn oauth_config() -> AuthConfig {
    AuthConfig { public_base_url: Some(BASE.to_owned()), ..config() }
}

pub(in crate::tests) fn metadata(changes: Value) -> Value {
    let mut metadata = json!({
        "client_name": "The <App>",
        "client_uri": "https://example.com/",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    });
    for (name, value) in changes.as_object().unwrap() {
        metadata[name] = value.clone();
    }
    metadata
}

pub(in crate::tests) fn scope(device: &str) -> String {
    format!("urn:matrix:client:api:* urn:matrix:client:device:{device}")
}

pub(in crate::tests) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// An app that is registered.
pub(in crate::tests) struct App<'a> {
    pub(in crate::tests) server: &'a Server,
    pub(in crate::tests) client_id: String,
}

impl Server {
    pub(in crate::tests) fn with_oauth() -> Self {
        Self::with(oauth_config())
    }

    pub(in crate::tests) async fn app(&self) -> App<'_> {
        self.app_with(json!({})).await
    }

    pub(in crate::tests) async fn app_with(&self, changes: Value) -> App<'_> {
        let (status, body) = self.register_client(metadata(changes)).await;
        assert_eq!(status, 201, "{body}");
        App { server: self, client_id: text(&body, "client_id") }
    }

    pub(in crate::tests) async fn register_client(&self, metadata: Value) -> Answer {
        self.send(REGISTER_CLIENT, "application/json", metadata.to_string()).await
    }

    pub(in crate::tests) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(path, "application/x-www-form-urlencoded", form).await
    }

    pub(in crate::tests) async fn send(&self, path: &str, kind: &str, body: String) -> Answer {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, kind)
            .extension(ClientIp(Ipv4Addr::LOCALHOST.into()))
            .body(Body::from(body));
        let response = self.app.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{path}");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store", "{path}");
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    pub(in crate::tests) fn browser(&self) -> Browser<'_> {
        Browser::new(self)
    }
}

impl App<'_> {
    /// Where the app sends a browser, with some parameters changed or (empty) left out.
    pub(in crate::tests) fn url(&self, device: &str, changes: &[(&str, &str)]) -> String {
        let (scope, challenge) = (scope(device), challenge(VERIFIER));
        let mut all = vec![
            ("response_type", "code"),
            ("client_id", self.client_id.as_str()),
            ("redirect_uri", CALLBACK),
            ("scope", &scope),
            ("state", "st4te"),
            ("response_mode", "query"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in changes {
            all.retain(|(other, _)| other != name);
            if !value.is_empty() {
                all.push((name, value));
            }
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        format!("{AUTHORIZE}?{query}")
    }

    /// The page on which a user is asked, in a browser that they log in with.
    pub(in crate::tests) async fn consent(&self, browser: &mut Browser<'_>, user: &str, url: &str) -> Page {
        let page = browser.get(url).await;
        page.assert_shows(200, "name=\"password\"");
        let page = browser.submit(&page, &[("username", user), ("password", PASSWORD)]).await;
        assert_eq!(page.status, 302, "{}", page.body);
        let page = browser.get(&page.location()).await;
        page.assert_shows(200, "The &lt;App&gt;");
        page
    }

    /// What the app is answered when a user agrees.
    pub(in crate::tests) async fn answer(&self, browser: &mut Browser<'_>, user: &str, url: &str) -> url::Url {
        let page = self.consent(browser, user, url).await;
        let page = browser.submit(&page, &[("decision", "allow")]).await;
        url::Url::parse(&page.location()).unwrap()
    }

    pub(in crate::tests) async fn code(&self, user: &str, device: &str) -> String {
        let answer = self.answer(&mut self.server.browser(), user, &self.url(device, &[])).await;
        parameter(&answer, "code")
    }

    pub(in crate::tests) async fn exchange(&self, code: &str) -> Answer {
        self.exchange_with(code, VERIFIER).await
    }

    pub(in crate::tests) async fn exchange_with(&self, code: &str, verifier: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("client_id", &self.client_id),
            ("code_verifier", verifier),
        ];
        self.server.form(TOKEN, &fields).await
    }

    /// Logs a user in: access and refresh token.
    pub(in crate::tests) async fn log_in(&self, user: &str, device: &str) -> (String, String) {
        let (status, body) = self.exchange(&self.code(user, device).await).await;
        assert_eq!(status, 200, "{body}");
        (text(&body, "access_token"), text(&body, "refresh_token"))
    }

    pub(in crate::tests) async fn refresh(&self, token: &str) -> Answer {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", &self.client_id)];
        self.server.form(TOKEN, &fields).await
    }
}

pub(in crate::tests) fn parameter(url: &url::Url, name: &str) -> String {
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
}

#[track_caller]
pub(in crate::tests) fn assert_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.0, answer.1["error"].as_str()), (status, Some(code)), "{}", answer.1);
}
