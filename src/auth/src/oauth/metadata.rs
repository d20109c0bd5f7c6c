//! What this server tells apps about itself.
//! [Server metadata discovery](https://spec.matrix.org/v1.19/client-server-api/#server-metadata-discovery).

use serde_json::{Value, json};

use crate::{
    oauth::{Action, DEVICE_GRANT},
    state::Auth,
};

impl Auth {
    /// The metadata; none where there is no authorization server here.
    pub(crate) fn server_metadata(&self) -> Option<Value> {
        let (sso, _) = (self.sso.as_ref()?, self.oauth.as_ref()?);
        let mut metadata = json!({
            "issuer": sso.issuer(),
            "authorization_endpoint": sso.url("/_cliquepay/oauth/authorize"),
            "token_endpoint": sso.url("/_cliquepay/oauth/token"),
            "revocation_endpoint": sso.url("/_cliquepay/oauth/revoke"),
            "registration_endpoint": sso.url("/_cliquepay/oauth/register"),
            "device_authorization_endpoint": sso.url("/_cliquepay/oauth/device"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "fragment"],
            "grant_types_supported": ["authorization_code", "refresh_token", DEVICE_GRANT],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "account_management_uri": sso.url("/_cliquepay/account"),
            "account_management_actions_supported": Action::public_names(),
            "authorization_response_iss_parameter_supported": true,
        });
        if self.offers_accounts() {
            metadata["prompt_values_supported"] = json!(["create"]);
        }
        Some(metadata)
    }

    /// Whether somebody can get an account by themselves.
    pub(crate) fn offers_accounts(&self) -> bool {
        let by_password = self.config.registration.enabled && self.config.password.enabled;
        by_password || self.sso.as_ref().is_some_and(|sso| !sso.providers.is_empty())
    }
}
