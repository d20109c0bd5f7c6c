//! Refuses entries about people who are not in the room. The fold does not care; whoever makes an entry should.

use std::collections::BTreeSet;

use ledger::{Body, Composed, Invalid, Ledger, ids::speaker};
use serde_json::Value;

use crate::people::People;

/// Refuses the first person of an entry who is not here. The field is one of the draft's own where it names the person, and
/// else one that was filled in.
pub(crate) fn check_people(
    draft: &Value,
    composed: &Composed,
    people: &People,
    ledger: &Ledger,
) -> Result<(), Invalid> {
    let standing = standing(&composed.body, ledger);
    let settling = composed.body.settlement().is_some();
    let known = |who: &str| {
        let who_speaks = speaker(who);
        // Who left can still be paid back, and pay; and stays on what they are on.
        people.is_here(who_speaks) || standing.contains(who) || settling && !ledger.net(who).is_empty()
    };
    for content in [draft, &composed.content] {
        for (field, who) in named(content) {
            if !known(who) {
                return Err(Invalid::new(field, format!("{who} is not in this room")));
            }
        }
    }
    Ok(())
}

/// Who stands on the entry that an amend is about: as it was written first, and as it is now.
fn standing(body: &Body, ledger: &Ledger) -> BTreeSet<String> {
    let Body::Amend(amend) = body else { return BTreeSet::new() };
    let original = ledger.original(&amend.target);
    let current = original.and_then(|entry| ledger.view(&entry.id)?.current).and_then(|id| ledger.entry(&id));
    let mut out = BTreeSet::new();
    for version in [original, current].into_iter().flatten().filter_map(|entry| entry.valid()) {
        if let Some(expense) = version.expense() {
            out.extend(expense.paid.iter().chain(&expense.owed).map(|line| line.who.to_string()));
        }
        if let Some(settlement) = version.settlement() {
            out.extend([settlement.from.to_string(), settlement.to.to_string()]);
        }
    }
    out
}

/// The people that a content names, with where.
fn named(content: &Value) -> Vec<(String, &str)> {
    let mut out = Vec::new();
    collect(content, "", &mut out);
    // What is inside: an amend's new content, a recurrence's template.
    for inner in ["content", "template"] {
        collect(&content[inner], &format!("{inner}."), &mut out);
    }
    out
}

fn collect<'a>(content: &'a Value, path: &str, out: &mut Vec<(String, &'a str)>) {
    let lists = [
        ("split.inputs", &content["split"]["inputs"]),
        ("items", &content["items"]),
        ("paid", &content["paid"]),
        ("owed", &content["owed"]),
    ];
    for (name, list) in lists {
        for (index, line) in list.as_array().into_iter().flatten().enumerate() {
            match &line["who"] {
                Value::Array(several) => {
                    let several = several.iter().filter_map(Value::as_str).enumerate();
                    out.extend(several.map(|(at, who)| (format!("{path}{name}[{index}].who[{at}]"), who)));
                }
                one => out.extend(one.as_str().map(|who| (format!("{path}{name}[{index}].who"), who))),
            }
        }
    }
    for name in ["from", "to"] {
        out.extend(content[name].as_str().map(|who| (format!("{path}{name}"), who)));
    }
}
