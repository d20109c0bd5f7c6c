//! From a link to its preview.

use std::time::Duration;

use futures::StreamExt as _;
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tracing::debug;
use url::Url;

use super::{
    PreviewError, Previews, page,
    picture::Picture,
    text,
    web::{WebAnswer, WebError, WebLimits},
};
use crate::Media;

/// How long a preview may take whole, redirects and picture included.
const WHOLE: Duration = Duration::from_secs(20);
/// Of a page so many bytes are read; what it says of itself stands at its beginning.
const MAX_PAGE: usize = 1 << 20;
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// Pictures of a page that are tried.
const PICTURES: usize = 3;

impl From<WebError> for PreviewError {
    fn from(error: WebError) -> Self {
        match error {
            WebError::ForbiddenAddress => Self::NotAllowed("Links to this address are not followed".to_owned()),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl Media {
    /// The preview as JSON, and the media id of its picture.
    pub(super) async fn fetch_preview(
        &self,
        previews: &Previews,
        url: &Url,
    ) -> Result<(String, Option<String>), PreviewError> {
        let end = Instant::now() + WHOLE;
        let (at, answer) = previews.follow(url, end).await?;
        let kind = answer.content_type.clone().unwrap_or_default().to_ascii_lowercase();
        let (mut shown, picture) = match kind.split(';').next().unwrap_or_default().trim() {
            "text/html" | "application/xhtml+xml" => {
                let page = page::read(&text::decode(&beginning(answer).await?, Some(&kind)));
                let base = page.base.as_deref().and_then(|base| previews.rules.next(&at, base).ok()).unwrap_or(at);
                let picture = self.picture_of(previews, &base, &page.pictures, end).await;
                let properties = page.properties.into_iter().map(|(name, value)| (name, Value::from(value)));
                (properties.collect(), picture)
            }
            kind if kind.starts_with("image/") => (Map::new(), self.take_picture(previews, answer).await),
            // What it is cannot be said in a few words.
            _ => (Map::new(), None),
        };
        if let Some(Picture { id, size, width, height, content_type }) = &picture {
            shown.insert("og:image".to_owned(), json!(format!("mxc://{}/{id}", self.server_name)));
            shown.insert("og:image:type".to_owned(), json!(content_type));
            shown.insert("og:image:width".to_owned(), json!(width));
            shown.insert("og:image:height".to_owned(), json!(height));
            shown.insert("matrix:image:size".to_owned(), json!(size));
        }
        Ok((Value::Object(shown).to_string(), picture.map(|picture| picture.id)))
    }

    /// The first of a page's pictures that can be had.
    async fn picture_of(&self, previews: &Previews, base: &Url, links: &[String], end: Instant) -> Option<Picture> {
        for link in links.iter().take(PICTURES) {
            let got = async {
                let url = previews.rules.next(base, link)?;
                previews.follow(&url, end).await
            };
            match got.await {
                Ok((_, answer)) => {
                    if let Some(picture) = self.take_picture(previews, answer).await {
                        return Some(picture);
                    }
                }
                Err(error) => debug!(link, %error, "no picture for a preview"),
            }
        }
        None
    }
}

impl Previews {
    /// What a URL leads to, by redirects where there are some. The rules hold for each step.
    async fn follow(&self, url: &Url, end: Instant) -> Result<(Url, WebAnswer), PreviewError> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let time = end.saturating_duration_since(Instant::now());
            let answer = self.web.get(&url, WebLimits { max_size: self.max_picture, time }).await?;
            if answer.status == StatusCode::OK {
                return Ok((url, answer));
            }
            let to = answer.location.as_deref().filter(|_| answer.status.is_redirection());
            let to =
                to.ok_or_else(|| PreviewError::Unreachable(format!("its status is {}", answer.status.as_u16())))?;
            url = self.rules.next(&url, to)?;
        }
        Err(PreviewError::Unreachable("it redirects too often".to_owned()))
    }
}

/// The beginning of a body.
async fn beginning(mut answer: WebAnswer) -> Result<Vec<u8>, PreviewError> {
    let mut out = Vec::new();
    while out.len() < MAX_PAGE {
        match answer.content.next().await {
            Some(Ok(piece)) => out.extend_from_slice(&piece),
            None => break,
            // What came before may be enough.
            Some(Err(_)) if !out.is_empty() => break,
            Some(Err(error)) => return Err(error.into()),
        }
    }
    out.truncate(MAX_PAGE);
    Ok(out)
}
