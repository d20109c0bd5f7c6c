//! Settlements: pending, confirmed, disputed, taken back, recorded twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn answering(id: &str, author: &str, answers: &str, amount: &str) -> Entry {
    let mut content = payment_content(&format!("pay{}", &id[1..]), "bob", "ann", amount);
    content["answers"] = json!(answers);
    event(id, author, "settlement", content)
}

#[test]
fn disputes() {
    let pay = payment("$p", "bob", "bob", "ann", "28.00");
    // Of concurrent verdicts the dispute wins.
    let ledger =
        fold(&[pay.clone(), verdict("$1", "ann", "$p", "confirmed", &[]), verdict("$2", "ann", "$p", "disputed", &[])]);
    assert_eq!(
        (status(&ledger, "$p"), status(&ledger, "$1"), status(&ledger, "$2")),
        ("disputed", "superseded", "counts")
    );
    // A confirmation that lists the dispute replaces it.
    let ledger = fold(&[
        pay.clone(),
        verdict("$1", "ann", "$p", "confirmed", &["$2"]),
        verdict("$2", "ann", "$p", "disputed", &[]),
    ]);
    assert_eq!(status(&ledger, "$p"), "counts");
    // Nobody but the payee judges.
    let ledger =
        fold(&[pay, verdict("$1", "bob", "$p", "confirmed", &[]), verdict("$2", "max", "$p", "confirmed", &[])]);
    assert_eq!(
        (status(&ledger, "$p"), status(&ledger, "$1"), status(&ledger, "$2")),
        ("pending", "unauthorised", "unauthorised")
    );
}

#[test]
fn a_verdict_is_about_one_version() {
    let mut ledger = fold(&[payment("$p", "bob", "bob", "ann", "28.00"), verdict("$v", "ann", "$p", "confirmed", &[])]);
    ledger.insert(amend("$a", "bob", "$p", &["$p"], "settlement", payment_content("payp", "bob", "ann", "50.00")));
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$a")), ("superseded", "pending"));
    assert!(ledger.balances().is_empty(), "the payer gave up what counted");
    ledger.insert(verdict("$w", "ann", "$a", "confirmed", &[]));
    assert_eq!(balances(&ledger), owed(&[("ann", -5000), ("bob", 5000)]));
}

#[test]
fn the_payee_takes_back_only_with_the_payers_consent() {
    // Written by the payee: a void, an amend, a dispute.
    let pay = payment("$p", "ann", "bob", "ann", "28.00");
    let less = amend("$a", "ann", "$p", &["$p"], "settlement", payment_content("payp", "bob", "ann", "1.00"));
    let back = verdict("$x", "ann", "$p", "disputed", &[]);
    let mut ledger = fold(&[pay, void("$v", "ann", "$p", &["$p"]), less, back]);
    for id in ["$v", "$a", "$x"] {
        assert_eq!(status(&ledger, id), "pending", "{id}");
    }
    assert_eq!(balances(&ledger), owed(&[("ann", -2800), ("bob", 2800)]));
    assert!(ledger.pending().is_empty(), "nothing waits for a payee");
    ledger.insert(verdict("$c", "bob", "$a", "confirmed", &[]));
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$a")), ("superseded", "counts"));
    assert_eq!(balances(&ledger), owed(&[("ann", -100), ("bob", 100)]));
    // The payer at any time.
    let mut ledger = fold(&[payment("$p", "ann", "bob", "ann", "28.00")]);
    ledger.insert(void("$v", "bob", "$p", &["$p"]));
    assert!(ledger.balances().is_empty());
    // A confirmation, then a dispute of it; then the payer agrees.
    let mut ledger = fold(&[
        payment("$p", "bob", "bob", "ann", "28.00"),
        verdict("$1", "ann", "$p", "confirmed", &[]),
        verdict("$2", "ann", "$p", "disputed", &["$1"]),
    ]);
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$2")), ("counts", "pending"));
    ledger.insert(verdict("$3", "bob", "$2", "confirmed", &[]));
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$2")), ("disputed", "counts"));
}

#[test]
fn the_payee_cannot_take_back_by_repeating_a_uid() {
    let less = event("$0", "ann", "settlement", payment_content("payp", "bob", "ann", "0.01"));
    let ledger = fold(&[payment("$p", "ann", "bob", "ann", "28.00"), less]);
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$0")), ("counts", "conflict"));
    // Other parties: another entry.
    let other = event("$0", "ann", "settlement", payment_content("payp", "carl", "ann", "1.00"));
    let ledger = fold(&[payment("$p", "ann", "bob", "ann", "28.00"), other]);
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$0")), ("counts", "counts"));
}

#[test]
fn a_third_person_cannot_take_back_what_the_payee_confirmed() {
    let ledger = fold(&[
        payment("$p", "max", "bob", "ann", "28.00"),
        verdict("$c", "ann", "$p", "confirmed", &[]),
        void("$v", "max", "$p", &["$p"]),
    ]);
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$v")), ("counts", "pending"));
    let ledger = fold(&[payment("$p", "max", "bob", "ann", "28.00"), void("$v", "max", "$p", &["$p"])]);
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$v")), ("void", "counts"));
}

#[test]
fn trust_counts_until_disputed() {
    let trust = json!({ "version": 1, "currency": "EUR", "policies": { "settlement": "trust" } });
    let mut ledger =
        Ledger::fold(ROOT, [event(ROOT, "ann", "open", trust), payment("$p", "bob", "bob", "ann", "28.00")]);
    assert_eq!(status(&ledger, "$p"), "counts");
    ledger.insert(verdict("$v", "ann", "$p", "disputed", &[]));
    assert_eq!(status(&ledger, "$p"), "disputed");
    assert!(ledger.balances().is_empty());
}

#[test]
fn both_sides_record_one_payment() {
    // The payer first, the payee answers.
    let mut ledger = fold(&[payment("$p", "bob", "bob", "ann", "28.00"), answering("$q", "ann", "$p", "28.00")]);
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$q")), ("superseded", "counts"));
    assert_eq!(balances(&ledger), owed(&[("ann", -2800), ("bob", 2800)]));
    // Confirming the first as well changes nothing.
    ledger.insert(verdict("$v", "ann", "$p", "confirmed", &[]));
    assert_eq!(balances(&ledger), owed(&[("ann", -2800), ("bob", 2800)]));
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$q")), ("counts", "superseded"));
    // The payee first, the payer answers.
    let ledger = fold(&[payment("$p", "ann", "bob", "ann", "28.00"), answering("$q", "bob", "$p", "28.00")]);
    assert_eq!((status(&ledger, "$p"), status(&ledger, "$q")), ("counts", "superseded"));
    assert!(ledger.pending().is_empty());
    // A smaller answer takes nothing back.
    let ledger = fold(&[
        payment("$p", "bob", "bob", "ann", "28.00"),
        verdict("$v", "ann", "$p", "confirmed", &[]),
        answering("$q", "ann", "$p", "0.01"),
    ]);
    assert_eq!(balances(&ledger), owed(&[("ann", -2800), ("bob", 2800)]));
}

#[test]
fn whoever_declared_a_person_speaks_for_them() {
    let ledger = fold(&[
        payment("$1", "max", "bob", "dora~@ann:x.org", "5.00"),
        verdict("$2", "ann", "$1", "confirmed", &[]),
        payment("$3", "ann", "bob", "dora~@ann:x.org", "7.00"),
        payment("$4", "ann", "dora~@ann:x.org", "ann", "1.00"),
    ]);
    for id in ["$1", "$3", "$4"] {
        assert_eq!(status(&ledger, id), "counts", "{id}");
    }
}
