#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;

use super::*;
use crate::entry::is_entry_type;

const ANN: &str = "@ann:x.org";
const BOB: &str = "@bob:x.org";

fn context<'a>(sender: &'a str, uid: &'a str, ledger: Option<&'a Ledger>) -> Context<'a> {
    Context { create: "$create", sender, uid, today: "2026-11-22", ledger }
}

fn add(ledger: &mut Ledger, id: &str, sender: &str, kind: &str, content: &Value) {
    assert!(is_entry_type(kind));
    let source = Source { event_id: id, sender, kind, origin_server_ts: 1, redacted: false };
    ledger.insert(Entry::parse(&source, content));
}

fn opened() -> Ledger {
    let draft = json!({ "currency": "EUR", "units": [{ "code": "x-beer", "decimals": 0 }] });
    let root = compose(&NewEntry { kind: OPEN, content: &draft }, &context(ANN, "u0", None)).unwrap();
    let mut ledger = Ledger::new("$root");
    add(&mut ledger, "$root", ANN, OPEN, &root.content);
    ledger
}

fn write(ledger: &mut Ledger, id: &str, sender: &str, kind: &str, draft: Value) -> Result<Value, ComposeError> {
    let uid = format!("u{}", &id[1..]);
    let composed = compose(&NewEntry { kind, content: &draft }, &context(sender, &uid, Some(ledger)))?;
    add(ledger, id, sender, kind, &composed.content);
    Ok(composed.content)
}

fn dinner_draft() -> Value {
    json!({
        "title": "Dinner", "currency": "EUR", "amount": "84.00",
        "split": { "method": "equal", "inputs": [{ "who": ANN }, { "who": BOB }, { "who": "@carl:x.org" }] },
    })
}

fn payment_draft() -> Value {
    json!({ "from": BOB, "to": ANN, "currency": "EUR", "amount": "28.00" })
}

fn name(person: &str) -> String {
    let local = person[1..].split(':').next().unwrap();
    local[..1].to_uppercase() + &local[1..]
}

fn line(ledger: &Ledger, id: &str) -> String {
    let entry = ledger.entry(id).unwrap();
    words(entry.valid().unwrap(), &entry.sender, Some(ledger), &name)
}

#[test]
fn a_dinner_is_completed() {
    let mut ledger = opened();
    let content = write(&mut ledger, "$d", ANN, EXPENSE, dinner_draft()).unwrap();
    assert_eq!(
        content,
        json!({
            "m.relates_to": { "rel_type": "m.reference", "event_id": "$create" },
            "open": "$root", "prev": ["$root"], "uid": "ud", "date": "2026-11-22",
            "title": "Dinner", "currency": "EUR", "amount": "84.00",
            "paid": [{ "who": ANN, "amount": "84.00" }],
            "split": { "method": "equal", "inputs": [{ "who": ANN }, { "who": BOB }, { "who": "@carl:x.org" }] },
            "owed": [
                { "who": ANN, "amount": "28.00" }, { "who": BOB, "amount": "28.00" }, { "who": "@carl:x.org", "amount": "28.00" },
            ],
        })
    );
    assert_eq!(ledger.heads(), ["$d".into()]);
}

#[test]
fn the_whole_evening_in_words() {
    let mut ledger = opened();
    write(&mut ledger, "$d", ANN, EXPENSE, dinner_draft()).unwrap();
    write(&mut ledger, "$p", BOB, SETTLEMENT, payment_draft()).unwrap();
    write(&mut ledger, "$c", ANN, VERDICT, json!({ "target": "$p", "verdict": "confirmed" })).unwrap();
    let mut two = dinner_draft();
    two["amount"] = json!("90.00");
    write(&mut ledger, "$a", BOB, AMEND, json!({ "target": "$d", "content": two, "reason": "tip" })).unwrap();
    write(&mut ledger, "$v", ANN, VOID, json!({ "target": "$a", "reason": "wrong group" })).unwrap();
    insta::assert_snapshot!(["$root", "$d", "$p", "$c", "$a", "$v"].map(|id| line(&ledger, id)).join("\n"), @r#"
    Ann opened the ledger in EUR
    Ann paid €84.00 for Dinner: Bob owes €28.00, Carl owes €28.00
    Bob paid Ann €28.00
    Ann confirmed the payment of €28.00 from Bob to Ann
    Bob changed "Dinner" (€84.00) (tip): Ann paid €90.00 for Dinner: Bob owes €30.00, Carl owes €30.00
    Ann removed "Dinner" (€84.00) (wrong group)
    "#);
    assert!(ledger.net("@carl:x.org").is_empty());
    assert_eq!(ledger.status("$v"), Some(Status::Counts));
    assert!(ledger.conflicts().is_empty() && ledger.rejects().is_empty());
}

#[test]
fn several_payers_refunds_and_odd_names() {
    let mut ledger = opened();
    let mut both = dinner_draft();
    both["paid"] = json!([{ "who": ANN, "amount": "50.00" }, { "who": BOB, "amount": "34.00" }]);
    write(&mut ledger, "$1", ANN, EXPENSE, both).unwrap();
    assert_eq!(line(&ledger, "$1"), "Ann paid €50.00 and Bob paid €34.00 for Dinner: Carl owes €28.00");
    let mut back = dinner_draft();
    back["amount"] = json!("-84.00");
    back["refund_of"] = json!("u1");
    write(&mut ledger, "$2", ANN, EXPENSE, back).unwrap();
    assert_eq!(line(&ledger, "$2"), "Ann received €84.00 for Dinner: Bob gets €28.00, Carl gets €28.00");
    let odd = |_: &str| "Eve\n\u{202e}".to_owned();
    let entry = ledger.entry("$2").unwrap();
    assert!(words(entry.valid().unwrap(), ANN, None, &odd).starts_with("Eve received"));
    let nameless = |_: &str| "\u{200b} ".to_owned();
    assert!(words(entry.valid().unwrap(), ANN, None, &nameless).starts_with("@ann:x.org received"));
    let iso = |code: &str| Currency::iso(code).unwrap();
    assert_eq!(money_words(&iso("CHF"), crate::Amount(-1250)), "-CHF 12.50");
    assert_eq!(money_words(&iso("JPY"), crate::Amount(900)), "¥900");
    assert_eq!(money_words(&Currency::custom("x-beer", 0).unwrap(), crate::Amount(3)), "x-beer 3");
}

#[test]
fn what_is_refused_names_the_field() {
    let mut ledger = opened();
    write(&mut ledger, "$d", ANN, EXPENSE, dinner_draft()).unwrap();
    write(&mut ledger, "$p", BOB, SETTLEMENT, payment_draft()).unwrap();
    let mut fault = |sender: &str, kind: &str, draft: Value| match write(&mut ledger, "$x", sender, kind, draft) {
        Err(ComposeError::Invalid(e)) => e.field,
        Err(ComposeError::Forbidden(_)) => "forbidden".to_owned(),
        Err(ComposeError::Unknown(field)) => format!("unknown {field}"),
        Ok(content) => panic!("accepted: {content}"),
    };
    let dinner = |name: &str, value: Value| {
        let mut draft = dinner_draft();
        draft[name] = value;
        draft
    };
    assert_eq!(fault(ANN, EXPENSE, dinner("amount", json!("84.0"))), "amount");
    assert_eq!(fault(ANN, EXPENSE, dinner("currency", json!("XXX"))), "currency");
    assert_eq!(fault(ANN, EXPENSE, dinner("amount", json!("84"))), "amount");
    assert_eq!(fault(ANN, EXPENSE, dinner("uid", json!("ud"))), "uid");
    let exact = json!({ "method": "exact", "inputs": [{ "who": ANN, "value": "84.01" }] });
    assert_eq!(fault(ANN, EXPENSE, dinner("split", exact)), "split.inputs");
    let twice = json!({ "method": "equal", "inputs": [{ "who": ANN }, { "who": ANN }] });
    assert_eq!(fault(ANN, EXPENSE, dinner("split", twice)), "split.inputs[1].who");
    assert_eq!(fault(ANN, EXPENSE, dinner("owed", json!([{ "who": ANN, "amount": "1.00" }]))), "owed");
    let beer = json!({ "from": BOB, "to": ANN, "currency": "x-beer", "amount": "1.0" });
    assert_eq!(fault(BOB, SETTLEMENT, beer), "currency");
    assert_eq!(fault("@carl:x.org", SETTLEMENT, payment_draft()), "from");
    assert_eq!(fault("@carl:x.org", VOID, json!({ "target": "$p" })), "forbidden");
    assert_eq!(fault("@mallory:x.org", VOID, json!({ "target": "$d" })), "forbidden");
    assert_eq!(fault(BOB, VERDICT, json!({ "target": "$p", "verdict": "confirmed" })), "forbidden");
    assert_eq!(fault(ANN, VERDICT, json!({ "target": "$d", "verdict": "confirmed" })), "target");
    assert_eq!(fault(ANN, VERDICT, json!({ "target": "$nowhere", "verdict": "confirmed" })), "unknown target");
    assert_eq!(fault(ANN, VOID, json!({ "target": "$nowhere" })), "unknown target");
    let amend = json!({ "target": "$d", "content": dinner("amount", json!("1")) });
    assert_eq!(fault(ANN, AMEND, amend), "content.amount");
    assert_eq!(fault(ANN, OPEN, json!({ "currency": "EUR" })), "type");
    assert_eq!(fault(ANN, EXPENSE, json!([])), "");
    assert_eq!(fault(ANN, EXPENSE, dinner("x", json!(0.5))), "x");
}

#[test]
fn over_is_filled_so_that_nothing_conflicts() {
    let mut ledger = opened();
    write(&mut ledger, "$d", ANN, EXPENSE, dinner_draft()).unwrap();
    write(&mut ledger, "$1", ANN, AMEND, json!({ "target": "$d", "content": dinner_draft() })).unwrap();
    let void = write(&mut ledger, "$2", BOB, VOID, json!({ "target": "$1" })).unwrap();
    assert_eq!((&void["target"], &void["over"]), (&json!("$d"), &json!(["$1", "$d"])));
    assert!(matches!(write(&mut ledger, "$3", ANN, VOID, json!({ "target": "$d" })), Err(ComposeError::Invalid(_))));
    write(&mut ledger, "$4", ANN, AMEND, json!({ "target": "$d", "content": dinner_draft() })).unwrap();
    assert_eq!((ledger.status("$2"), ledger.status("$4")), (Some(Status::Superseded), Some(Status::Counts)));
    write(&mut ledger, "$p", BOB, SETTLEMENT, payment_draft()).unwrap();
    write(&mut ledger, "$5", ANN, VERDICT, json!({ "target": "$p", "verdict": "disputed" })).unwrap();
    assert_eq!(ledger.status("$p"), Some(Status::Disputed));
    write(&mut ledger, "$6", ANN, VERDICT, json!({ "target": "$p", "verdict": "confirmed" })).unwrap();
    assert_eq!(ledger.status("$p"), Some(Status::Counts));
}

#[test]
fn two_hundred_long_ids_fit() {
    let mut ledger = opened();
    let inputs: Vec<Value> = (0..199)
        .map(
            |i| json!({ "who": format!("@somebody-with-a-long-name-{i:03}:matrix.some-long-domain-name.example.org") }),
        )
        .collect();
    let draft = json!({
        "title": "Festival", "currency": "EUR", "amount": "1000.00", "split": { "method": "equal", "inputs": inputs },
    });
    let content = write(&mut ledger, "$d", ANN, EXPENSE, draft).unwrap();
    assert_eq!(content["owed"].as_array().unwrap().len(), 199);
    assert!(content.to_string().len() <= MAX_CONTENT);
}

proptest! {
    #[test]
    fn whatever_is_composed_counts(
        cents in -1_000_000_i128..1_000_000, people in 1_usize..8, method in 0_usize..3, uid in "[A-Za-z0-9_-]{1,12}",
    ) {
        let eur = Currency::iso("EUR").unwrap();
        let method = ["equal", "shares", "percent"][method];
        let inputs: Vec<Value> = (0..people).map(|i| {
            let value = if method == "percent" { if i == 0 { 100 } else { 0 } } else { i + 1 };
            json!({ "who": format!("@p{i}:x.org"), "value": value.to_string() })
        }).collect();
        let draft = json!({
            "title": "T", "currency": "EUR", "amount": eur.format(crate::Amount(cents)),
            "split": { "method": method, "inputs": inputs },
        });
        let mut ledger = opened();
        let composed = compose(&NewEntry { kind: EXPENSE, content: &draft }, &context(ANN, &uid, Some(&ledger))).unwrap();
        prop_assert!(composed.body.expense().unwrap().warnings().is_empty());
        add(&mut ledger, "$d", ANN, EXPENSE, &composed.content);
        prop_assert_eq!(ledger.status("$d"), Some(Status::Counts));
    }
}
