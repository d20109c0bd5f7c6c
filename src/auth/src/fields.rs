//! The fields of a query or a form.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, header};
use http_kit::{MatrixError, body};
use url::form_urlencoded;

/// The largest form, in bytes.
const MAX_FORM: usize = 16 << 10;
/// How long a form may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Fields that are looked at, at most.
const MAX_FIELDS: usize = 64;

/// The fields of a query or a form.
#[derive(Debug, Clone)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().take(MAX_FIELDS).collect())
    }

    /// Reads a form.
    ///
    /// # Errors
    /// Those of [`body::read`]; 415 where it is something else.
    pub(crate) async fn of_form(headers: &HeaderMap, body: Body) -> Result<Self, MatrixError> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let why = "The body must be application/x-www-form-urlencoded";
            return Err(MatrixError::unknown(why).with_status(http::StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        body::read(body, MAX_FORM, TIMEOUT).await.map(|bytes| Self::parse(&bytes))
    }

    /// A field that is there once: of one that is there twice nobody knows which was meant (RFC 6749, section 3.1).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        found.next().filter(|_| found.next().is_none())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}
