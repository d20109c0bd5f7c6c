#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::{Value, json};

use super::*;
use crate::entry::Source;

const ROOT: &str = "$root";

fn event(id: &str, sender: &str, kind: &str, mut content: Value) -> Entry {
    let kind = format!("com.cliquepay.{kind}");
    if kind != OPEN && content.get("open").is_none() {
        content["open"] = json!(ROOT);
    }
    let source = Source {
        event_id: id,
        sender: &format!("@{sender}:x.org"),
        kind: &kind,
        origin_server_ts: 1,
        redacted: false,
    };
    Entry::parse(&source, &content)
}

fn root() -> Entry {
    event(
        ROOT,
        "ann",
        "open",
        json!({ "version": 1, "currency": "EUR", "managers": ["@max:x.org"] }),
    )
}

fn who(name: &str) -> String {
    if name.contains('~') {
        name.to_owned()
    } else {
        format!("@{name}:x.org")
    }
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
    event(
        id,
        author,
        "expense",
        dinner_content("dinner", author, &["ann", "bob", "carl"]),
    )
}

fn payment_content(uid: &str, from: &str, to: &str, amount: &str) -> Value {
    json!({ "uid": uid, "from": who(from), "to": who(to), "currency": "EUR", "amount": amount })
}

fn payment(id: &str, author: &str, from: &str, to: &str, amount: &str) -> Entry {
    event(
        id,
        author,
        "settlement",
        payment_content(&format!("pay{}", &id[1..]), from, to, amount),
    )
}

fn verdict(id: &str, sender: &str, target: &str, verdict: &str, over: &[&str]) -> Entry {
    event(
        id,
        sender,
        "verdict",
        json!({ "target": target, "verdict": verdict, "over": over }),
    )
}

fn void(id: &str, sender: &str, target: &str, over: &[&str]) -> Entry {
    event(
        id,
        sender,
        "void",
        json!({ "target": target, "over": over }),
    )
}

fn amend(id: &str, sender: &str, target: &str, over: &[&str], kind: &str, content: Value) -> Entry {
    let kind = format!("com.cliquepay.{kind}");
    event(
        id,
        sender,
        "amend",
        json!({ "target": target, "over": over, "type": kind, "content": content }),
    )
}

fn fold(entries: &[Entry]) -> Ledger {
    Ledger::fold(ROOT, std::iter::once(root()).chain(entries.iter().cloned()))
}

fn balances(ledger: &Ledger) -> Vec<(String, i128)> {
    ledger
        .balances()
        .into_iter()
        .map(|b| (b.who[1..].split(':').next().unwrap().to_owned(), b.amount.0))
        .collect()
}

fn owed(list: &[(&str, i128)]) -> Vec<(String, i128)> {
    list.iter()
        .map(|(who, amount)| ((*who).to_owned(), *amount))
        .collect()
}

fn status(ledger: &Ledger, id: &str) -> &'static str {
    ledger.status(id).unwrap().name()
}

#[test]
fn a_dinner_split_and_settled() {
    let mut ledger = fold(&[dinner("$d", "ann")]);
    assert_eq!(
        balances(&ledger),
        owed(&[("ann", 5600), ("bob", -2800), ("carl", -2800)])
    );
    assert_eq!(
        ledger.insert(payment("$p", "bob", "bob", "ann", "28.00")),
        ["$p".into()]
    );
    assert_eq!(status(&ledger, "$p"), "pending");
    assert_eq!(
        balances(&ledger),
        owed(&[("ann", 5600), ("bob", -2800), ("carl", -2800)])
    );
    assert_eq!(
        ledger.insert(verdict("$v", "ann", "$p", "confirmed", &[])),
        ["$p".into(), "$v".into()]
    );
    assert_eq!(status(&ledger, "$p"), "counts");
    ledger.insert(payment("$q", "ann", "carl", "ann", "28.00"));
    assert_eq!(status(&ledger, "$q"), "counts");
    assert_eq!(balances(&ledger), owed(&[]));
}
