//! `multipart/mixed` as it comes, its last part as a stream.
//! [RFC 2046, 5.1](https://www.rfc-editor.org/rfc/rfc2046#section-5.1).

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;

use crate::{CallError, TransportError};

/// A body on its way.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, TransportError>>;

/// The longest preamble, head of a part, or part that is skipped, in bytes.
const MAX: usize = 64 << 10;
/// The longest boundary, in bytes.
const MAX_BOUNDARY: usize = 70;

fn bad(why: &str) -> CallError {
    CallError::BadReply(format!("its parts: {why}"))
}

/// The boundary that a `Content-Type` names.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let named = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let mut named = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let boundary = named.next()?.1.trim().trim_matches('"');
    (1..=MAX_BOUNDARY).contains(&boundary.len()).then(|| boundary.to_owned())
}

/// Reads parts one after the other.
pub(super) struct Parts {
    body: Pieces,
    read: BytesMut,
    /// What stands before each part and behind the last.
    delimiter: Vec<u8>,
}

impl Parts {
    pub(super) fn new(body: Pieces, boundary: &str) -> Self {
        // The first boundary may stand at the very start, without the line break that belongs to the others.
        Self { body, read: BytesMut::from(&b"\r\n"[..]), delimiter: format!("\r\n--{boundary}").into_bytes() }
    }

    async fn more(&mut self) -> Result<(), CallError> {
        let piece = self.body.next().await.ok_or_else(|| bad("they end early"))??;
        self.read.extend_from_slice(&piece);
        Ok(())
    }

    /// Reads to what is looked for, and past it.
    async fn past(&mut self, wanted: &[u8]) -> Result<BytesMut, CallError> {
        let mut seen = 0;
        loop {
            let from = seen.min(self.read.len());
            if let Some(at) = self.read.get(from..).and_then(|rest| memmem::find(rest, wanted)) {
                let before = self.read.split_to(from + at);
                self.read.advance(wanted.len());
                return Ok(before);
            }
            if self.read.len() > MAX {
                return Err(bad("one is too long"));
            }
            seen = self.read.len().saturating_sub(wanted.len() - 1);
            self.more().await?;
        }
    }

    /// The head of the next part; whatever is before it is skipped.
    pub(super) async fn head(&mut self) -> Result<HeaderMap, CallError> {
        let delimiter = self.delimiter.clone();
        self.past(&delimiter).await?;
        let rest = self.past(b"\n").await?;
        if rest.starts_with(b"--") {
            return Err(bad("there are too few"));
        }
        let (mut headers, mut length) = (HeaderMap::new(), 0);
        loop {
            let line = self.past(b"\n").await?;
            let line = line.trim_ascii();
            length += line.len();
            if line.is_empty() {
                return Ok(headers);
            }
            if length > MAX {
                return Err(bad("a head is too long"));
            }
            let colon = memchr::memchr(b':', line).ok_or_else(|| bad("a header without a colon"))?;
            let (name, value) = line.split_at(colon);
            let name = HeaderName::from_bytes(name.trim_ascii());
            let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
    }

    /// The content of the part whose head was read last, to the next boundary.
    pub(super) fn content(self) -> Pieces {
        futures::stream::unfold(Some(self), |parts| async move {
            let mut parts = parts?;
            loop {
                if let Some(at) = memmem::find(&parts.read, &parts.delimiter) {
                    let last = parts.read.split_to(at).freeze();
                    return (!last.is_empty()).then_some((Ok(last), None));
                }
                // What may be the start of the delimiter waits for what comes next.
                let sure = parts.read.len().saturating_sub(parts.delimiter.len() - 1);
                if sure > 0 {
                    return Some((Ok(parts.read.split_to(sure).freeze()), Some(parts)));
                }
                match parts.body.next().await {
                    Some(Ok(piece)) => parts.read.extend_from_slice(&piece),
                    Some(Err(error)) => return Some((Err(error), None)),
                    None => {
                        let error = TransportError::Unreachable("the file broke off".to_owned());
                        return Some((Err(error), None));
                    }
                }
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(text: &str, size: usize) -> Pieces {
        let pieces: Vec<_> = text.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        futures::stream::iter(pieces).boxed()
    }

    async fn second(text: &str, size: usize) -> Result<(HeaderMap, Vec<u8>), String> {
        let mut parts = Parts::new(in_pieces(text, size), "b");
        parts.head().await.map_err(|error| error.to_string())?;
        let head = parts.head().await.map_err(|error| error.to_string())?;
        let mut content = parts.content();
        let mut out = Vec::new();
        while let Some(piece) = content.next().await {
            out.extend_from_slice(&piece.map_err(|error| error.to_string())?);
        }
        Ok((head, out))
    }

    #[tokio::test]
    async fn the_second_part_is_read_however_it_is_cut() {
        let whole = [
            "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nCONTENT-type:  text/plain \r\n\r\nsome\r\n--a\r\n-\r\ntext\r\n--b--\r\n",
            "\r\n--b\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\n\r\nsome\r\n--a\r\n-\r\ntext\r\n--b--",
            "skip --b me\r\n--b  \nx: y\n\n{}\r\n--b\ncontent-type: text/plain\n\nsome\r\n--a\r\n-\r\ntext\r\n--b",
        ];
        for text in whole {
            for size in 1..text.len() {
                let (head, content) = second(text, size).await.unwrap();
                assert_eq!(head["content-type"], "text/plain");
                assert_eq!(String::from_utf8(content).unwrap(), "some\r\n--a\r\n-\r\ntext", "{size}");
            }
        }
        let (_, nothing) = second("--b\r\n\r\n{}\r\n--b\r\n\r\n\r\n--b--", 3).await.unwrap();
        assert!(nothing.is_empty());
    }

    #[tokio::test]
    async fn what_is_not_two_parts_is_refused() {
        let broken = [
            "",
            "--b--\r\n",
            "--b\r\n\r\n{}\r\n--b--\r\n",
            "--b\r\n\r\n{}\r\n--b\r\nno colon\r\n\r\nx\r\n--b--",
            "--b\r\n\r\n{}\r\n--b\r\n\r\nit breaks off",
        ];
        for text in broken {
            assert!(second(text, 5).await.is_err(), "{text}");
        }
        assert!(second(&format!("--b\r\n\r\n{}", "x".repeat(MAX + 10)), 1000).await.is_err());
        let head = format!("--b\r\n{}\r\n", "a: b\r\n".repeat(MAX));
        assert!(second(&head, 1000).await.is_err());
    }

    #[test]
    fn the_boundary_is_found() {
        assert_eq!(boundary("multipart/mixed; boundary=abc").as_deref(), Some("abc"));
        assert_eq!(boundary("Multipart/Mixed;charset=x; Boundary=\"a b\"").as_deref(), Some("a b"));
        for none in ["text/plain", "multipart/mixed", "multipart/mixed; boundary=", "text/plain; boundary=a"] {
            assert_eq!(boundary(none), None, "{none}");
        }
    }
}
