//! Finding the few bytes of an answer that matter.

use memchr::memmem;

/// The value of the first JSON string member `key`, found without parsing. `None` where there is none, or where it
/// holds an escape: tokens, room ids and user ids do not.
#[must_use]
pub fn string_member<'a>(json: &'a [u8], key: &str) -> Option<&'a str> {
    let quoted = format!("\"{key}\"");
    let at = memmem::find(json, quoted.as_bytes())?;
    let rest = json.get(at + quoted.len()..)?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', rest)?;
    (rest.get(end) == Some(&b'"')).then(|| std::str::from_utf8(rest.get(..end)?).ok())?
}

/// What a measured message carries in its body, so that its arrival is found by looking for bytes.
const MARK: &[u8] = b"lt~";

/// The JSON of a measured message with the number `sequence`. About 200 bytes, as chat is.
#[must_use]
pub fn message(sequence: usize) -> String {
    format!(
        "{{\"msgtype\":\"m.text\",\"body\":\"lt~{sequence}~ Shall we split the taxi as well, or does somebody \
         pay it alone and we settle up on Sunday when everybody is back from the lake?\"}}"
    )
}

/// Calls `found` with the number of every measured message in an answer.
pub fn each_message(json: &[u8], mut found: impl FnMut(usize)) {
    for at in memmem::find_iter(json, MARK) {
        let digits = json.get(at + MARK.len()..).unwrap_or_default();
        let mut sequence = 0_usize;
        for byte in digits {
            match byte {
                b'0'..=b'9' => {
                    sequence = sequence.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
                }
                b'~' => {
                    found(sequence);
                    break;
                }
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_member() {
        assert_eq!(string_member(b"{\"a\" : \"b\"}", "a"), Some("b"));
        assert_eq!(string_member(b"{\"next_batch\":\"s1_2\",\"x\":1}", "next_batch"), Some("s1_2"));
        assert_eq!(string_member(b"{\"a\":1}", "a"), None);
        assert_eq!(string_member(b"{\"a\":\"x\\\"y\"}", "a"), None);
        assert_eq!(string_member(b"{\"a\":\"x", "a"), None);
    }

    #[test]
    fn finds_every_message() {
        let answer = format!("[{},{}]lt~9", message(17), message(4));
        let mut found = Vec::new();
        each_message(answer.as_bytes(), |sequence| found.push(sequence));
        assert_eq!(found, [17, 4]);
    }
}
