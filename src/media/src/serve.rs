//! How content is served: headers under which nothing in it can do harm.

use axum::{body::Body, response::Response};
use http::{HeaderName, HeaderValue, header};
use ruma::http_headers::{ContentDisposition, ContentDispositionType};

use crate::blobs::Content;

/// What content is that says nothing of itself.
pub(crate) const UNKNOWN: &str = "application/octet-stream";
/// The longest content type and file name that are kept, in bytes.
const MAX_TYPE: usize = 255;
pub(crate) const MAX_NAME: usize = 1024;

/// As the [specification recommends](https://spec.matrix.org/v1.19/client-server-api/#content-repository).
const POLICY: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; \
     object-src 'self';",
);
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// What an address shows never changes. Only the one who asked may keep it.
const CACHE: HeaderValue = HeaderValue::from_static("private, max-age=86400, immutable");

/// Types that a browser may show in place.
/// [Serving inline content](https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content).
const INLINE: [&str; 26] = [
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// A content type that can be kept: what was said, where it is short and fit for a header.
pub(crate) fn content_type(said: Option<&str>) -> String {
    let fit = said.map(str::trim).filter(|said| !said.is_empty() && said.len() <= MAX_TYPE);
    let fit = fit.filter(|said| said.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    fit.unwrap_or(UNKNOWN).to_owned()
}

/// A file name that can be kept. Too long a one of another server is cut.
pub(crate) fn filename(said: Option<String>) -> Option<String> {
    let mut name = said.filter(|name| !name.is_empty())?;
    name.truncate(name.floor_char_boundary(MAX_NAME));
    Some(name)
}

/// The `Content-Disposition` of a file.
pub(crate) fn disposition(content_type: &str, filename: Option<&str>) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let inline = INLINE.iter().any(|safe| essence.eq_ignore_ascii_case(safe));
    let kind = if inline { ContentDispositionType::Inline } else { ContentDispositionType::Attachment };
    ContentDisposition::new(kind).with_filename(filename.map(ToOwned::to_owned)).to_string()
}

/// A file on its way out.
pub(crate) struct Served {
    pub(crate) content_type: String,
    pub(crate) filename: Option<String>,
    pub(crate) size: u64,
    pub(crate) content: Content,
}

impl Served {
    /// The response.
    pub(crate) fn response(self) -> Response {
        let text = |text: &str, or: &'static str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(or));
        let disposition = text(&disposition(&self.content_type, self.filename.as_deref()), "attachment");
        let content_type = text(&self.content_type, UNKNOWN);
        let mut response = Response::new(Body::from_stream(self.content));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CONTENT_DISPOSITION, disposition);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.size));
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, CACHE);
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(CORP, HeaderValue::from_static("cross-origin"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_types_are_shown_in_place() {
        for inline in ["image/png", "Text/Plain; charset=utf-8", "text/plain;x", " video/mp4 "] {
            assert_eq!(disposition(inline, None), "inline", "{inline}");
        }
        for not in ["image/svg+xml", "image/svg", "text/html", "application/pdf", "text/plainx", "", UNKNOWN] {
            assert_eq!(disposition(not, None), "attachment", "{not}");
        }
    }

    #[test]
    fn names_are_quoted_and_encoded() {
        assert_eq!(disposition("image/png", Some("ascii")), "inline; filename=ascii");
        assert_eq!(disposition("image/png", Some("a;b c")), "inline; filename=\"a;b c\"");
        assert_eq!(disposition("x/y", Some("\u{2615}")), "attachment; filename*=utf-8''%E2%98%95");
        assert!(!disposition("x/y", Some("a\r\nSet-Cookie: b")).contains(['\r', '\n']));
    }

    #[test]
    fn types_that_fit_no_header_are_unknown() {
        assert_eq!(content_type(Some("img/png")), "img/png");
        for bad in [None, Some(""), Some("a\r\nb"), Some("t\u{e9}xt/plain"), Some(&*"x".repeat(256))] {
            assert_eq!(content_type(bad), UNKNOWN, "{bad:?}");
        }
    }
}
