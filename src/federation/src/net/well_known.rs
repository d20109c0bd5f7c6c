//! Which server speaks for a name.
//! [`GET /.well-known/matrix/server`](https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver).

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, Uri, header};
use quick_cache::sync::Cache;
use ruma::{OwnedServerName, ServerName};
use serde::Deserialize;
use store::Clock;
use tracing::debug;
use url::Url;

use crate::net::http::{Answer, Http};

/// Names whose answers are kept.
const KEPT: usize = 10_000;
/// How long the whole look-up may take, redirects and all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const MAX_BODY: usize = 50 << 10;
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// How long an answer is kept, in milliseconds: at least, where it says nothing, and at most.
const VALID: (u64, u64, u64) = (300_000, 86_400_000, 2 * 86_400_000);
/// How long it is kept that there is none, in milliseconds: at first, twice as long each time, and at most.
const FAILED: (u64, u64) = (60_000, 3_600_000);

#[derive(Debug, Default)]
struct Known {
    server: Option<OwnedServerName>,
    /// When it was got.
    since: u64,
    /// When it is asked for again.
    until: u64,
    failures: u32,
}

/// What well-known files said, and what they did not.
pub(super) struct WellKnown {
    clock: Arc<dyn Clock>,
    known: Cache<OwnedServerName, Arc<tokio::sync::Mutex<Known>>>,
}

impl WellKnown {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Cache::new(KEPT) }
    }

    /// The server that a name is delegated to. Those who ask at the same time share one request.
    pub(super) async fn delegated(&self, http: &Http, name: &ServerName) -> Option<OwnedServerName> {
        let made = self.known.get_or_insert_with(name, || Ok::<_, std::convert::Infallible>(Arc::default()));
        let entry: Arc<tokio::sync::Mutex<Known>> = made.unwrap_or_default();
        let mut known = entry.lock().await;
        let now = self.clock.now_ms();
        if now < known.until {
            return known.server.clone();
        }
        let found = tokio::time::timeout(TIMEOUT, look_up(http, name.host())).await;
        match found.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok((server, valid)) => {
                *known = Known { server: Some(server), since: now, until: now.saturating_add(valid), failures: 0 };
            }
            Err(error) => {
                debug!(server = %name, error, "no well-known file");
                known.failures = known.failures.saturating_add(1);
                known.until = now.saturating_add((FAILED.0 << (known.failures - 1).min(10)).min(FAILED.1));
                // A file that cannot be got for once is still good.
                if now >= known.since.saturating_add(VALID.2) {
                    known.server = None;
                }
            }
        }
        known.server.clone()
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "m.server")]
    server: OwnedServerName,
}

/// The delegated name, and how long it is good, in milliseconds.
async fn look_up(http: &Http, host: &str) -> Result<(OwnedServerName, u64), String> {
    let mut url =
        Url::parse(&format!("https://{host}/.well-known/matrix/server")).map_err(|error| error.to_string())?;
    for _ in 0..=MAX_REDIRECTS {
        let answer = http.get(uri(&url)?, MAX_BODY).await.map_err(|error| error.to_string())?;
        if answer.status == StatusCode::OK {
            let file: File = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
            return Ok((file.server, validity(&answer.headers)));
        }
        url = redirected(&url, &answer)?;
    }
    Err("too many redirects".to_owned())
}

/// The URL as a request's.
pub(super) fn uri(url: &Url) -> Result<Uri, String> {
    if url.scheme() != "https" {
        return Err("a URL that is not HTTPS".to_owned());
    }
    with_port(url)
}

/// The URL as a request's: with its port, so that it is not taken for the one of federation.
pub(super) fn with_port(url: &Url) -> Result<Uri, String> {
    let (scheme, host) = (url.scheme(), url.host_str().ok_or("a URL without a host")?);
    let port = url.port_or_known_default().ok_or("a URL without a port")?;
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    format!("{scheme}://{host}:{port}{target}").parse().map_err(|error: http::uri::InvalidUri| error.to_string())
}

fn redirected(from: &Url, answer: &Answer) -> Result<Url, String> {
    if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Err(format!("the status is {}", answer.status.as_u16()));
    }
    let to = answer.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).ok_or("a redirect to nowhere")?;
    let url = from.join(to).map_err(|error| error.to_string())?;
    if url.scheme() == "https" { Ok(url) } else { Err("a redirect to what is not HTTPS".to_owned()) }
}

/// How long an answer is kept, by its `Cache-Control`.
fn validity(headers: &HeaderMap) -> u64 {
    let (least, usual, most) = VALID;
    let control = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut valid = usual;
    for directive in control.split(',').map(str::trim) {
        match directive.split_once('=') {
            Some((name, seconds)) if name.eq_ignore_ascii_case("max-age") => {
                valid = seconds.trim_matches('"').parse::<u64>().map_or(usual, |seconds| seconds.saturating_mul(1000));
            }
            None if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") => {
                return least;
            }
            _ => {}
        }
    }
    valid.clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_as_they_ask_for_within_bounds() {
        let kept = |control: Option<&'static str>| {
            let value = control.map(|text| (header::CACHE_CONTROL, http::HeaderValue::from_static(text)));
            validity(&value.into_iter().collect())
        };
        assert_eq!(kept(None), 86_400_000);
        assert_eq!(kept(Some("public, max-age=7200")), 7_200_000);
        assert_eq!(kept(Some("MAX-AGE=\"7200\"")), 7_200_000);
        assert_eq!(kept(Some("max-age=1")), 300_000);
        assert_eq!(kept(Some("max-age=99999999999999999999")), 86_400_000);
        assert_eq!(kept(Some("max-age=9999999999")), 2 * 86_400_000);
        assert_eq!(kept(Some("no-store, max-age=7200")), 300_000);
    }
}
