//! Reading JSON with the path of the field at fault in every error.

use serde_json::{Map, Value};

use crate::ids::{EventId, Person, is_event_id, is_person, is_uid, is_user_id};
use crate::money::{Amount, Currency};

/// Why an entry is invalid: the JSON path of the field at fault (`owed[1].amount`; empty for the content as a whole)
/// and the reason in a few words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// The JSON path below the event's content.
    pub field: String,
    /// Why, in English.
    pub reason: String,
}

impl Invalid {
    /// An error at `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// Result of reading.
pub(crate) type Read<T> = Result<T, Invalid>;

/// Joins a path and a member name.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A JSON object and where it stands.
pub(crate) struct Obj<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Obj<'a> {
    /// `value` as an object that stands at `path`.
    pub(crate) fn new(value: &'a Value, path: impl Into<String>) -> Read<Self> {
        let path = path.into();
        match value.as_object() {
            Some(map) => Ok(Self { map, path }),
            None => Err(Invalid::new(path, "must be an object")),
        }
    }

    pub(crate) fn at(&self, name: &str) -> String {
        join(&self.path, name)
    }

    pub(crate) fn fail<T>(&self, name: &str, reason: impl Into<String>) -> Read<T> {
        Err(Invalid::new(self.at(name), reason))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name)
    }

    pub(crate) fn need(&self, name: &str) -> Read<&'a Value> {
        self.get(name).ok_or_else(|| Invalid::new(self.at(name), "is missing"))
    }

    pub(crate) fn str(&self, name: &str) -> Read<&'a str> {
        self.need(name)?.as_str().ok_or_else(|| Invalid::new(self.at(name), "must be a string"))
    }

    pub(crate) fn opt_str(&self, name: &str) -> Read<Option<&'a str>> {
        if self.get(name).is_none() { Ok(None) } else { self.str(name).map(Some) }
    }

    /// One line of text for people: at most `max` characters, no control characters.
    pub(crate) fn line(&self, name: &str, max: usize) -> Read<String> {
        let text = self.str(name)?;
        if text.trim().is_empty() {
            return self.fail(name, "must not be empty");
        }
        self.checked(name, text, max, false)
    }

    pub(crate) fn opt_line(&self, name: &str, max: usize) -> Read<Option<String>> {
        self.opt_str(name)?.map(|text| self.checked(name, text, max, false)).transpose()
    }

    /// Text that may have several lines.
    pub(crate) fn opt_text(&self, name: &str, max: usize) -> Read<Option<String>> {
        self.opt_str(name)?.map(|text| self.checked(name, text, max, true)).transpose()
    }

    fn checked(&self, name: &str, text: &str, max: usize, lines: bool) -> Read<String> {
        if text.chars().count() > max {
            return self.fail(name, format!("is longer than {max} characters"));
        }
        if text.chars().any(|c| c.is_control() && !(lines && (c == '\n' || c == '\t'))) {
            return self.fail(name, "has control characters");
        }
        Ok(text.to_owned())
    }

    pub(crate) fn array(&self, name: &str, max: usize) -> Read<&'a [Value]> {
        let array = self.need(name)?.as_array().ok_or_else(|| Invalid::new(self.at(name), "must be an array"))?;
        if array.len() > max {
            return self.fail(name, format!("has more than {max} items"));
        }
        Ok(array)
    }

    pub(crate) fn opt_array(&self, name: &str, max: usize) -> Read<&'a [Value]> {
        if self.get(name).is_none() { Ok(&[]) } else { self.array(name, max) }
    }

    pub(crate) fn opt_bool(&self, name: &str, default: bool) -> Read<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(b)) => Ok(*b),
            Some(_) => self.fail(name, "must be true or false"),
        }
    }

    pub(crate) fn uid(&self, name: &str) -> Read<EventId> {
        let text = self.str(name)?;
        if is_uid(text) { Ok(text.into()) } else { self.fail(name, "must match ^[A-Za-z0-9_-]{1,64}$") }
    }

    pub(crate) fn event_id(&self, name: &str) -> Read<EventId> {
        let text = self.str(name)?;
        if is_event_id(text) { Ok(text.into()) } else { self.fail(name, "must be an event id") }
    }

    pub(crate) fn person(&self, name: &str) -> Read<Person> {
        let text = self.str(name)?;
        if is_person(text) { Ok(text.into()) } else { self.fail(name, "must be a user id or pid~declarer") }
    }

    /// An array of event ids without repeats.
    pub(crate) fn event_ids(&self, name: &str, max: usize) -> Read<Vec<EventId>> {
        let mut ids: Vec<EventId> = Vec::new();
        for (i, value) in self.opt_array(name, max)?.iter().enumerate() {
            match value.as_str() {
                Some(id) if !is_event_id(id) => {
                    return self.fail(&format!("{name}[{i}]"), "must be an event id");
                }
                Some(id) if ids.iter().any(|seen| &**seen == id) => {
                    return self.fail(&format!("{name}[{i}]"), "stands there twice");
                }
                Some(id) => ids.push(id.into()),
                None => return self.fail(&format!("{name}[{i}]"), "must be a string"),
            }
        }
        Ok(ids)
    }

    /// An array of persons without repeats.
    pub(crate) fn people(&self, name: &str, max: usize) -> Read<Vec<Person>> {
        let mut people: Vec<Person> = Vec::new();
        for (i, value) in self.array(name, max)?.iter().enumerate() {
            match value.as_str() {
                Some(p) if !is_person(p) => {
                    return self.fail(&format!("{name}[{i}]"), "must be a user id or pid~declarer");
                }
                Some(p) if people.iter().any(|seen| &**seen == p) => {
                    return self.fail(&format!("{name}[{i}]"), "the same person twice");
                }
                Some(p) => people.push(p.into()),
                None => return self.fail(&format!("{name}[{i}]"), "must be a string"),
            }
        }
        Ok(people)
    }

    /// An array of user ids without repeats.
    pub(crate) fn users(&self, name: &str, max: usize) -> Read<Vec<Person>> {
        let people = self.people(name, max)?;
        match people.iter().position(|p| !is_user_id(p)) {
            Some(i) => self.fail(&format!("{name}[{i}]"), "must be a user id"),
            None => Ok(people),
        }
    }

    /// `currency` and `amount` of this object.
    pub(crate) fn money(&self) -> Read<(Currency, Amount)> {
        let code = self.str("currency")?;
        let text = self.str("amount")?;
        let currency = match Currency::of(code, text) {
            Ok(currency) => currency,
            Err(crate::money::MoneyError::Currency) => {
                return self.fail("currency", "is not a currency");
            }
            Err(e) => return self.fail("amount", e.to_string()),
        };
        let amount = self.amount("amount", &currency)?;
        Ok((currency, amount))
    }

    pub(crate) fn amount(&self, name: &str, currency: &Currency) -> Read<Amount> {
        currency.parse(self.str(name)?).or_else(|e| self.fail(name, e.to_string()))
    }

    /// A calendar date `YYYY-MM-DD` of the years 1900 to 9999.
    pub(crate) fn date(&self, name: &str) -> Read<String> {
        let text = self.str(name)?;
        if is_date(text) { Ok(text.to_owned()) } else { self.fail(name, "must be a date such as 2026-11-22") }
    }
}

/// Whether `text` is a date of the Gregorian calendar, `YYYY-MM-DD`, in the years 1900 to 9999.
pub fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let number = |s: &str, len: usize| {
        (s.len() == len && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse::<u32>().ok()).flatten()
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    year >= 1900 && (1..=days).contains(&day)
}

/// Deepest nesting of an entry's content.
const MAX_DEPTH: usize = 32;
/// Largest integer that canonical JSON knows.
const MAX_INT: u64 = (1 << 53) - 1;

/// The length in bytes of `value` as canonical JSON. Fails on a float, an integer beyond 2^53 − 1 or nesting beyond 32.
pub(crate) fn canonical_len(value: &Value) -> Read<usize> {
    fn text(s: &str) -> usize {
        let escaped = |c: u8| match c {
            b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 1,
            0..=0x1f => 5,
            _ => 0,
        };
        2 + s.len() + s.bytes().map(escaped).sum::<usize>()
    }
    // The path is built on the way back from an error only, so that good content allocates nothing.
    fn under(step: &str, mut e: Invalid) -> Invalid {
        e.field = match (e.field.is_empty(), e.field.starts_with('[')) {
            (true, _) => step.to_owned(),
            (false, true) => format!("{step}{}", e.field),
            (false, false) => format!("{step}.{}", e.field),
        };
        e
    }
    fn walk(value: &Value, depth: usize) -> Read<usize> {
        if depth > MAX_DEPTH {
            return Err(Invalid::new("", format!("is nested deeper than {MAX_DEPTH}")));
        }
        Ok(match value {
            Value::Null | Value::Bool(true) => 4,
            Value::Bool(false) => 5,
            Value::String(s) => text(s),
            Value::Number(n) => match n.as_i64() {
                Some(i) if i.unsigned_abs() <= MAX_INT => n.to_string().len(),
                _ => return Err(Invalid::new("", "numbers must be integers up to 2^53 - 1")),
            },
            Value::Array(a) => {
                let mut len = 2 + a.len().saturating_sub(1);
                for (i, v) in a.iter().enumerate() {
                    len += walk(v, depth + 1).map_err(|e| under(&format!("[{i}]"), e))?;
                }
                len
            }
            Value::Object(o) => {
                let mut len = 2 + o.len().saturating_sub(1);
                for (k, v) in o {
                    len += text(k) + 1 + walk(v, depth + 1).map_err(|e| under(k, e))?;
                }
                len
            }
        })
    }
    walk(value, 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn dates() {
        for good in ["2026-11-22", "2024-02-29", "2000-02-29", "9999-12-31"] {
            assert!(is_date(good), "{good}");
        }
        for bad in [
            "2026-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-1-1",
            "26-01-01",
            "2026-04-31",
            "2026-11-22T",
            "+026-01-01",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
    }

    #[test]
    fn canonical_lengths() {
        for value in [json!({"a": [1, -20, null, true, false], "ü\"\n\u{1}": "x\\"}), json!([]), json!({}), json!("€")]
        {
            assert_eq!(canonical_len(&value), Ok(serde_json::to_string(&value).unwrap().len()), "{value}");
        }
        let e = canonical_len(&json!({"a": {"b": [1, 1.5]}})).unwrap_err();
        assert_eq!(e.field, "a.b[1]");
        assert!(canonical_len(&json!(9_007_199_254_740_992_i64)).is_err());
        assert!(canonical_len(&json!(i64::MIN)).is_err());
        assert!(canonical_len(&json!(1e300)).is_err());
    }
}
