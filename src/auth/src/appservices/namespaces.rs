//! What an application service is interested in, and what of it is its own.

use regex::Regex;

/// The longest expression, in bytes.
const MAX_REGEX: usize = 4096;

/// Names that a regular expression matches.
#[derive(Debug, Clone)]
pub struct Pattern {
    exclusive: bool,
    regex: Regex,
}

impl Pattern {
    /// An expression that has to match from the first character on, and may end before the last. Matching takes time in
    /// proportion to the name, whatever the expression is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(regex: &str, exclusive: bool) -> Result<Self, String> {
        if regex.len() > MAX_REGEX {
            return Err(format!("it is longer than {MAX_REGEX} bytes"));
        }
        let regex = Regex::new(&format!("^(?:{regex})")).map_err(|error| match error {
            regex::Error::Syntax(_) => {
                "it is no regular expression that this server takes (look-around and back-references are not)"
                    .to_owned()
            }
            error => error.to_string(),
        })?;
        Ok(Self { exclusive, regex })
    }
}

/// A namespace: names that any of its patterns match.
#[derive(Debug, Clone, Default)]
pub struct Namespace(pub(super) Vec<Pattern>);

impl Namespace {
    /// Whether a name is in it.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.regex.is_match(name))
    }

    /// Whether a name is in it, and in nobody else's.
    pub fn owns(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.exclusive && pattern.regex.is_match(name))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The namespaces of an application service.
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    /// Local users, by their ids.
    pub users: Namespace,
    /// Room aliases.
    pub aliases: Namespace,
    /// Rooms, by their ids.
    pub rooms: Namespace,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(regex: &str, exclusive: bool) -> Namespace {
        Namespace(vec![Pattern::new(regex, exclusive).unwrap()])
    }

    #[test]
    fn an_expression_matches_from_the_beginning() {
        let irc = namespace("@_irc_.*:example\\.org", true);
        assert!(irc.has("@_irc_ann:example.org") && irc.owns("@_irc_ann:example.org"));
        assert!(!irc.has("x@_irc_ann:example.org") && !irc.has("@_irc_ann:example-org"));
        let either = namespace("@a|@b", false);
        assert!(either.has("@b:x") && !either.owns("@b:x") && !either.has("c@b"));
        assert!(namespace("", false).has("anything") && !Namespace::default().has(""));
    }

    #[test]
    fn what_takes_more_than_linear_time_is_refused() {
        for regex in ["(?=@a)", "(@a)\\1", "(", "[z-a]"] {
            assert!(Pattern::new(regex, true).is_err(), "{regex}");
        }
        assert!(Pattern::new(&"a".repeat(MAX_REGEX + 1), true).is_err());
        assert!(Pattern::new(&"(a{1000}){1000}".repeat(3), true).unwrap_err().contains("size limit"));
    }
}
