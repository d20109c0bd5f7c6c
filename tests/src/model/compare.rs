//! Where two memories of one user differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Event, Model, Room};

/// What of two memories must be equal.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Whose memories they are.
    pub user: &'a str,
    /// One of them has lazy-loaded members: the members of the state are left out.
    pub lazy: bool,
    /// Receipts and account data also of rooms that were left and joined again. Off for a server that forgets them.
    pub rejoined: bool,
}

impl Event {
    /// Removes what a redaction removes. The histories here redact only events of which no content survives.
    fn redact(&mut self) {
        self.redacted = true;
        self.content = Value::Object(Map::new());
    }
}

/// What the redactions in a timeline are about.
fn targets(timeline: &[Event]) -> BTreeSet<String> {
    let found = timeline.iter().filter_map(|event| event.redacts.clone());
    found.collect()
}

/// An event as it is to be shown when the events in `redacted` are.
fn shown(event: &Event, redacted: &BTreeSet<String>) -> Event {
    let mut event = event.clone();
    if redacted.contains(&event.id) {
        event.redact();
    }
    event
}

impl Model {
    /// Where this memory differs from a reference of the same user, in words; empty when they are equal.
    #[must_use]
    pub fn differences(&self, other: &Self, view: View<'_>) -> Vec<String> {
        let mut found = Vec::new();
        compare(&mut found, "account data", &self.account_data, &other.account_data);
        compare(&mut found, "invitations", &self.invites, &other.invites);
        let ids: BTreeSet<&String> = self.rooms.keys().chain(other.rooms.keys()).collect();
        // Whoever is invited again need not be told of a room left before.
        for id in ids.into_iter().filter(|id| !other.invites.contains_key(*id)) {
            match (self.rooms.get(id), other.rooms.get(id)) {
                (Some(a), Some(b)) => compare_rooms(&mut found, id, a, b, view),
                (a, _) => found.push(format!("{id}: only in the {} one", if a.is_some() { "first" } else { "second" })),
            }
        }
        found
    }
}

fn compare<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    found: &mut Vec<String>,
    what: &str,
    a: &BTreeMap<K, V>,
    b: &BTreeMap<K, V>,
) {
    let keys: BTreeSet<&K> = a.keys().chain(b.keys()).collect();
    for key in keys {
        if a.get(key) != b.get(key) {
            found.push(format!("{what}: {key:?}: {:?} and {:?}", a.get(key), b.get(key)));
        }
    }
}

/// The place in a timeline where `user` last went from inside to outside, and whether nothing of theirs follows.
fn last_exit(timeline: &[Event], user: &str) -> Option<(usize, bool)> {
    let (mut inside, mut exit, mut last) = (false, None, 0);
    for (at, event) in timeline.iter().enumerate() {
        if event.kind == "m.room.member" && event.key.as_deref() == Some(user) {
            let joined = event.content.get("membership").and_then(Value::as_str) == Some("join");
            if inside && !joined {
                exit = Some(at);
            }
            inside = joined;
            last = at;
        }
    }
    exit.map(|at| (at, at == last))
}

fn compare_rooms(found: &mut Vec<String>, id: &str, a: &Room, b: &Room, view: View<'_>) {
    if a.section != b.section {
        found.push(format!("{id}: in {} and in {}", a.section, b.section));
    }
    let (mut left, mut right) = (a.timeline.clone(), b.timeline.clone());
    let mut with_state = true;
    if b.section == "leave" {
        // What one is told of a room after having left it depends on invitations; up to the exit it does not.
        let Some((exit, is_final)) = last_exit(&right, view.user) else {
            return;
        };
        let is_exit = |event: &Event| right.get(exit).is_some_and(|exit| exit.id == event.id);
        let at = left.iter().position(is_exit);
        left.truncate(at.map_or(left.len(), |at| at + 1));
        right.truncate(exit + 1);
        with_state = is_final;
    }
    // An event can be served redacted though the redaction itself, made while one was away, is hidden.
    let (mut before, after) = (targets(&left), targets(&right));
    let served = right.iter().chain(b.state.values());
    let unseen = served.filter(|event| event.redacted && !after.contains(&event.id));
    before.extend(unseen.map(|event| event.id.clone()));
    let left: Vec<Event> = left.iter().map(|event| shown(event, &before)).collect();
    let right: Vec<Event> = right.iter().map(|event| shown(event, &after)).collect();
    compare_timelines(found, id, &left, &right);
    if with_state {
        let state = |room: &Room, redacted: &BTreeSet<String>| {
            let kept = room.state.iter();
            let kept = kept.filter(|((kind, _), _)| !(view.lazy && kind == "m.room.member"));
            kept.map(|(key, event)| (key.clone(), shown(event, redacted))).collect::<BTreeMap<_, _>>()
        };
        let (ours, theirs) = (state(a, &before), state(b, &after));
        compare(found, &format!("{id}: state"), &ours, &theirs);
    }
    if b.section == "join" && (view.rejoined || last_exit(&b.timeline, view.user).is_none()) {
        compare(found, &format!("{id}: account data"), &a.account_data, &b.account_data);
        compare(found, &format!("{id}: receipts"), &a.receipts, &b.receipts);
    }
}

fn compare_timelines(found: &mut Vec<String>, id: &str, left: &[Event], right: &[Event]) {
    if left != right {
        let same = left.iter().zip(right).take_while(|(x, y)| x == y).count();
        let (x, y) = (left.get(same), right.get(same));
        found.push(format!("{id}: timelines of {} and {} differ at {same}: {x:?} and {y:?}", left.len(), right.len()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const WHOLE: View<'_> = View { user: "@a:b", lazy: false, rejoined: true };
    const LAZY: View<'_> = View { user: "@a:b", lazy: true, rejoined: true };

    fn event(id: &str, kind: &str, content: &Value) -> Value {
        json!({"event_id": id, "type": kind, "sender": "@a:b", "origin_server_ts": 1, "content": content})
    }

    fn memory(events: &[Value]) -> Model {
        let mut room = Room { section: "join".to_owned(), ..Room::default() };
        for json in events {
            room.timeline.push(Event::read(json).unwrap());
        }
        let mut model = Model::default();
        model.rooms.insert("!r".to_owned(), room);
        model
    }

    #[test]
    fn a_redaction_that_arrives_equals_an_event_served_redacted() {
        let redaction = event("$2", "m.room.redaction", &json!({"redacts": "$1"}));
        let early = memory(&[event("$1", "m.room.message", &json!({"body": "x"})), redaction.clone()]);
        let mut served = event("$1", "m.room.message", &json!({}));
        served["unsigned"] = json!({"redacted_because": {}});
        assert!(early.differences(&memory(&[served, redaction.clone()]), WHOLE).is_empty());
        let unredacted = memory(&[event("$1", "m.room.message", &json!({"body": "x"}))]);
        assert_eq!(early.differences(&unredacted, WHOLE).len(), 1);
    }

    #[test]
    fn order_and_gaps_show() {
        let (a, b) = (event("$1", "x", &json!({})), event("$2", "x", &json!({})));
        let whole = memory(&[a.clone(), b.clone()]);
        assert_eq!(whole.differences(&memory(&[b, a.clone()]), WHOLE).len(), 1);
        assert_eq!(whole.differences(&memory(&[a]), WHOLE).len(), 1);
        assert_eq!(whole.differences(&Model::default(), WHOLE).len(), 1);
    }

    #[test]
    fn lazy_comparison_leaves_members_out() {
        let mut a = memory(&[]);
        let mut member = event("$3", "m.room.member", &json!({"membership": "join"}));
        member["state_key"] = json!("@a:b");
        let event = Event::read(&member).unwrap();
        a.rooms.get_mut("!r").unwrap().set_state(&event);
        assert!(a.differences(&memory(&[]), LAZY).is_empty());
        assert_eq!(a.differences(&memory(&[]), WHOLE).len(), 1);
    }
}
