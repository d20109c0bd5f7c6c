//! Power levels of a room that replaces another.

use std::collections::BTreeSet;

use ruma::room_version_rules::AuthorizationRules;
use serde_json::{Map, Value};

/// What sending a tombstone takes where creators stand above all levels.
const TOMBSTONE: i64 = 150;
/// The power of a creator where creators do not.
const CREATOR: i64 = 100;
const STATE_DEFAULT: i64 = 50;

/// The power levels of the old room, and who is what in both.
pub(super) struct Succession<'a> {
    /// `m.room.power_levels` of the old room.
    pub(super) levels: Map<String, Value>,
    /// Who stood above all levels in the old room.
    pub(super) old_creators: BTreeSet<String>,
    /// Who creates the new room; the one who upgrades is among them.
    pub(super) creators: BTreeSet<String>,
    /// Who upgrades.
    pub(super) upgrader: &'a str,
    /// The rules of the old room.
    pub(super) old_rules: &'a AuthorizationRules,
    /// The rules of the new room.
    pub(super) rules: &'a AuthorizationRules,
}

/// What the new room starts with, and, where the one who upgrades needs more power to set it up than they are to keep, what it
/// ends with.
pub(super) struct NewLevels {
    pub(super) first: Map<String, Value>,
    pub(super) last: Option<Map<String, Value>>,
}

impl Succession<'_> {
    pub(super) fn levels(mut self) -> NewLevels {
        if self.rules.integer_power_levels {
            to_integers(&mut self.levels);
        }
        if self.rules.explicitly_privilege_room_creators {
            return NewLevels { first: self.below_creators(), last: None };
        }
        let needed = self.needed();
        let old_creators: Vec<String> = if self.old_rules.explicitly_privilege_room_creators {
            self.old_creators.iter().cloned().collect()
        } else {
            Vec::new()
        };
        let default = int(self.levels.get("users_default")).unwrap_or(0);
        let mut own = default;
        change(&mut self.levels, "users", |users| {
            // Who stood above all levels gets the highest that there is.
            users.extend(old_creators.into_iter().map(|creator| (creator, needed.max(CREATOR).into())));
            own = int(users.get(self.upgrader)).unwrap_or(default);
        });
        if own >= needed {
            return NewLevels { first: self.levels, last: None };
        }
        let mut first = self.levels.clone();
        change(&mut first, "users", |users| drop(users.insert(self.upgrader.to_owned(), needed.into())));
        NewLevels { first, last: Some(self.levels) }
    }

    /// Creators are listed no more, and a tombstone takes more than an administrator has.
    fn below_creators(mut self) -> Map<String, Value> {
        change(&mut self.levels, "users", |users| users.retain(|id, _| !self.creators.contains(id)));
        if !self.old_rules.explicitly_privilege_room_creators {
            change(&mut self.levels, "events", |events| {
                let tombstone = int(events.get("m.room.tombstone")).unwrap_or(TOMBSTONE).max(TOMBSTONE);
                events.insert("m.room.tombstone".to_owned(), tombstone.into());
            });
        }
        self.levels
    }

    /// The power that sending any state of the room takes.
    fn needed(&self) -> i64 {
        let events = self.levels.get("events").and_then(Value::as_object);
        let highest = events.into_iter().flat_map(|events| events.values()).filter_map(|level| int(Some(level))).max();
        let default = int(self.levels.get("state_default")).unwrap_or(STATE_DEFAULT);
        highest.unwrap_or(default).max(default)
    }
}

/// The old room's levels with sending and inviting out of ordinary members' reach; `None` where they are already.
pub(super) fn restricted(levels: &Map<String, Value>) -> Option<Map<String, Value>> {
    let level = int(levels.get("users_default")).unwrap_or(0).saturating_add(1).max(50);
    let mut out = levels.clone();
    for field in ["events_default", "invite"] {
        if int(levels.get(field)).unwrap_or(0) < level {
            out.insert(field.to_owned(), level.into());
        }
    }
    (out != *levels).then_some(out)
}

/// A level, which old room versions also take as text.
fn int(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Changes an object inside the levels, which is made where there is none.
fn change(levels: &mut Map<String, Value>, field: &str, f: impl FnOnce(&mut Map<String, Value>)) {
    let mut inner = match levels.remove(field) {
        Some(Value::Object(inner)) => inner,
        _ => Map::new(),
    };
    f(&mut inner);
    levels.insert(field.to_owned(), Value::Object(inner));
}

fn to_integers(levels: &mut Map<String, Value>) {
    for value in levels.values_mut() {
        match value {
            Value::Object(inner) => {
                inner.retain(|_, level| int(Some(level)).is_some());
                inner.values_mut().for_each(make_integer);
            }
            other => make_integer(other),
        }
    }
}

fn make_integer(value: &mut Value) {
    if let (Value::String(_), Some(level)) = (&*value, int(Some(value))) {
        *value = level.into();
    }
}
