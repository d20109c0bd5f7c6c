//! From bytes to text, whatever the encoding.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// Where a page names its own encoding, it does so within so many bytes.
/// [Prescan](https://html.spec.whatwg.org/multipage/parsing.html#prescan-a-byte-stream-to-determine-its-encoding).
const PRESCAN: usize = 1024;

/// A page's text: by its byte order mark, by what its server says, by what it says itself, and else as UTF-8 where it is that.
pub(super) fn decode(bytes: &[u8], content_type: Option<&str>) -> String {
    let said = content_type.and_then(charset).and_then(|label| Encoding::for_label(label.as_bytes()));
    let encoding = said.or_else(|| named_within(bytes)).unwrap_or_else(|| {
        // The end may be cut within a character.
        let is_utf8 = std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true);
        if is_utf8 { UTF_8 } else { WINDOWS_1252 }
    });
    // It looks for the mark first.
    encoding.decode(bytes).0.into_owned()
}

/// The `charset` of a content type.
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']))
    })
}

/// What stands behind the first `charset=` of a page.
fn named_within(bytes: &[u8]) -> Option<&'static Encoding> {
    let start = bytes.get(..PRESCAN.min(bytes.len()))?.to_ascii_lowercase();
    let at = start.windows(8).position(|window| window == b"charset=")? + 8;
    let rest = start.get(at..)?;
    let label = rest.split(|byte| b"\"' />;".contains(byte)).find(|part| !part.is_empty())?;
    let encoding = Encoding::for_label(label)?;
    // What can be read as ASCII this far is not UTF-16, whatever it says.
    Some(if encoding.is_ascii_compatible() { encoding } else { UTF_8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_found_where_they_are_named() {
        assert_eq!(decode("é".as_bytes(), None), "é");
        assert_eq!(decode(b"\xe9!", None), "é!");
        assert_eq!(decode(b"\xe9", Some("text/html; charset=ISO-8859-1")), "é");
        assert_eq!(decode(b"\xcf\xf0\xe8", Some("text/html;x=y; Charset=\"windows-1251\"")), "При");
        assert_eq!(decode(b"<meta charset='shift_jis'>\x93\x8c", None), "<meta charset='shift_jis'>東");
        let by_equiv = b"<meta http-equiv=Content-Type content=\"text/html; charset=koi8-r\">\xf0";
        assert!(decode(by_equiv, None).ends_with('П'));
        assert_eq!(decode(b"\xff\xfeh\0i\0", Some("text/html; charset=utf-8")), "hi", "the mark decides");
        assert_eq!(decode(b"<meta charset=utf-16>\xc3\xa9", None), "<meta charset=utf-16>é");
        assert_eq!(decode("aé".as_bytes().get(..2).unwrap(), None), "a\u{fffd}", "cut, but UTF-8");
        assert_eq!(decode(b"x", Some("text/html; charset=nonsense")), "x");
    }
}
