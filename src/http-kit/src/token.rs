//! Finding the access token, and single values in a query string.

use std::borrow::Cow;

use http::{HeaderMap, header};

const SCHEME: &str = "bearer ";

/// The access token of a request: from the `Authorization` header, else from the deprecated `access_token` query field.
pub(crate) fn access_token<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Option<Cow<'a, str>> {
    bearer(headers).map(Cow::Borrowed).or_else(|| query_value(query?, "access_token")).filter(|token| !token.is_empty())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim())
}

/// The first value of `key` in a query string, decoded. `None` if it is absent or not UTF-8.
pub(crate) fn query_value<'a>(query: &'a str, key: &str) -> Option<Cow<'a, str>> {
    query
        .split('&')
        .find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name == key).then_some(value)
        })
        .and_then(decode)
}

fn decode(value: &str) -> Option<Cow<'_, str>> {
    if !value.contains(['%', '+']) {
        return Some(Cow::Borrowed(value));
    }
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn header(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_header_comes_before_the_query() {
        let query = Some("a=b&access_token=q%2B1+x");
        assert_eq!(access_token(&header("Bearer abc"), query).as_deref(), Some("abc"));
        assert_eq!(access_token(&header("bearer abc"), None).as_deref(), Some("abc"));
        assert_eq!(access_token(&HeaderMap::new(), query).as_deref(), Some("q+1 x"));
    }

    #[test]
    fn what_is_no_token_is_none() {
        for value in ["Basic abc", "Bearer", "Bearer ", ""] {
            assert_eq!(access_token(&header(value), None), None, "{value}");
        }
        for query in ["", "access_token", "access_token=", "xaccess_token=a", "access_token=%zz", "access_token=%ff%fe"]
        {
            assert_eq!(access_token(&HeaderMap::new(), Some(query)), None, "{query}");
        }
    }
}
