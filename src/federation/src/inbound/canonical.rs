//! The canonical form of a whole body, which is what its sender signed.
//! [Canonical JSON](https://spec.matrix.org/v1.19/appendices/#canonical-json).
//!
//! Laxer than the form of an event: fractions are kept, since rooms of the first versions have events with them. And without recursion:
//! events of strangers stand in it, nested as deeply as they like, and a body that could not be checked would be sent for ever.

use std::{collections::BTreeMap, ops::Range};

use serde::de::IgnoredAny;
use serde_json::Value;

/// A value of the text, those in it by their numbers.
enum Node {
    Scalar(Range<usize>),
    Array(Vec<usize>),
    Object(BTreeMap<String, usize>),
}

/// What is still to be written.
enum Step<'a> {
    Node(usize),
    Key(&'a str),
    Text(&'static str),
}

/// The canonical form of a JSON text.
///
/// # Errors
/// Where it is no JSON.
pub(crate) fn canonical(json: &str) -> Result<String, serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(json)?;
    write(json, &parse(json)?)
}

/// Takes valid JSON apart; the first node is the whole.
fn parse(json: &str) -> Result<Vec<Node>, serde_json::Error> {
    let bytes = json.as_bytes();
    let mut nodes: Vec<Node> = Vec::new();
    let mut open: Vec<(usize, Option<String>)> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b'"' => string_end(bytes, at),
            b'{' | b'[' | b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => at + 1,
            _ => scalar_end(bytes, at),
        };
        match byte {
            b'}' | b']' => {
                open.pop();
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' if is_key_due(&nodes, &open) => {
                let key = serde_json::from_str(json.get(at..end).unwrap_or_default())?;
                if let Some((_, due)) = open.last_mut() {
                    *due = Some(key);
                }
            }
            opening => {
                let number = nodes.len();
                attach(&mut nodes, &mut open, number);
                nodes.push(match opening {
                    b'{' => Node::Object(BTreeMap::new()),
                    b'[' => Node::Array(Vec::new()),
                    _ => Node::Scalar(at..end),
                });
                if matches!(opening, b'{' | b'[') {
                    open.push((number, None));
                }
            }
        }
        at = end;
    }
    Ok(nodes)
}

fn is_key_due(nodes: &[Node], open: &[(usize, Option<String>)]) -> bool {
    open.last().is_some_and(|(number, key)| key.is_none() && matches!(nodes.get(*number), Some(Node::Object(_))))
}

/// Puts a node into the one that is open. Of two fields of one name the last counts.
fn attach(nodes: &mut [Node], open: &mut [(usize, Option<String>)], number: usize) {
    let Some((parent, key)) = open.last_mut() else { return };
    match (nodes.get_mut(*parent), key.take()) {
        (Some(Node::Array(items)), _) => items.push(number),
        (Some(Node::Object(fields)), Some(key)) => {
            fields.insert(key, number);
        }
        _ => {}
    }
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn scalar_end(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
    start + rest.iter().position(ends).unwrap_or(rest.len())
}

fn write(json: &str, nodes: &[Node]) -> Result<String, serde_json::Error> {
    let mut out = String::with_capacity(json.len());
    let mut steps = vec![Step::Node(0)];
    while let Some(step) = steps.pop() {
        match step {
            Step::Text(text) => out.push_str(text),
            Step::Key(key) => {
                out.push_str(&serde_json::to_string(key)?);
                out.push(':');
            }
            Step::Node(number) => match nodes.get(number) {
                Some(Node::Scalar(range)) => write_scalar(&mut out, json.get(range.clone()).unwrap_or_default())?,
                Some(Node::Array(items)) => {
                    out.push('[');
                    steps.push(Step::Text("]"));
                    for (nth, item) in items.iter().enumerate().rev() {
                        steps.push(Step::Node(*item));
                        if nth > 0 {
                            steps.push(Step::Text(","));
                        }
                    }
                }
                Some(Node::Object(fields)) => {
                    out.push('{');
                    steps.push(Step::Text("}"));
                    for (nth, (key, value)) in fields.iter().enumerate().rev() {
                        steps.extend([Step::Node(*value), Step::Key(key)]);
                        if nth > 0 {
                            steps.push(Step::Text(","));
                        }
                    }
                }
                None => {}
            },
        }
    }
    Ok(out)
}

/// Most scalars are as they must be already.
fn write_scalar(out: &mut String, text: &str) -> Result<(), serde_json::Error> {
    let plain = match text.as_bytes() {
        [b'"', ..] => !text.contains('\\'),
        [b'-' | b'0'..=b'9', ..] => text != "-0" && !text.contains(['.', 'e', 'E']),
        _ => true,
    };
    if plain {
        out.push_str(text);
    } else {
        out.push_str(&serde_json::to_string(&serde_json::from_str::<Value>(text)?)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_form_that_ruma_makes() {
        for text in [
            "{}",
            "[]",
            "3",
            r#" { "b" : [ 1 , -2,{"z":null,"a":true}, [] ] , "a" : "x\u0041\n\/\"\u001f" } "#,
            r#"{"é":1,"\u007a":{"k":[[],{}]},"日":"\u65e5本","":0,"a":"{[,:"}"#,
            r#"{"a\"b":1,"a\\":2,"a":9007199254740991}"#,
        ] {
            let ruma: ruma::CanonicalJsonValue = serde_json::from_str(text).unwrap();
            assert_eq!(canonical(text).unwrap(), serde_json::to_string(&ruma).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_ruma_does_not_take_is_taken_too() {
        assert_eq!(canonical(r#"{"b": 1.50, "a": [1e2, -0.5]}"#).unwrap(), r#"{"a":[100.0,-0.5],"b":1.5}"#);
        assert_eq!(canonical(r#"{"a": 1, "a": 2}"#).unwrap(), r#"{"a":2}"#);
        let deep = format!("{}{}", r#"{"a": ["#.repeat(5000), "]}".repeat(5000));
        assert_eq!(canonical(&deep).unwrap(), deep.replace(' ', ""));
        for text in ["", "{", "{]", "[1,]", "nul", r#"{"a" 1}"#, "{} {}", "\"\u{1}\""] {
            assert!(canonical(text).is_err(), "{text}");
        }
    }
}
