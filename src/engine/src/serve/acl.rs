//! Which servers a room lets in.
//! [Server access control lists](https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls).

use std::{collections::HashSet, sync::Arc};

use quick_cache::sync::Cache;
use ruma::ServerName;
use serde_json::Value;

use crate::{engine::Engine, error::EngineError, room::Room, writer::RoomWriter};

/// Servers whose answer is remembered: a long list of patterns is matched once for each.
const REMEMBERED: usize = 256;

/// An `m.room.server_acl`, ready to be asked.
pub struct ServerAcl {
    ip_literals: bool,
    allow: Patterns,
    deny: Patterns,
    answers: Cache<String, bool>,
}

impl std::fmt::Debug for ServerAcl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerAcl").field("allow", &self.allow).field("deny", &self.deny).finish_non_exhaustive()
    }
}

impl ServerAcl {
    /// From the content of the event. What has the wrong form counts as absent: literals are let in, lists are empty.
    pub fn parse(content: &str) -> Self {
        let content: Value = serde_json::from_str(content).unwrap_or_default();
        Self {
            ip_literals: content.get("allow_ip_literals").and_then(Value::as_bool).unwrap_or(true),
            allow: Patterns::parse(content.get("allow")),
            deny: Patterns::parse(content.get("deny")),
            answers: Cache::new(REMEMBERED),
        }
    }

    /// Whether the list lets a server in.
    pub fn allows(&self, server: &ServerName) -> bool {
        let host = server.host().to_lowercase();
        if let Some(known) = self.answers.get(&host) {
            return known;
        }
        let literal = !self.ip_literals && server.is_ip_literal();
        let allowed = !literal && !self.deny.matches(&host) && self.allow.matches(&host);
        self.answers.insert(host, allowed);
        allowed
    }
}

/// Glob expressions, without case: most are plain names.
#[derive(Debug, Default)]
struct Patterns {
    plain: HashSet<String>,
    globs: Vec<String>,
}

impl Patterns {
    fn parse(list: Option<&Value>) -> Self {
        let mut patterns = Self::default();
        for pattern in list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            let pattern = pattern.to_lowercase();
            if pattern.contains(['*', '?']) {
                patterns.globs.push(pattern);
            } else {
                patterns.plain.insert(pattern);
            }
        }
        patterns
    }

    fn matches(&self, host: &str) -> bool {
        self.plain.contains(host) || self.globs.iter().any(|pattern| glob(pattern.as_bytes(), host.as_bytes()))
    }
}

/// `*` is any run of characters, `?` exactly one. Host names are ASCII. At most the product of the lengths is compared: only the
/// last star has to be tried again.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from, mut retry) = (0, 0, None);
    while let Some(byte) = text.get(from) {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, from));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => (at, from) = (at + 1, from + 1),
            _ => match &mut retry {
                Some((behind_star, tried)) => {
                    *tried += 1;
                    (at, from) = (*behind_star, *tried);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

impl RoomWriter<'_> {
    /// Reads the access control list again after a change to the current state.
    pub(crate) async fn refresh_acl(&mut self) -> Result<(), EngineError> {
        let event = self.state("m.room.server_acl", "").await?;
        self.head_mut()?.info.acl = event.map(|event| Arc::new(ServerAcl::parse(event.content.get())));
        Ok(())
    }
}

impl Engine {
    /// Whether the room's `m.room.server_acl` lets a server in. This server is never shut out by its own reading of it.
    /// [Server access control lists](https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls).
    ///
    /// # Errors
    /// Those of the store.
    pub async fn acl_allows(&self, room: &Room, server: &ServerName) -> Result<bool, EngineError> {
        let own = *server == *self.identity.server_name;
        Ok(own || room.info().acl.as_ref().is_none_or(|acl| acl.allows(server)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn allows(acl: &Value, server: &str) -> bool {
        let acl = ServerAcl::parse(&acl.to_string());
        let server = <&ServerName>::try_from(server).unwrap();
        let first = acl.allows(server);
        // The second answer comes from memory.
        assert_eq!(acl.allows(server), first);
        first
    }

    #[test]
    fn globs_match_as_the_specification_says() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a.b", true),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.evil.com", "evil.com", false),
            ("*.evil.com", "a.evil.com.evil.com", true),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbxc", false),
            ("ab*", "a", false),
            ("a**", "a", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn who_is_denied_stays_out_even_if_allowed() {
        let acl = json!({"allow": ["*"], "deny": ["EVIL.com", "*.bad.org"]});
        assert!(allows(&acl, "good.com"));
        assert!(allows(&acl, "bad.org"));
        assert!(!allows(&acl, "evil.com"));
        assert!(!allows(&acl, "Evil.Com:8448"));
        assert!(!allows(&acl, "x.bad.org:1"));
    }

    #[test]
    fn literals_are_kept_out_where_the_room_says_so() {
        let acl = json!({"allow": ["*"], "allow_ip_literals": false});
        for literal in ["1.2.3.4", "1.2.3.4:8448", "[::1]", "[2001:db8::1]:1"] {
            assert!(!allows(&acl, literal), "{literal}");
            assert!(allows(&json!({"allow": ["*"], "allow_ip_literals": "no"}), literal), "{literal}");
        }
        assert!(allows(&acl, "one.example"));
        assert!(!allows(&json!({"allow": ["*"], "deny": ["1.2.3.4"]}), "1.2.3.4:99"));
    }

    #[test]
    fn a_list_in_the_wrong_form_is_an_empty_one() {
        assert!(!allows(&json!({}), "a.b"));
        assert!(!allows(&json!({"allow": "*"}), "a.b"));
        assert!(allows(&json!({"allow": [1, "*"], "deny": "a.b"}), "a.b"));
        assert!(!allows(&json!("x"), "a.b"));
    }
}
