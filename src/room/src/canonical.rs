//! Canonical JSON: a bounded parser and the printer of single values.
//!
//! The parser goes straight to ruma's [`CanonicalJsonObject`] in one pass and says *why* it refuses an input, which a client
//! must be told apart (`M_BAD_JSON`, `M_NOT_JSON`).

use std::{cell::Cell, fmt};

use ruma::{CanonicalJsonObject, CanonicalJsonValue, Int};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Deepest nesting of arrays and objects in an event's content; the content object itself is level 1.
pub const MAX_CONTENT_DEPTH: usize = 100;

/// Deepest nesting in a whole event: its content is one level down.
pub const MAX_EVENT_DEPTH: usize = MAX_CONTENT_DEPTH + 1;

/// Why a text is not acceptable as canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// Valid JSON, but not an object.
    #[error("expected a JSON object")]
    NotAnObject,
    /// Nested deeper than the limit.
    #[error("JSON is nested more than {0} levels deep")]
    TooDeep(usize),
    /// A number with a fraction or an exponent, a negative zero, or beyond 64 bits.
    #[error("numbers must be integers")]
    Float,
    /// An integer outside −(2^53 − 1) to 2^53 − 1.
    #[error("integer is outside the range of canonical JSON")]
    IntegerOutOfRange,
}

/// Parses `json` into an object, with at most `max_depth` levels of nesting.
///
/// Of a repeated key the last value wins, as in most JSON parsers. The work is linear in the length of `json`, which the caller
/// bounds.
///
/// # Errors
/// See [`JsonError`].
pub fn parse_object(json: &str, max_depth: usize) -> Result<CanonicalJsonObject, JsonError> {
    let refusal = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let seed = ValueSeed { left: max_depth, max: max_depth, refusal: &refusal };
    let value = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    match (value, refusal.take()) {
        (_, Some(refusal)) => Err(refusal),
        (Ok(CanonicalJsonValue::Object(object)), None) => Ok(object),
        (Ok(_), None) => Err(JsonError::NotAnObject),
        (Err(error), None) => Err(JsonError::Syntax(error.to_string())),
    }
}

/// Prints an object as canonical JSON. (Keys are ordered by the map; nothing in such an object can fail to print.)
pub fn print_object(object: &CanonicalJsonObject) -> String {
    serde_json::to_string(object).unwrap_or_default()
}

/// Appends `text` as a canonical JSON string.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = tail.chars();
        if let Some(special) = chars.next() {
            push_escape(out, special);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn push_escape(out: &mut String, special: char) {
    match special {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\u{c}' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        other => {
            const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
            let code = other as usize;
            out.push_str("\\u00");
            out.extend(DIGITS.get((code >> 4) & 0xf));
            out.extend(DIGITS.get(code & 0xf));
        }
    }
}

#[derive(Clone, Copy)]
struct ValueSeed<'a> {
    left: usize,
    max: usize,
    refusal: &'a Cell<Option<JsonError>>,
}

impl ValueSeed<'_> {
    fn refuse<E: serde::de::Error>(&self, reason: JsonError) -> E {
        let error = E::custom(&reason);
        self.refusal.set(Some(reason));
        error
    }

    /// The seed for what is inside a container found here.
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => Err(self.refuse(JsonError::TooDeep(self.max))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = CanonicalJsonValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = CanonicalJsonValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        match Int::new(value) {
            Some(int) => Ok(CanonicalJsonValue::Integer(int)),
            None => Err(self.refuse(JsonError::IntegerOutOfRange)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Err(self.refuse(JsonError::IntegerOutOfRange)),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, _value: f64) -> Result<Self::Value, E> {
        Err(self.refuse(JsonError::Float))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let inside = self.inside::<A::Error>()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(CanonicalJsonValue::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let inside = self.inside::<A::Error>()?;
        let mut object = CanonicalJsonObject::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(inside)?;
            object.insert(key, value);
        }
        Ok(CanonicalJsonValue::Object(object))
    }
}
