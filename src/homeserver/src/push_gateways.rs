//! Push gateways, over the transport that federation uses, and with its address rules: their URLs are strangers' input.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use federation::{CallLimits, NetTransport};
use futures::{FutureExt as _, future::BoxFuture};
use http::header;
use notify::{Gateway, GatewayError, GatewayReply};
use store::Clock;
use url::Url;

use crate::{config::Config, error::StartError};

/// Gateways answer when they have passed a notification on, which is quick or not at all; what they say is short.
const LIMITS: CallLimits = CallLimits { timeout: Duration::from_secs(15), max_body: 64 << 10 };

/// [`Gateway`] over HTTPS.
#[derive(Debug)]
pub struct WebGateway(NetTransport);

impl WebGateway {
    /// With the certificate authorities that are trusted for other servers, whether or not there is federation.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let mut settings = config.federation.clone();
        settings.allow_private_addresses = config.push.allow_private_addresses;
        Ok(Self(NetTransport::new(&settings, clock)?))
    }
}

impl Gateway for WebGateway {
    fn allows(&self, url: &Url) -> Result<(), String> {
        self.0.allows(url).map_err(|error| error.to_string())
    }

    fn post<'a>(&'a self, url: &'a Url, body: Bytes) -> BoxFuture<'a, Result<GatewayReply, GatewayError>> {
        async move {
            let reply = self.0.post_json(url, body, LIMITS).await.map_err(|error| GatewayError(error.to_string()))?;
            let seconds = reply.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Ok(GatewayReply {
                status: reply.status.as_u16(),
                retry_after: seconds.map(Duration::from_secs),
                body: reply.body,
            })
        }
        .boxed()
    }
}
