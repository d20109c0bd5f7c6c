//! Identifiers: event ids, user ids, people without an account, uids. All are ASCII and compare bytewise.

use std::sync::Arc;

/// A Matrix event id, `$` and up to 254 more bytes. Cheap to clone.
pub type EventId = Arc<str>;

/// Who takes part in an entry: a Matrix user id (`@ann:example.org`), or a person without an account, written as the pid
/// and the user id of whoever declared it, with a tilde between (`carl~@ann:example.org`). Cheap to clone.
pub type Person = Arc<str>;

/// Longest user id, event id or server name part, in bytes (Matrix specification, appendix "Identifier grammar").
pub const MAX_ID: usize = 255;
/// Longest uid, in bytes.
pub const MAX_UID: usize = 64;
/// Longest pid, in bytes.
pub const MAX_PID: usize = 32;

/// Printable ASCII without the space.
fn is_graphic(s: &str) -> bool {
    s.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether `s` has the form of an event id: `$` and 1 to 254 printable ASCII characters.
pub fn is_event_id(s: &str) -> bool {
    s.len() > 1 && s.len() <= MAX_ID && s.starts_with('$') && is_graphic(s)
}

/// Whether `s` has the form of a user id: `@`, a localpart of printable ASCII without `:`, `:`, a server name.
///
/// The localpart is read as liberally as the specification's historical grammar wants.
pub fn is_user_id(s: &str) -> bool {
    if s.len() > MAX_ID || !is_graphic(s) {
        return false;
    }
    let Some((_, server)) = s.strip_prefix('@').and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    !server.is_empty() && server.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
}

/// Whether `s` matches `^[a-z0-9_-]{1,32}$`.
pub fn is_pid(s: &str) -> bool {
    !s.is_empty()
        && s.len() <= MAX_PID
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// Whether `s` matches `^[A-Za-z0-9_-]{1,64}$`.
pub fn is_uid(s: &str) -> bool {
    !s.is_empty() && s.len() <= MAX_UID && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether `s` names a possible participant: a user id, or `pid~declarer`.
pub fn is_person(s: &str) -> bool {
    if s.starts_with('@') {
        return is_user_id(s);
    }
    s.split_once('~').is_some_and(|(pid, declarer)| is_pid(pid) && is_user_id(declarer))
}

/// Whether the person has a Matrix account of their own.
pub fn has_account(person: &str) -> bool {
    person.starts_with('@')
}

/// The user who speaks for a person: the person, or whoever declared a person without an account.
pub fn speaker(person: &str) -> &str {
    if has_account(person) { person } else { person.split_once('~').map_or(person, |(_, declarer)| declarer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people() {
        assert!(is_person("@ann:example.org"));
        assert!(is_person("@ann:[::1]:8448"));
        assert!(is_person("carl~@ann:example.org"));
        assert!(!is_person("carl"));
        assert!(!is_person("Carl~@ann:example.org"));
        assert!(!is_person("@ann"));
        assert!(!is_person("@ann:"));
        assert!(!is_person("@an n:example.org"));
        assert!(!is_person("@änn:example.org"));
        assert!(!is_person(&format!("@{}:example.org", "a".repeat(300))));
        assert_eq!(speaker("carl~@ann:example.org"), "@ann:example.org");
        assert_eq!(speaker("@ann:example.org"), "@ann:example.org");
    }

    #[test]
    fn event_ids_and_uids() {
        assert!(is_event_id("$abc"));
        assert!(!is_event_id("$"));
        assert!(!is_event_id("abc"));
        assert!(!is_event_id("$a b"));
        assert!(is_uid("a-Z_9"));
        assert!(!is_uid(""));
        assert!(!is_uid("a.b"));
        assert!(!is_uid(&"a".repeat(65)));
    }
}
