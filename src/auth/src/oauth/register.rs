//! Registering apps. [Dynamic client registration](https://spec.matrix.org/v1.19/client-server-api/#dynamic-client-registration-flow),
//! [RFC 7591](https://datatracker.ietf.org/doc/html/rfc7591).

use std::net::IpAddr;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    oauth::{
        client::{Client, Refusal},
        clients::Registration,
        error::OauthError,
    },
    state::Auth,
};

impl Auth {
    /// Registers an app, and says what was taken of its metadata.
    pub(crate) async fn register_client(
        &self,
        metadata: &Map<String, Value>,
        ip: Option<IpAddr>,
    ) -> Result<Value, OauthError> {
        let (_, oauth) = self.oauth()?;
        self.limits.client_from(ip)?;
        let client = Client::parse(metadata).map_err(|refusal| match refusal {
            Refusal::RedirectUri(why) => OauthError::new("invalid_redirect_uri", why),
            Refusal::Metadata(why) => OauthError::new("invalid_client_metadata", why),
        })?;
        let id = client.id().map_err(OauthError::internal)?;
        let registered = match oauth.clients.register(client, id).await? {
            Registration::Done(registered) => registered,
            Registration::Full => {
                tracing::warn!("there is no room for another app: auth.oauth.max_clients");
                let why = "There are too many clients: try again later";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Err(OauthError { status, ..OauthError::new("temporarily_unavailable", why) });
            }
        };
        let mut answer = serde_json::to_value(&registered.client).map_err(OauthError::internal)?;
        answer["client_id"] = registered.id.into();
        answer["client_id_issued_at"] = json!(registered.created_ts / 1000);
        Ok(answer)
    }
}
