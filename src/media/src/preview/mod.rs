//! What a link leads to, in a few words and a picture.
//! [`GET /_matrix/client/v1/media/preview_url`](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url).
//!
//! | module | what it does |
//! | --- | --- |
//! | `rules` | which links are followed |
//! | [`web`] | the seam to the web |
//! | `text` | from bytes to text, whatever the encoding |
//! | `page` | what an HTML page says of itself |
//! | `picture` | pictures of pages, kept as long as they are used |
//! | `fetch` | from a link to its preview |
//!
//! A link is a stranger's choice: every step to what it leads to is bounded in time, bytes and number, and goes only to addresses of
//! the open internet.

mod fetch;
mod page;
mod picture;
mod rules;
mod text;
pub mod web;

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use http_kit::{LimitKey, MatrixError, RateLimiter};
use quick_cache::{Weighter, sync::Cache};
use tokio::sync::Semaphore;
use tracing::debug;
use url::Url;

use crate::{
    Media, MediaError,
    config::PreviewConfig,
    preview::{rules::Rules, web::Web},
    turns::Turns,
};

/// Previews that are made at the same time; more wait.
const AT_ONCE: usize = 8;
/// What is kept of previews, in bytes.
const KEPT_BYTES: u64 = 8 << 20;
/// How long it is remembered that there is no preview, in milliseconds.
const FAILED_MS: u64 = 60_000;
/// Users whose rate is remembered.
const USERS: usize = 10_000;

/// Why there is no preview.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PreviewError {
    #[error("{0}")]
    NotAllowed(String),
    #[error("the page cannot be had: {0}")]
    Unreachable(String),
}

impl From<PreviewError> for MatrixError {
    fn from(error: PreviewError) -> Self {
        match error {
            PreviewError::NotAllowed(why) => Self::forbidden(why),
            PreviewError::Unreachable(_) => Self::unknown(error.to_string()).with_status(StatusCode::BAD_GATEWAY),
        }
    }
}

/// A preview, or that there is none, until then.
#[derive(Debug, Clone)]
struct Kept {
    until_ms: u64,
    /// The media id of its picture.
    picture: Option<String>,
    shown: Result<Arc<str>, PreviewError>,
}

#[derive(Debug, Clone, Copy)]
struct ByBytes;

impl Weighter<String, Kept> for ByBytes {
    fn weight(&self, url: &String, kept: &Kept) -> u64 {
        (url.len() + kept.shown.as_ref().map_or(64, |json| json.len())) as u64 + 128
    }
}

/// Previews, where the operator has them.
pub(crate) struct Previews {
    pub(super) web: Arc<dyn Web>,
    rules: Rules,
    limit: RateLimiter,
    fetching: Turns<String>,
    places: Semaphore,
    kept: Cache<String, Kept, ByBytes>,
    fresh: Duration,
    pub(super) max_picture: u64,
}

impl Previews {
    pub(crate) fn new(web: Arc<dyn Web>, config: &PreviewConfig, clock: http_kit::Clock) -> Self {
        let kept = usize::try_from(KEPT_BYTES / 1024).unwrap_or(1);
        Self {
            web,
            rules: Rules::new(config),
            limit: RateLimiter::new(&config.rate, USERS, clock),
            fetching: Turns::default(),
            places: Semaphore::new(AT_ONCE),
            kept: Cache::with_weighter(kept, KEPT_BYTES, ByBytes),
            fresh: Duration::from_secs(config.fresh_hours.saturating_mul(3600)),
            max_picture: config.max_picture_mib.saturating_mul(1 << 20),
        }
    }
}

impl Media {
    /// The preview of a link, as JSON. Who asks for the same one at the same time shares one fetch, which goes on to its end whether or not
    /// somebody still waits.
    pub(crate) async fn preview(self: &Arc<Self>, user: u64, link: &str) -> Result<Arc<str>, MatrixError> {
        let previews =
            self.previews.as_ref().ok_or_else(|| MatrixError::unrecognized("This server shows no previews"))?;
        let url = previews.rules.link(link)?;
        if let Some(kept) = self.kept_preview(previews, &url).await? {
            return Ok(kept.shown?);
        }
        previews.limit.check(LimitKey::User(user))?;
        let media = Arc::clone(self);
        let task = tokio::spawn(async move { media.make_preview(url).await });
        task.await.map_err(|error| MatrixError::internal(format_args!("a preview broke off: {error}")))?
    }

    async fn make_preview(&self, url: Url) -> Result<Arc<str>, MatrixError> {
        let Some(previews) = &self.previews else { return Err(MatrixError::unrecognized("There are no previews")) };
        let _turn = previews.fetching.take(url.as_str().to_owned()).await;
        // Somebody else may have fetched it while this one waited.
        if let Some(kept) = self.kept_preview(previews, &url).await? {
            return Ok(kept.shown?);
        }
        let _place = previews.places.acquire().await.map_err(|error| MatrixError::internal(error))?;
        let made = self.fetch_preview(previews, &url).await;
        if let Err(error) = &made {
            debug!(%url, %error, "no preview");
        }
        let for_ms = made.as_ref().map_or(FAILED_MS, |_| u64::try_from(previews.fresh.as_millis()).unwrap_or(u64::MAX));
        let (shown, picture) = match made {
            Ok((json, picture)) => (Ok(Arc::from(json)), picture),
            Err(error) => (Err(error), None),
        };
        let kept = Kept { until_ms: self.clock.now_ms().saturating_add(for_ms), picture, shown: shown.clone() };
        previews.kept.insert(url.into(), kept);
        Ok(shown?)
    }

    /// What is kept of a link, as long as it is fresh and its picture is there.
    async fn kept_preview(&self, previews: &Previews, url: &Url) -> Result<Option<Kept>, MediaError> {
        let Some(kept) = previews.kept.get(url.as_str()).filter(|kept| self.clock.now_ms() < kept.until_ms) else {
            return Ok(None);
        };
        match &kept.picture {
            Some(id) if !self.has_picture(id).await? => Ok(None),
            _ => Ok(Some(kept)),
        }
    }
}
