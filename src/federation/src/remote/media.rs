//! Files of other servers.
//! [Content repository](https://spec.matrix.org/v1.19/server-server-api/#content-repository).

use std::{fmt, time::Duration};

use http::{HeaderMap, StatusCode, header};
use ruma::{ServerName, http_headers::ContentDisposition};
use url::Url;

use super::{
    multipart::{Parts, Pieces, boundary},
    queries::encoded,
};
use crate::{CallError, CallLimits, Federation, Streamed};

/// What parts and their heads may add to the size of a file, in bytes.
const AROUND: usize = 256 << 10;
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// A file on its way from another server.
pub struct RemoteFile {
    /// What the other server says that it is.
    pub content_type: Option<String>,
    /// Its name.
    pub filename: Option<String>,
    /// The bytes.
    pub content: Pieces,
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteFile").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

impl RemoteFile {
    fn new(headers: &HeaderMap, content: Pieces) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let disposition = headers.get(header::CONTENT_DISPOSITION);
        let disposition = disposition.and_then(|value| ContentDisposition::try_from(value.as_bytes()).ok());
        Self {
            content_type: text(header::CONTENT_TYPE).map(ToOwned::to_owned),
            filename: disposition.and_then(|disposition| disposition.filename),
            content,
        }
    }
}

impl Federation {
    /// Asks the server of a file for it. `wait`: how long that server may wait for an upload; within `limits` in any case, whose
    /// `max_body` is for the file.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn fetch_media(
        &self,
        server: &ServerName,
        media_id: &str,
        wait: Duration,
        limits: CallLimits,
    ) -> Result<RemoteFile, CallError> {
        let (id, wait) = (encoded(media_id), wait.as_millis());
        let around = CallLimits { max_body: limits.max_body.saturating_add(AROUND), ..limits };
        let target = format!("/_matrix/federation/v1/media/download/{id}?timeout_ms={wait}");
        match self.client.file(server, target, true, around).await {
            Ok(answer) => self.second_part(answer, limits).await,
            Err(error) if is_older(&error) => {
                let target = format!(
                    "/_matrix/media/v3/download/{}/{id}?allow_remote=false&timeout_ms={wait}",
                    encoded(server.as_str())
                );
                let answer = self.client.file(server, target, false, limits).await?;
                Ok(RemoteFile::new(&answer.headers, answer.body))
            }
            Err(error) => Err(error),
        }
    }

    async fn second_part(&self, answer: Streamed, limits: CallLimits) -> Result<RemoteFile, CallError> {
        let content_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = content_type.and_then(boundary);
        let boundary = boundary.ok_or_else(|| CallError::BadReply("it is not in parts".to_owned()))?;
        let mut parts = Parts::new(answer.body, &boundary);
        parts.head().await?;
        let head = parts.head().await?;
        match head.get(header::LOCATION) {
            Some(location) => {
                let url = location.to_str().ok().and_then(|location| Url::parse(location).ok());
                self.follow(url.ok_or_else(|| CallError::BadReply("it points to nowhere".to_owned()))?, limits).await
            }
            None => Ok(RemoteFile::new(&head, parts.content())),
        }
    }

    /// Gets a file from where its server says that it is.
    async fn follow(&self, mut url: Url, limits: CallLimits) -> Result<RemoteFile, CallError> {
        let elsewhere = |why: String| CallError::BadReply(format!("it points elsewhere: {why}"));
        for _ in 0..=MAX_REDIRECTS {
            if url.scheme() != "https" {
                return Err(elsewhere(format!("{} is not HTTPS", url.scheme())));
            }
            let answer = self.client.web(&url, limits).await?;
            if answer.status == StatusCode::OK {
                return Ok(RemoteFile::new(&answer.headers, answer.body));
            }
            let to = answer.headers.get(header::LOCATION).filter(|_| answer.status.is_redirection());
            let to = to
                .and_then(|to| to.to_str().ok())
                .ok_or_else(|| elsewhere(format!("the answer is {}", answer.status)))?;
            url = url.join(to).map_err(|error| elsewhere(error.to_string()))?;
        }
        Err(elsewhere("too many redirects".to_owned()))
    }
}

/// Whether a server does not know the endpoint: it says so, or what answers there speaks no Matrix.
fn is_older(error: &CallError) -> bool {
    match error {
        CallError::Status { status, errcode, body, .. } => {
            errcode == "M_UNRECOGNIZED" || (status.is_client_error() && body.is_none())
        }
        _ => false,
    }
}
