#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::{Value, json};

use super::*;
use crate::entry::{OPEN, Source};

const ROOT: &str = "$root";

fn event(id: &str, sender: &str, kind: &str, mut content: Value) -> Entry {
    let kind = format!("com.cliquepay.{kind}");
    if kind != OPEN && content.get("open").is_none() {
        content["open"] = json!(ROOT);
    }
    let source =
        Source { event_id: id, sender: &format!("@{sender}:x.org"), kind: &kind, origin_server_ts: 1, redacted: false };
    Entry::parse(&source, &content)
}

fn root() -> Entry {
    event(ROOT, "ann", "open", json!({ "version": 1, "currency": "EUR", "managers": ["@max:x.org"] }))
}

fn who(name: &str) -> String {
    if name.contains('~') { name.to_owned() } else { format!("@{name}:x.org") }
}

/// A dinner paid by `payer`, owed in equal parts of 28.00 by the people named.
fn dinner_content(uid: &str, payer: &str, people: &[&str]) -> Value {
    let total = format!("{}.00", 28 * people.len());
    json!({
        "uid": uid, "title": "Dinner", "date": "2026-11-22", "currency": "EUR", "amount": total,
        "paid": [{ "who": who(payer), "amount": total }],
        "split": { "method": "equal", "inputs": people.iter().map(|p| json!({ "who": who(p) })).collect::<Vec<_>>() },
        "owed": people.iter().map(|p| json!({ "who": who(p), "amount": "28.00" })).collect::<Vec<_>>(),
    })
}

fn dinner(id: &str, author: &str) -> Entry {
    event(id, author, "expense", dinner_content("dinner", author, &["ann", "bob", "carl"]))
}

fn payment_content(uid: &str, from: &str, to: &str, amount: &str) -> Value {
    json!({ "uid": uid, "from": who(from), "to": who(to), "currency": "EUR", "amount": amount })
}

fn payment(id: &str, author: &str, from: &str, to: &str, amount: &str) -> Entry {
    event(id, author, "settlement", payment_content(&format!("pay{}", &id[1..]), from, to, amount))
}

fn verdict(id: &str, sender: &str, target: &str, verdict: &str, over: &[&str]) -> Entry {
    event(id, sender, "verdict", json!({ "target": target, "verdict": verdict, "over": over }))
}

fn void(id: &str, sender: &str, target: &str, over: &[&str]) -> Entry {
    event(id, sender, "void", json!({ "target": target, "over": over }))
}

fn amend(id: &str, sender: &str, target: &str, over: &[&str], kind: &str, content: Value) -> Entry {
    let kind = format!("com.cliquepay.{kind}");
    event(id, sender, "amend", json!({ "target": target, "over": over, "type": kind, "content": content }))
}

fn fold(entries: &[Entry]) -> Ledger {
    Ledger::fold(ROOT, std::iter::once(root()).chain(entries.iter().cloned()))
}

fn balances(ledger: &Ledger) -> Vec<(String, i128)> {
    ledger.balances().into_iter().map(|b| (b.who[1..].split(':').next().unwrap().to_owned(), b.amount.0)).collect()
}

fn owed(list: &[(&str, i128)]) -> Vec<(String, i128)> {
    list.iter().map(|(who, amount)| ((*who).to_owned(), *amount)).collect()
}

fn status(ledger: &Ledger, id: &str) -> &'static str {
    ledger.status(id).unwrap().name()
}

#[test]
fn a_dinner_split_and_settled() {
    let mut ledger = fold(&[dinner("$d", "ann")]);
    assert_eq!(balances(&ledger), owed(&[("ann", 5600), ("bob", -2800), ("carl", -2800)]));
    assert_eq!(ledger.insert(payment("$p", "bob", "bob", "ann", "28.00")), ["$p".into()]);
    assert_eq!(status(&ledger, "$p"), "pending");
    assert_eq!(balances(&ledger), owed(&[("ann", 5600), ("bob", -2800), ("carl", -2800)]));
    assert_eq!(ledger.insert(verdict("$v", "ann", "$p", "confirmed", &[])), ["$p".into(), "$v".into()]);
    assert_eq!(status(&ledger, "$p"), "counts");
    ledger.insert(payment("$q", "ann", "carl", "ann", "28.00"));
    assert_eq!(status(&ledger, "$q"), "counts");
    assert_eq!(balances(&ledger), owed(&[]));
}

mod laws;
mod settlements;

#[test]
fn only_the_named_ledger_counts() {
    let mut other = dinner_content("d", "ann", &["ann", "bob"]);
    other["open"] = json!("$other");
    let ledger =
        fold(&[event("$d", "ann", "expense", other), event("$e", "ann", "checkpoint", json!({ "digest": "0" }))]);
    assert_eq!((ledger.len(), ledger.status("$d")), (2, None));
    assert_eq!(status(&ledger, "$e"), "noted");
    assert!(ledger.balances().is_empty());
}

#[test]
fn invalid_entries_are_listed_and_stop_nothing() {
    let mut wrong = dinner_content("w", "ann", &["ann", "bob"]);
    wrong["owed"][1]["amount"] = json!("28.01");
    let ledger = fold(&[event("$w", "ann", "expense", wrong), dinner("$d", "ann")]);
    assert_eq!(status(&ledger, "$w"), "invalid");
    let rejects = ledger.rejects();
    assert_eq!((&*rejects[0].event_id, &*rejects[0].reason), ("$w", "owed: adds up to 56.01, not 56.00"));
    assert_eq!(balances(&ledger)[0].1, 5600);
    assert_eq!(ledger.heads(), ["$d".into(), ROOT.into()]);
}

#[test]
fn an_amend_replaces_what_it_lists() {
    let content = dinner_content("dinner", "ann", &["ann", "bob"]);
    let ledger = fold(&[dinner("$d", "ann"), amend("$a", "ann", "$d", &["$d"], "expense", content)]);
    assert_eq!((status(&ledger, "$d"), status(&ledger, "$a")), ("superseded", "counts"));
    assert_eq!(balances(&ledger), owed(&[("ann", 2800), ("bob", -2800)]));
    assert_eq!(ledger.view("$d").unwrap().current.as_deref(), Some("$a"));
    assert!(ledger.conflicts().is_empty());
}

#[test]
fn a_void_takes_back_and_an_amend_revives() {
    let mut ledger = fold(&[dinner("$d", "ann"), void("$v", "ann", "$d", &["$d"])]);
    assert_eq!((status(&ledger, "$d"), status(&ledger, "$v")), ("void", "counts"));
    assert_eq!(ledger.view("$d").unwrap().voided_by.as_deref(), Some("$v"));
    assert!(ledger.balances().is_empty());
    let content = dinner_content("dinner", "ann", &["ann", "bob", "carl"]);
    ledger.insert(amend("$r", "ann", "$d", &["$d", "$v"], "expense", content));
    assert_eq!((status(&ledger, "$v"), status(&ledger, "$r")), ("superseded", "counts"));
    assert_eq!(balances(&ledger)[0].1, 5600);
}

#[test]
fn concurrent_versions_are_a_conflict_with_a_fixed_winner() {
    let two = dinner_content("dinner", "ann", &["ann", "bob"]);
    let four = dinner_content("dinner", "ann", &["ann", "bob", "carl", "dora"]);
    // The manager's has the smaller id, but the author's stands.
    let entries = [
        dinner("$d", "ann"),
        amend("$1", "max", "$d", &["$d"], "expense", four.clone()),
        amend("$2", "ann", "$d", &["$d"], "expense", two.clone()),
    ];
    let ledger = fold(&entries);
    assert_eq!((status(&ledger, "$1"), status(&ledger, "$2")), ("conflict", "counts"));
    let conflict = Conflict { target: "$d".into(), versions: vec!["$2".into(), "$1".into()] };
    assert_eq!(ledger.conflicts(), [conflict]);
    // A void wins against both.
    let mut with_void = fold(&entries);
    with_void.insert(void("$3", "bob", "$d", &["$d"]));
    assert_eq!(status(&with_void, "$3"), "counts");
    assert!(with_void.balances().is_empty());
    // Whoever resolves it lists all of them.
    with_void.insert(amend("$4", "max", "$d", &["$1", "$2", "$3", "$d"], "expense", four));
    assert!(with_void.conflicts().is_empty());
    assert_eq!(balances(&with_void)[0], ("ann".to_owned(), 8400));
}

#[test]
fn a_repeat_of_the_same_author_and_uid_is_a_version() {
    let ledger = fold(&[dinner("$1", "ann"), dinner("$2", "ann")]);
    assert_eq!((status(&ledger, "$1"), status(&ledger, "$2")), ("counts", "superseded"));
    assert_eq!(balances(&ledger)[0].1, 5600);
    assert!(ledger.conflicts().is_empty());
    // Somebody else's uid is somebody else's entry.
    let ledger = fold(&[dinner("$1", "ann"), dinner("$2", "bob")]);
    assert_eq!(balances(&ledger), owed(&[("ann", 2800), ("bob", 2800), ("carl", -5600)]));
    // The same uid with other content is a conflict.
    let other = event("$0", "ann", "expense", dinner_content("dinner", "ann", &["ann", "bob"]));
    let ledger = fold(&[dinner("$1", "ann"), other]);
    assert_eq!((status(&ledger, "$0"), status(&ledger, "$1")), ("counts", "conflict"));
}

#[test]
fn authority() {
    let ledger = fold(&[
        dinner("$d", "ann"),
        void("$1", "mallory", "$d", &["$d"]),
        payment("$p", "ann", "bob", "ann", "1.00"),
        void("$2", "max", "$p", &["$p"]),
        void("$3", "carl", "$d", &[]),
    ]);
    assert_eq!(status(&ledger, "$1"), "unauthorised");
    assert_eq!(status(&ledger, "$2"), "unauthorised", "managers may not touch settlements");
    assert_eq!(status(&ledger, "$3"), "counts", "whoever owes may, by default");
    let strict = json!({ "version": 1, "currency": "EUR", "policies": { "edit": "author" } });
    let strict = event(ROOT, "ann", "open", strict);
    let ledger =
        Ledger::fold(ROOT, [strict, dinner("$d", "bob"), void("$3", "carl", "$d", &[]), void("$4", "ann", "$d", &[])]);
    assert_eq!(status(&ledger, "$3"), "unauthorised");
    assert_eq!(status(&ledger, "$4"), "counts", "who opened it manages it where no managers are listed");
}

#[test]
fn what_an_amend_may_not_change() {
    let mut other_uid = dinner_content("other", "ann", &["ann", "bob"]);
    other_uid["title"] = json!("x");
    let ledger = fold(&[
        dinner("$d", "ann"),
        payment("$p", "bob", "bob", "ann", "28.00"),
        amend("$1", "ann", "$d", &["$d"], "expense", other_uid),
        amend("$2", "ann", "$d", &["$d"], "settlement", payment_content("dinner", "bob", "ann", "1.00")),
        amend("$3", "bob", "$p", &["$p"], "settlement", payment_content("payp", "bob", "carl", "28.00")),
        amend("$4", "ann", "$1", &[], "expense", dinner_content("dinner", "ann", &["ann"])),
    ]);
    for id in ["$1", "$2", "$3"] {
        assert_eq!(status(&ledger, id), "invalid", "{id}");
    }
    assert_eq!(status(&ledger, "$4"), "invalid", "its target is an amend");
    assert_eq!(status(&ledger, "$d"), "counts");
}

#[test]
fn redactions() {
    let mut ledger = fold(&[dinner("$d", "ann"), void("$v", "ann", "$d", &["$d"])]);
    ledger.redact("$v");
    assert_eq!((status(&ledger, "$d"), status(&ledger, "$v")), ("counts", "redacted"));
    ledger.insert(void("$w", "ann", "$d", &["$d"]));
    ledger.redact("$d");
    assert_eq!((status(&ledger, "$d"), status(&ledger, "$w")), ("redacted", "orphaned"));
    assert_eq!(ledger.entry("$d").unwrap().body.as_ref().unwrap_err().reason, "removed", "its content is forgotten");
    // Before its target.
    let mut early = Ledger::new(ROOT);
    early.redact("$d");
    early.extend([dinner("$d", "ann"), root()]);
    assert_eq!(status(&early, "$d"), "redacted");
    assert!(early.balances().is_empty());
}

#[test]
fn the_digest_does_not_depend_on_having_seen_what_was_redacted() {
    let mut saw = fold(&[dinner("$d", "ann"), void("$v", "ann", "$d", &["$d"])]);
    saw.redact("$d");
    let never = fold(&[void("$v", "ann", "$d", &["$d"])]);
    assert_eq!(saw.digest(), never.digest());
    assert_ne!(saw.digest(), fold(&[]).digest());
}

#[test]
fn heads_and_what_is_missing() {
    let mut content = dinner_content("d", "ann", &["ann", "bob"]);
    content["prev"] = json!(["$gone", ROOT]);
    let mut ledger = fold(&[event("$d", "ann", "expense", content)]);
    assert_eq!(ledger.heads(), ["$d".into()]);
    assert_eq!(ledger.missing(), [Missing { event_id: "$gone".into(), cited_by: vec!["$d".into()] }]);
    assert_eq!(balances(&ledger)[0].1, 2800, "what is missing withholds nothing");
    ledger.insert(dinner("$gone", "bob"));
    assert!(ledger.missing().is_empty());
    assert_eq!(ledger.heads(), ["$d".into()]);
    ledger.redact("$d");
    assert_eq!(ledger.heads(), ["$gone".into(), ROOT.into()]);
    assert_eq!(Ledger::new(ROOT).missing(), [Missing { event_id: ROOT.into(), cited_by: vec![] }]);
}

#[test]
fn custom_units_are_the_roots() {
    let beer = |id: &str, amount: &str| {
        let content =
            json!({ "uid": &id[1..], "from": who("bob"), "to": who("ann"), "currency": "x-beer", "amount": amount });
        event(id, "ann", "settlement", content)
    };
    let open = json!({ "version": 1, "currency": "x-beer", "units": [{ "code": "x-beer", "decimals": 0 }] });
    let mut ledger = Ledger::fold(ROOT, [beer("$1", "3"), beer("$2", "3.0")]);
    assert_eq!((status(&ledger, "$1"), status(&ledger, "$2")), ("orphaned", "orphaned"));
    ledger.insert(event(ROOT, "ann", "open", open));
    assert_eq!((status(&ledger, "$1"), status(&ledger, "$2")), ("counts", "invalid"));
}

#[test]
fn a_chapter_opens_with_what_was_owed() {
    let open = json!({ "version": 1, "currency": "EUR", "continues": {
        "ledger": "$old", "heads": ["$h"], "digest": "0".repeat(64),
        "balances": [{ "from": who("bob"), "to": who("ann"), "currency": "EUR", "amount": "10.00" }],
    } });
    let mut ledger = Ledger::fold(ROOT, [event(ROOT, "ann", "open", open)]);
    assert_eq!(balances(&ledger), owed(&[("ann", 1000), ("bob", -1000)]));
    ledger.redact(ROOT);
    assert!(ledger.balances().is_empty());
}

#[test]
fn judging_leaves_the_ledger_alone() {
    let ledger = fold(&[dinner("$d", "ann"), payment("$p", "bob", "bob", "ann", "28.00")]);
    let before = ledger.digest();
    assert_eq!(ledger.judge(void("$v", "bob", "$d", &["$d"])), Status::Counts);
    assert_eq!(ledger.judge(void("$v", "mallory", "$d", &["$d"])), Status::Unauthorised);
    assert_eq!(ledger.judge(verdict("$v", "ann", "$p", "confirmed", &[])), Status::Counts);
    assert_eq!(ledger.judge(verdict("$v", "ann", "$d", "confirmed", &[])), Status::Invalid);
    assert_eq!(ledger.judge(verdict("$v", "ann", "$nowhere", "confirmed", &[])), Status::Orphaned);
    assert_eq!(ledger.digest(), before);
}

#[test]
fn what_nobody_else_has_cited_is_cited_by_the_next_author() {
    let citing = |id: &str, author: &str, prev: &[&str]| {
        let mut content = dinner_content(&id[1..], author, &["ann", "bob"]);
        content["prev"] = json!(prev);
        event(id, author, "expense", content)
    };
    let entries = [citing("$1", "ann", &[ROOT]), citing("$2", "ann", &["$1"]), citing("$3", "ann", &["$2"])];
    let mut ledger = fold(&entries);
    let prev = |ledger: &Ledger, author: &str| -> Vec<String> {
        ledger.prev(&who(author)).iter().map(ToString::to_string).collect()
    };
    // The head first, then what Ann alone has cited; she herself says nothing new by citing that.
    assert_eq!(prev(&ledger, "bob"), ["$3", "$1", "$2", ROOT]);
    assert_eq!(prev(&ledger, "ann"), ["$3"]);
    ledger.insert(citing("$4", "bob", &["$3", "$1", "$2", ROOT]));
    assert_eq!(prev(&ledger, "carl"), ["$4"]);
    assert_eq!(prev(&ledger, "ann"), ["$4"]);
    // In any order; and not any more where the one who cited them takes it back.
    let mut backwards = Ledger::new(ROOT);
    for entry in [&[citing("$4", "bob", &["$3", "$1", "$2", ROOT])], &entries[..]].concat().iter().rev() {
        backwards.insert(entry.clone());
    }
    backwards.insert(root());
    assert_eq!(prev(&backwards, "ann"), ["$4"]);
    ledger.redact("$4");
    assert_eq!(prev(&ledger, "bob"), ["$3", "$1", "$2", ROOT]);
    let many: Vec<Entry> = (0..50).map(|n| citing(&format!("$m{n:02}"), "ann", &["$3"])).collect();
    ledger.extend(many);
    assert_eq!(ledger.prev(&who("bob")).len(), 20);
}
