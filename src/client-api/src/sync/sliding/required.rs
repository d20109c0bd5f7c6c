//! Which state of a room a client wants.

use std::collections::BTreeSet;

use ruma::UserId;

/// Stands for any type or key.
const ANY: &str = "*";
/// Stands for the user's own id.
const ME: &str = "$ME";
/// Stands for those who speak in the timeline.
const LAZY: &str = "$LAZY";

const MEMBER: &str = "m.room.member";

/// Types and state keys, wildcards among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Required(BTreeSet<(String, String)>);

impl Required {
    pub(super) fn new(pairs: &[(String, String)], user: &UserId) -> Self {
        let own = |key: &String| if key == ME { user.to_string() } else { key.clone() };
        Self(pairs.iter().map(|(kind, key)| (kind.clone(), own(key))).collect())
    }

    /// What either of them wants.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether an entry of the state is wanted whoever speaks.
    pub(super) fn wants(&self, kind: &str, key: &str) -> bool {
        let is = |wanted: &str, it: &str| wanted == it || wanted == ANY;
        self.0.iter().any(|(wanted_kind, wanted_key)| is(wanted_kind, kind) && is(wanted_key, key))
    }

    /// Whether the members that speak are wanted.
    pub(super) fn lazy(&self) -> bool {
        self.0.iter().any(|(kind, key)| kind == MEMBER && key == LAZY)
    }

    /// Single entries that are named, where nothing else is wanted.
    pub(super) fn named(&self) -> Option<Vec<(&str, &str)>> {
        let wild = self.0.iter().any(|(kind, key)| kind == ANY || key == ANY);
        let named = self.0.iter().filter(|(_, key)| key != LAZY);
        (!wild).then(|| named.map(|(kind, key)| (&**kind, &**key)).collect())
    }

    /// What is wanted here and was not before.
    pub(super) fn beyond(&self, before: &Self) -> Self {
        Self(self.0.iter().filter(|(kind, key)| key != LAZY && !before.wants(kind, key)).cloned().collect())
    }

    /// Whether all that the other names is named here.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.0.is_subset(&self.0)
    }

    /// What either of them names.
    pub(super) fn with(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(pairs: &[(&str, &str)]) -> Required {
        let pairs: Vec<_> = pairs.iter().map(|(kind, key)| ((*kind).to_owned(), (*key).to_owned())).collect();
        Required::new(&pairs, "@me:hs".try_into().unwrap())
    }

    #[test]
    fn wildcards_stand_for_what_they_say() {
        let some = required(&[("m.room.name", ""), (MEMBER, ME), (MEMBER, LAZY)]);
        assert!(some.wants("m.room.name", "") && some.wants(MEMBER, "@me:hs") && some.lazy());
        assert!(!some.wants(MEMBER, "@you:hs") && !some.wants("m.room.topic", ""));
        assert_eq!(some.named().unwrap().len(), 2);
        let all = required(&[(ANY, ANY)]);
        assert!(all.wants("org.example", "x") && all.named().is_none());
        assert!(some.beyond(&all).is_empty());
        assert_eq!(
            required(&[("m.room.name", ""), ("m.room.topic", "")]).beyond(&some),
            required(&[("m.room.topic", "")])
        );
    }
}
