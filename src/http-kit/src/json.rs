//! Bounds on JSON that serde does not set, and finding the field that an error is about.

/// The deepest nesting of arrays and objects that a request body may have. `serde_json` stops recursive types at 128 but
/// skips over raw values at any depth, and those are parsed again later.
pub const MAX_JSON_DEPTH: usize = 100;

/// Whether no array or object in `json` is nested deeper than `limit`. The text need not be valid.
pub fn depth_within(json: &[u8], limit: usize) -> bool {
    let mut depth = 0_usize;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

/// One array or object that is open at the place searched for.
enum Open {
    Object { key: Option<String> },
    Array { index: usize },
}

/// The path (`splits[2].amount`) of the value that lies before the given place of a valid JSON text, as serde reports
/// places: lines and columns count from 1. `None` where serde gave no place, or the value is the whole text.
///
/// `whole` asks for the object that ends there, not for the last value in it.
pub(crate) fn path_at(json: &[u8], line: usize, column: usize, whole: bool) -> Option<String> {
    let end = offset_of(json, line, column)?;
    let text = relevant(json.get(..end)?, whole);
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let close = string_end(text, at)?;
                note_key(&mut open, json, at, close);
                at = close;
            }
            b'{' => open.push(Open::Object { key: None }),
            b'[' => open.push(Open::Array { index: 0 }),
            b'}' | b']' => {
                open.pop();
            }
            b',' => step(&mut open),
            _ => {}
        }
        at += 1;
    }
    let path = render(&open);
    (!path.is_empty()).then_some(path)
}

/// Cuts what serde has read or seen beyond the value that is wrong: the separator after it, the bracket that opens it
/// (a map where a string was due), and the bracket that closes what it is in (errors found in a complete string).
fn relevant(text: &[u8], whole: bool) -> &[u8] {
    let mut text = text;
    while let [rest @ .., b' ' | b'\t' | b'\n' | b'\r' | b','] = text {
        text = rest;
    }
    match text {
        [rest @ .., b'{' | b'['] => rest,
        [rest @ .., b'}' | b']'] if !whole => rest,
        text => text,
    }
}

fn offset_of(json: &[u8], line: usize, column: usize) -> Option<usize> {
    let mut start = 0;
    for _ in 1..line.max(1) {
        start += json.get(start..)?.iter().position(|byte| *byte == b'\n')? + 1;
    }
    (line > 0).then_some((start + column).min(json.len()))
}

/// The index of the quote that closes the string whose opening quote is at `start`, or the last index.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut bytes = text.get(start + 1..)?.iter();
    skip_string(&mut bytes);
    Some(text.len() - bytes.as_slice().len() - 1)
}

fn note_key(open: &mut [Open], json: &[u8], start: usize, close: usize) {
    let Some(Open::Object { key }) = open.last_mut() else {
        return;
    };
    let follows = json.get(close + 1..).unwrap_or_default();
    let is_key = follows.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
    if is_key {
        *key = json.get(start..=close).and_then(|raw| serde_json::from_slice(raw).ok());
    }
}

fn step(open: &mut [Open]) {
    match open.last_mut() {
        Some(Open::Object { key }) => *key = None,
        Some(Open::Array { index }) => *index += 1,
        None => {}
    }
}

fn render(open: &[Open]) -> String {
    let mut path = String::new();
    for part in open {
        match part {
            Open::Object { key: Some(key) } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Open::Object { key: None } => {}
            Open::Array { index } => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        assert!(depth_within(br#"{"a":[1]}"#, 2));
        assert!(!depth_within(br#"{"a":[[1]]}"#, 2));
        assert!(depth_within(br#"{"a":"[[[[[\"[["}"#, 1));
        assert!(depth_within(br#"[[],[],[]]"#, 2));
        assert!(depth_within(br#"]]]][["#, 2));
    }

    #[derive(Debug, Deserialize)]
    struct Split {
        #[serde(rename = "amount")]
        _amount: String,
    }

    #[derive(Debug, Deserialize)]
    struct Expense {
        #[serde(rename = "splits")]
        _splits: Vec<Split>,
        #[serde(rename = "note", default)]
        _note: Option<String>,
    }

    fn path_of(text: &str) -> Option<String> {
        let error = serde_json::from_str::<Expense>(text).unwrap_err();
        path_at(text.as_bytes(), error.line(), error.column(), error.to_string().starts_with("missing"))
    }

    #[test]
    fn an_error_is_traced_to_its_field() {
        assert_eq!(path_of(r#"{"splits": 3}"#).as_deref(), Some("splits"));
        assert_eq!(path_of(r#"{"splits": [{"amount": "1"}, {"amount": 2}]}"#).as_deref(), Some("splits[1].amount"));
        assert_eq!(path_of("{\"splits\": [],\n \"note\":\n  12.5}").as_deref(), Some("note"));
        assert_eq!(path_of(r#"{"splits": "a,b{"}"#).as_deref(), Some("splits"));
        assert_eq!(path_of(r#"{"note": {"a": [1, 2]}, "splits": []}"#).as_deref(), Some("note"));
        assert_eq!(path_of(r#"{"note": [1, 2], "splits": []}"#).as_deref(), Some("note"));
        assert_eq!(path_of(r#"{"splits": [{"amount": "1"} , {}]}"#).as_deref(), Some("splits[1]"));
        assert_eq!(path_of(r#"{"note": "x"}"#), None);
        assert_eq!(path_of("3"), None);
    }

    #[test]
    fn an_error_within_a_string_is_traced_too() {
        #[derive(Debug, Deserialize)]
        struct Ids {
            #[serde(rename = "ids")]
            _ids: Vec<ruma::OwnedUserId>,
            #[serde(rename = "me")]
            _me: Option<ruma::OwnedUserId>,
        }
        for (text, path) in [
            (r#"{"me": "bob"}"#, "me"),
            (r#"{"me": "bob" , "ids": []}"#, "me"),
            (r#"{"ids": ["@a:b", "bob" , "@c:d"]}"#, "ids[1]"),
            (r#"{"ids": ["@a:b", "bob" ] }"#, "ids[1]"),
        ] {
            let error = serde_json::from_str::<Ids>(text).unwrap_err();
            assert_eq!(path_at(text.as_bytes(), error.line(), error.column(), false).as_deref(), Some(path), "{text}");
        }
    }
}
