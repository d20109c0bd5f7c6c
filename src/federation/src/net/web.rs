//! Pages of the web, under the rules that hold for the addresses of other servers: what a link in a message points to is a stranger's choice.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::Full;
use store::Clock;
use tokio::time::Instant;
use url::Url;

use super::{
    NetError,
    connect::Connector,
    http::{Http, pieces},
    resolve::{Resolver, SystemResolver},
    tls, well_known,
};
use crate::transport::{CallLimits, Streamed, TransportError};

/// Gets pages by HTTPS and HTTP.
pub struct Web {
    http: Http,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").finish_non_exhaustive()
    }
}

impl Web {
    /// With the system's resolver.
    ///
    /// # Errors
    /// [`NetError`]
    pub fn new(allow_private_addresses: bool, clock: Arc<dyn Clock>) -> Result<Self, NetError> {
        Self::with_resolver(allow_private_addresses, clock, Arc::new(SystemResolver::new(false)))
    }

    /// With a resolver of the caller's.
    ///
    /// # Errors
    /// [`NetError`]
    pub fn with_resolver(
        allow_private_addresses: bool,
        clock: Arc<dyn Clock>,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, NetError> {
        let connector = Connector::new(resolver, tls::connector(None)?, allow_private_addresses, clock);
        Ok(Self { http: Http::new(connector.or_plain()) })
    }

    /// Asks for a page. The address that its name leads to is checked where it is connected to; a redirect is not followed.
    ///
    /// # Errors
    /// [`TransportError`]
    pub async fn get(&self, url: &Url, headers: HeaderMap, limits: CallLimits) -> Result<Streamed, TransportError> {
        let end = Instant::now() + limits.timeout;
        let begun = async {
            let uri = well_known::with_port(url).map_err(TransportError::Unreachable)?;
            let request = Request::get(uri).body(Full::default());
            let mut request = request.map_err(|error| TransportError::Unreachable(error.to_string()))?;
            *request.headers_mut() = headers;
            request.headers_mut().insert(header::HOST, host(url)?);
            let (head, body) = self.http.begin(request).await?.into_parts();
            let body = pieces(body, limits.max_body, Some(end))?;
            Ok(Streamed { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout_at(end, begun).await.unwrap_or(Err(TransportError::Timeout))
    }
}

/// As browsers say it: without the port where that is the scheme's own.
fn host(url: &Url) -> Result<HeaderValue, TransportError> {
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    HeaderValue::from_str(&host).map_err(|error| TransportError::Unreachable(error.to_string()))
}
