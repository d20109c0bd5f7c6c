#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(kind: &str, content: &Value) -> Entry {
    let kind = format!("com.cliquepay.{kind}");
    let source = Source { event_id: "$e", sender: "@ann:x.org", kind: &kind, origin_server_ts: 5, redacted: false };
    Entry::parse(&source, content)
}

fn dinner() -> Value {
    json!({
        "open": "$root", "prev": ["$root"], "uid": "u1", "title": "Dinner", "date": "2026-11-22", "currency": "EUR",
        "amount": "84.00", "paid": [{ "who": "@ann:x.org", "amount": "84.00" }],
        "split": { "method": "equal", "inputs": [{ "who": "@ann:x.org" }, { "who": "@bob:x.org" }] },
        "owed": [{ "who": "@ann:x.org", "amount": "42.00" }, { "who": "@bob:x.org", "amount": "42.00" }],
    })
}

fn payment() -> Value {
    json!({ "open": "$root", "uid": "u1", "from": "@bob:x.org", "to": "@ann:x.org", "currency": "EUR", "amount": "42.00" })
}

/// The field that is at fault once `change` was made.
fn fault(kind: &str, mut content: Value, change: impl Fn(&mut Value)) -> String {
    assert_eq!(parse(kind, &content).body.err(), None, "valid before the change");
    change(&mut content);
    parse(kind, &content).body.expect_err("invalid after the change").field
}

#[test]
fn a_good_expense() {
    let entry = parse("expense", &dinner());
    let Ok(Body::Expense(e)) = &entry.body else { panic!("{:?}", entry.body) };
    assert_eq!((&*e.uid, e.amount, e.owed.len(), e.method), ("u1", Amount(8400), 2, crate::split::Method::Equal));
    assert_eq!((entry.open.as_deref(), entry.prev.len(), entry.ts), (Some("$root"), 1, 5));
    assert!(e.warnings().is_empty());
}

#[test]
fn the_field_at_fault_in_an_expense() {
    let at = |change: fn(&mut Value)| fault("expense", dinner(), change);
    assert_eq!(at(|c| c["amount"] = json!("84.0")), "amount");
    assert_eq!(at(|c| c["amount"] = json!("84.01")), "paid");
    assert_eq!(at(|c| c["amount"] = json!(84)), "amount");
    assert_eq!(at(|c| c["amount"] = json!(84.5)), "amount");
    assert_eq!(at(|c| c["currency"] = json!("EURO")), "currency");
    assert_eq!(at(|c| c["owed"][1]["amount"] = json!("42.01")), "owed");
    assert_eq!(at(|c| c["owed"][1]["amount"] = json!("42")), "owed[1].amount");
    assert_eq!(at(|c| c["owed"][1]["amount"] = json!("-0.00")), "owed[1].amount");
    assert_eq!(at(|c| c["owed"][1]["who"] = json!("bob")), "owed[1].who");
    assert_eq!(at(|c| c["owed"][1]["who"] = json!("@ann:x.org")), "owed[1].who");
    assert_eq!(at(|c| c["owed"] = json!([])), "owed");
    assert_eq!(at(|c| c["title"] = json!("")), "title");
    assert_eq!(at(|c| c["title"] = json!("a\nb")), "title");
    assert_eq!(at(|c| c["title"] = json!("x".repeat(201))), "title");
    assert_eq!(at(|c| c["date"] = json!("2026-02-30")), "date");
    assert_eq!(at(|c| c["uid"] = json!("a b")), "uid");
    assert_eq!(at(|c| c["split"]["method"] = json!("fair")), "split.method");
    assert_eq!(at(|c| c["split"]["inputs"][1]["who"] = json!("@ann:x.org")), "split.inputs[1].who");
    assert_eq!(
        at(|c| c["split"] = json!({ "method": "exact", "inputs": [{ "who": "@ann:x.org", "value": 1 }] })),
        "split.inputs[0].value"
    );
    assert_eq!(
        at(|c| c["split"] = json!({ "method": "percent", "inputs": [{ "who": "@ann:x.org", "value": "-1" }] })),
        "split.inputs[0].value"
    );
    assert_eq!(at(|c| c["receipts"] = json!(["https://x.org/a.png"])), "receipts[0]");
    assert_eq!(at(|c| c["anything"] = json!({ "deep": [1, 0.5] })), "anything.deep[1]");
    assert_eq!(at(|c| c["open"] = json!("root")), "open");
    assert_eq!(
        at(|c| {
            c.as_object_mut().unwrap().remove("open");
        }),
        "open"
    );
    assert_eq!(at(|c| c["prev"] = json!((0..21).map(|i| format!("${i}")).collect::<Vec<_>>())), "prev");
    assert_eq!(at(|c| c["prev"] = json!(["$a", "$a"])), "prev[1]");
    assert_eq!(at(|c| c["notes"] = json!("x".repeat(4001))), "notes");
    assert_eq!(at(|c| c["junk"] = json!("x".repeat(MAX_CONTENT))), "");
    assert_eq!(at(|c| c["fx"] = json!({ "rate": "0.00" })), "fx.rate");
}

#[test]
fn no_hidden_transfers() {
    let hidden = |c: &mut Value| {
        c["owed"] = json!([{ "who": "@ann:x.org", "amount": "100.00" }, { "who": "@bob:x.org", "amount": "-16.00" }]);
    };
    assert_eq!(fault("expense", dinner(), hidden), "owed[1].amount");
    let hidden = |c: &mut Value| {
        c["paid"] = json!([{ "who": "@ann:x.org", "amount": "90.00" }, { "who": "@bob:x.org", "amount": "-6.00" }]);
    };
    assert_eq!(fault("expense", dinner(), hidden), "paid[1].amount");
}

#[test]
fn refunds_are_negative_throughout() {
    let mut refund = dinner();
    refund["amount"] = json!("-84.00");
    refund["paid"][0]["amount"] = json!("-84.00");
    refund["refund_of"] = json!("u0");
    for i in 0..2 {
        refund["owed"][i]["amount"] = json!("-42.00");
    }
    let entry = parse("expense", &refund);
    assert_eq!(entry.valid().unwrap().expense().unwrap().seed(), "u0");
    assert_eq!(fault("expense", refund, |c| c["owed"][0]["amount"] = json!("42.00")), "owed[0].amount");
}

#[test]
fn shares_that_do_not_follow_the_method_are_warned_of_and_count() {
    let mut odd = dinner();
    odd["owed"][0]["amount"] = json!("42.01");
    odd["owed"][1]["amount"] = json!("41.99");
    assert!(parse("expense", &odd).valid().unwrap().expense().unwrap().warnings().is_empty(), "one cent is rounding");
    odd["owed"][0]["amount"] = json!("60.00");
    odd["owed"][1]["amount"] = json!("24.00");
    let entry = parse("expense", &odd);
    let warnings = entry.valid().unwrap().expense().unwrap().warnings();
    assert_eq!(warnings[1], "@bob:x.org owes 24.00 where a split \"equal\" gives 42.00");
}

#[test]
fn two_hundred_people_fit_and_no_more() {
    let of = |n: usize| {
        let who = |i: usize| format!("@a-rather-long-name-{i}:matrix.a-long-server-name.example.org");
        let mut content = dinner();
        content["amount"] = json!(format!("{n}.00"));
        content["paid"] = json!([{ "who": who(0), "amount": format!("{n}.00") }]);
        content["owed"] = (0..n).map(|i| json!({ "who": who(i), "amount": "1.00" })).collect();
        content["split"] = json!({ "method": "equal" });
        parse("expense", &content).body.map(|_| ()).map_err(|e| e.field)
    };
    assert_eq!(of(200), Ok(()));
    assert_eq!(of(201), Err("owed".to_owned()));
    let mut two_lists = dinner();
    let line = |i: usize| json!({ "who": format!("@{i}:x"), "amount": "1.00" });
    two_lists["amount"] = json!("150.00");
    two_lists["paid"] = (0..150).map(line).collect();
    two_lists["owed"] = (100..250).map(line).collect();
    assert_eq!(parse("expense", &two_lists).body.unwrap_err().reason, "more than 200 people");
}

#[test]
fn the_field_at_fault_in_a_settlement() {
    let at = |change: fn(&mut Value)| fault("settlement", payment(), change);
    assert_eq!(at(|c| c["to"] = json!("@bob:x.org")), "to");
    assert_eq!(at(|c| c["amount"] = json!("0.00")), "amount");
    assert_eq!(at(|c| c["amount"] = json!("-1.00")), "amount");
    assert_eq!(at(|c| c["from"] = json!("bob")), "from");
    assert_eq!(at(|c| c["clears"] = json!({ "currency": "JPY", "amount": "1.0" })), "clears.amount");
    assert_eq!(at(|c| c["clears"] = json!({ "currency": "JPY", "amount": "0" })), "clears.amount");
    assert_eq!(at(|c| c["answers"] = json!("x")), "answers");
}

#[test]
fn only_the_cleared_amount_moves() {
    let mut cleared = payment();
    cleared["clears"] = json!({ "currency": "JPY", "amount": "7000" });
    let entry = parse("settlement", &cleared);
    let settlement = entry.valid().unwrap().settlement().unwrap();
    assert_eq!((settlement.moves().0.code(), settlement.moves().1), ("JPY", Amount(7000)));
}

#[test]
fn changes_and_verdicts() {
    let over: Vec<String> = (0..65).map(|i| format!("${i}")).collect();
    let void = json!({ "open": "$root", "target": "$d", "over": ["$d"] });
    assert_eq!(fault("void", void.clone(), |c| c["over"] = json!(over)), "over");
    assert_eq!(fault("void", void, |c| c["target"] = json!("d")), "target");
    let amend = json!({ "open": "$root", "target": "$d", "over": ["$d"], "type": EXPENSE, "content": dinner() });
    assert_eq!(fault("amend", amend.clone(), |c| c["content"]["owed"][1]["amount"] = json!("1.00")), "content.owed");
    assert_eq!(fault("amend", amend.clone(), |c| c["content"]["paid"][0]["who"] = json!("x")), "content.paid[0].who");
    assert_eq!(fault("amend", amend, |c| c["type"] = json!(VOID)), "type");
    let verdict = json!({ "open": "$root", "target": "$d", "verdict": "confirmed" });
    assert_eq!(fault("verdict", verdict, |c| c["verdict"] = json!("maybe")), "verdict");
}

#[test]
fn roots() {
    let open = json!({
        "version": 1, "currency": "x-beer", "units": [{ "code": "x-beer", "decimals": 0 }], "managers": ["@ann:x.org"],
        "policies": { "edit": "author", "settlement": "trust", "minimal": "everyone", "lines": false },
        "continues": {
            "ledger": "$old", "heads": ["$h"], "digest": "0".repeat(64),
            "balances": [{ "from": "@a:x", "to": "@b:x", "currency": "x-beer", "amount": "3" }],
        },
    });
    let at = |change: fn(&mut Value)| fault("open", open.clone(), change);
    assert_eq!(at(|c| c["version"] = json!(2)), "version");
    assert_eq!(at(|c| c["currency"] = json!("x-wine")), "currency");
    assert_eq!(at(|c| c["units"][0]["decimals"] = json!(9)), "units[0].decimals");
    assert_eq!(at(|c| c["managers"][0] = json!("carl~@ann:x.org")), "managers[0]");
    assert_eq!(at(|c| c["policies"]["edit"] = json!("all")), "policies.edit");
    assert_eq!(at(|c| c["continues"]["digest"] = json!("0")), "continues.digest");
    assert_eq!(at(|c| c["continues"]["balances"][0]["currency"] = json!("x-wine")), "continues.balances[0].currency");
    assert_eq!(at(|c| c["continues"]["balances"][0]["amount"] = json!("-3")), "continues.balances[0].amount");
}

#[test]
fn entries_that_move_nothing() {
    let declare = json!({ "open": "$root", "action": "declare", "pid": "carl", "name": "Carl" });
    assert_eq!(fault("participant", declare.clone(), |c| c["pid"] = json!("Carl")), "pid");
    assert_eq!(fault("participant", declare, |c| c["action"] = json!("marry")), "action");
    let rule = json!({
        "open": "$root", "uid": "r1", "rrule": "FREQ=MONTHLY", "start": "2026-11-22", "zone": "Europe/Berlin", "template": {},
    });
    assert_eq!(fault("recurrence", rule, |c| c["template"] = json!([])), "template");
    let uid = recurrence_uid("$rule", "2026-11-22");
    assert!(crate::ids::is_uid(&uid) && uid.len() == 44 && uid != recurrence_uid("$rule", "2026-11-23"));
    assert_eq!(parse("spell", &json!({ "open": "$root" })).body.unwrap_err().field, "type");
    assert!(
        is_entry_type("com.cliquepay.spell")
            && !is_entry_type("com.cliquepay.ledger")
            && !is_entry_type("m.room.message")
    );
}

#[test]
fn text_that_is_not_json() {
    let source = Source { event_id: "$e", sender: "@a:x", kind: EXPENSE, origin_server_ts: 0, redacted: false };
    assert_eq!(Entry::parse_json(&source, "{").body.unwrap_err().reason, "is not JSON");
    assert!(Entry::parse_json(&source, &"[".repeat(100_000)).body.is_err());
    assert_eq!(Entry::parse_json(&source, &dinner().to_string()).body, parse("expense", &dinner()).body);
    assert_eq!(Entry::parse_json(&source, "{\"open\":1e3}").body.unwrap_err().field, "open");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[-@$a-z0-9:.~ ]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn no_content_makes_parsing_panic(which in 0_usize..10, name in 0_usize..12, junk in any_json(), whole in any_json()) {
        let kinds = ["open", "expense", "settlement", "amend", "void", "verdict", "participant", "recurrence", "checkpoint", "x"];
        let names = ["open", "prev", "uid", "amount", "paid", "owed", "split", "items", "currency", "target", "over", "content"];
        parse(kinds[which], &whole);
        let mut content = dinner();
        content[names[name]] = junk;
        parse(kinds[which], &content);
        let amend = json!({ "open": "$root", "target": "$d", "type": EXPENSE, "content": content });
        parse("amend", &amend);
    }

    #[test]
    fn whatever_is_accepted_adds_up(paid in -99_i128..99, owed in -99_i128..99, total in -99_i128..99) {
        let eur = Currency::iso("EUR").unwrap();
        let text = |a: i128| json!(eur.format(Amount(a)));
        let mut content = dinner();
        content["amount"] = text(total);
        content["paid"] = json!([{ "who": "@ann:x.org", "amount": text(paid) }, { "who": "@bob:x.org", "amount": text(total - paid) }]);
        content["owed"] = json!([{ "who": "@ann:x.org", "amount": text(owed) }, { "who": "@bob:x.org", "amount": text(total - owed) }]);
        let signs = [paid, total - paid, owed, total - owed].iter().all(|a| *a == 0 || a.signum() == total.signum());
        prop_assert_eq!(parse("expense", &content).body.is_ok(), signs);
    }
}
