//! What somebody is looked for by.

use ruma::UserId;

/// The words of a search, in lower case.
#[derive(Debug)]
pub(super) struct Terms {
    whole: String,
    words: Vec<String>,
}

/// How well a user fits, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It is their name.
    Exact,
    /// Their name begins with it.
    Start,
    /// It is somewhere in it.
    Inside,
}

impl Terms {
    /// Of what the user typed; `None` where that says nothing.
    pub(super) fn new(term: &str) -> Option<Self> {
        let whole = term.trim().to_lowercase();
        let words: Vec<String> = whole.split_whitespace().map(str::to_owned).collect();
        (!words.is_empty()).then_some(Self { whole, words })
    }

    /// Whether a user fits, and how well: all words are in the localpart or the display name, or the term is how the user's
    /// id begins.
    pub(super) fn rank(&self, user_id: &UserId, display_name: Option<&str>) -> Option<Rank> {
        let id = user_id.as_str().to_lowercase();
        let localpart = user_id.localpart().to_lowercase();
        let name = display_name.unwrap_or_default().to_lowercase();
        if self.whole == id || self.whole == localpart || self.whole == name {
            return Some(Rank::Exact);
        }
        if (self.whole.starts_with('@') && id.starts_with(&self.whole))
            || localpart.starts_with(&self.whole)
            || name.starts_with(&self.whole)
        {
            return Some(Rank::Start);
        }
        let found = |word: &String| localpart.contains(word.as_str()) || name.contains(word.as_str());
        self.words.iter().all(found).then_some(Rank::Inside)
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn users_are_found_by_localpart_id_and_name() {
        let rank = |term: &str, name: Option<&str>| Terms::new(term).unwrap().rank(user_id!("@Alice.b:hs"), name);
        assert_eq!(rank("alice.B", None), Some(Rank::Exact));
        assert_eq!(rank("@alice.b:hs", None), Some(Rank::Exact));
        assert_eq!(rank(" wonder LAND ", Some("Wonder Land")), Some(Rank::Exact));
        assert_eq!(rank("ali", None), Some(Rank::Start));
        assert_eq!(rank("@ali", None), Some(Rank::Start));
        assert_eq!(rank("land ali", Some("Wonder Land")), Some(Rank::Inside));
        assert_eq!(rank("bob", Some("Wonder Land")), None);
        assert_eq!(rank("hs", Some("Wonder Land")), None, "everybody is of this server");
        assert!(Terms::new("  ").is_none());
    }
}
