//! Log-ins through a provider that is shaped like Amazon Cognito: an issuer on one host, endpoints on another, no announcement of
//! PKCE, two keys, refresh tokens that are not rotated, `token_use`, groups that are absent when there are none.

mod browser;
mod config;
pub(super) mod faults;
pub(super) mod first_login;
mod id_token;
mod logout;
mod op;
mod recheck;
pub(super) mod redirects;
mod success;
mod web_client;

use super::*;
pub(super) use browser::{Browser, Page};
use op::Op;

pub(super) const BASE: &str = "https://matrix.example.org";
const CLIENT: &str = "https://app.example/client/?a=b";
pub(super) const REDIRECT: &str = "/_matrix/client/v3/login/sso/redirect";

/// A server and its provider.
pub(super) struct Site {
    pub(super) server: Server,
    pub(super) op: Arc<Op>,
}

pub(super) fn sso_config() -> AuthConfig {
    let mut config = config();
    config.public_base_url = Some(BASE.to_owned());
    config.sso.trusted_redirects = vec!["https://app.example/client/".to_owned()];
    config.oidc = vec![provider(json!({}))];
    config
}

/// The provider of these tests, with options changed.
fn provider(changes: Value) -> crate::OidcConfig {
    let mut options = json!({
        "id": "cognito",
        "name": "Our accounts",
        "brand": "amazon",
        "kind": "cognito",
        "issuer": op::ISSUER,
        "client_id": op::CLIENT_ID,
        "client_secret": op::CLIENT_SECRET,
        "admin_group": "cliquepay-admin",
    });
    for (name, value) in changes.as_object().unwrap() {
        options[name] = value.clone();
    }
    serde_json::from_value(options).unwrap()
}

impl Site {
    pub(super) fn new() -> Self {
        Self::with(sso_config())
    }

    pub(super) fn with(config: AuthConfig) -> Self {
        let op = Arc::new(Op::new());
        let upstream = UpstreamParts { http: Arc::clone(&op) as _, seal_key: [7; 32] };
        let server = Server::with_upstream(config, Some(upstream));
        op.follow(Arc::clone(&server.clock));
        Self { server, op }
    }

    pub(super) fn browser(&self) -> Browser<'_> {
        Browser::new(&self.server)
    }

    /// A browser goes to the provider and comes back: the answer to its return.
    async fn return_as(&self, browser: &mut Browser<'_>, user: &str) -> Page {
        let back = self.op.authorize(&self.leave(browser).await, user);
        browser.get(&back).await
    }

    /// The address at the provider that a browser is sent to.
    async fn leave(&self, browser: &mut Browser<'_>) -> String {
        let page = browser.get(&redirect_to(CLIENT)).await;
        assert_eq!(page.status, 302, "{}", page.body);
        page.location()
    }

    /// Logs somebody in who may have no account yet; their access token.
    pub(super) async fn log_in(&self, user: &str) -> String {
        let mut browser = self.browser();
        let mut page = self.return_as(&mut browser, user).await;
        if page.status == 302 && page.location().starts_with(BASE) {
            let form = browser.get(&page.location()).await;
            page = browser.submit(&form, &[("localpart", user)]).await;
        }
        self.redeem(&page.login_token()).await
    }

    async fn redeem(&self, token: &str) -> String {
        let (status, body) = self.exchange(token).await;
        assert_eq!(status, 200, "{body}");
        text(&body, "access_token")
    }

    async fn exchange(&self, token: &str) -> Answer {
        self.server.post(LOGIN, None, json!({ "type": "m.login.token", "token": token })).await
    }

    pub(super) async fn account(&self, localpart: &str) -> Option<users::accounts::Account> {
        self.server.auth.users.accounts.find(localpart).await.unwrap()
    }

    /// Names of all accounts.
    pub(super) async fn accounts(&self) -> Vec<String> {
        let accounts = self.server.auth.users.accounts.list(None, 100).await.unwrap();
        accounts.iter().map(|account| account.user_id.to_string()).collect()
    }
}

fn redirect_to(url: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(url.as_bytes()).collect();
    format!("{REDIRECT}/cognito?redirectUrl={encoded}")
}
