//! The shared test vectors of `spec/vectors`: any implementation of the protocol can run the same ones.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use ledger::split::{Input, Item, Method, parse_input, shares};
use ledger::{Amount, Currency, Entry, Ledger, Source, plan};
use serde_json::{Value, json};

fn cases(name: &str) -> Vec<Value> {
    // As cargo says now: a build that is kept may be from where the project was before.
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let path = Path::new(&folder).join("../../spec/vectors").join(name);
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

#[test]
fn money() {
    for case in cases("money.json") {
        let (code, decimal) = (text(&case["currency"]), text(&case["text"]));
        let minor = Currency::of(code, decimal).and_then(|c| Ok((c.parse(decimal)?, c))).ok();
        let expected = case["minor"].as_str().map(|m| m.parse::<i128>().unwrap());
        assert_eq!(minor.as_ref().map(|m| m.0.0), expected, "{case}");
        if let Some((amount, currency)) = minor {
            assert_eq!(currency.format(amount), decimal);
        }
    }
}

#[test]
fn splits() {
    for case in cases("splits.json") {
        let currency = Currency::iso(text(&case["currency"])).unwrap();
        let amount = |v: &Value| currency.parse(text(v)).unwrap();
        let method = Method::from_name(text(&case["method"])).unwrap();
        let value = |v: &Value| match method {
            Method::Equal | Method::Itemised => 0,
            Method::Exact | Method::Adjustment => amount(v).0,
            Method::Percent | Method::Shares => parse_input(text(v)).unwrap(),
        };
        let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
        let inputs: Vec<Input> = list(&case["inputs"])
            .iter()
            .map(|i| Input { who: text(&i["who"]).into(), value: value(&i["value"]) })
            .collect();
        let items: Vec<Item> = list(&case["items"])
            .iter()
            .map(|i| Item {
                title: text(&i["title"]).to_owned(),
                amount: amount(&i["amount"]),
                who: list(&i["who"]).iter().map(|w| text(w).into()).collect(),
            })
            .collect();
        let owed = shares(method, amount(&case["amount"]), &inputs, &items, text(&case["seed"])).unwrap();
        let owed: Vec<Value> =
            owed.iter().map(|(who, a)| json!({ "who": &**who, "amount": currency.format(*a) })).collect();
        assert_eq!(Value::from(owed), case["owed"], "{}", case["name"]);
    }
}

fn events(case: &Value) -> Vec<Entry> {
    let events = case["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| {
            let source = Source {
                event_id: text(&event["event_id"]),
                sender: text(&event["sender"]),
                kind: text(&event["type"]),
                origin_server_ts: 0,
                redacted: event["redacted"].as_bool().unwrap_or(false),
            };
            Entry::parse(&source, &event["content"])
        })
        .collect()
}

#[test]
fn folds() {
    for case in cases("folds.json") {
        let name = text(&case["name"]);
        let mut events = events(&case);
        for _ in 0..events.len() {
            events.rotate_left(1);
            let ledger = Ledger::fold(text(&case["open"]), events.clone());
            let statuses: BTreeMap<String, Value> =
                ledger.views().map(|v| (v.entry.id.to_string(), json!(v.status))).collect();
            assert_eq!(json!(statuses), case["statuses"], "{name}");
            assert_eq!(json!(ledger.balances()), case["balances"], "{name}");
            assert_eq!(json!(ledger.digest()), case["digest"], "{name}");
            for (list, found) in [
                ("heads", json!(ledger.heads())),
                ("pending", json!(ledger.pending())),
                ("missing", json!(ledger.missing())),
                ("conflicts", json!(ledger.conflicts())),
            ] {
                if !case[list].is_null() {
                    assert_eq!(found, case[list], "{name}: {list}");
                }
            }
        }
    }
}

#[test]
fn plans() {
    for case in cases("plans.json") {
        let balances: Vec<_> = case["balances"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| (text(&b["who"]).into(), Amount(text(&b["amount"]).parse().unwrap())))
            .collect();
        let (transfers, exact) = plan::minimal(&balances);
        assert_eq!(
            (json!(transfers.len()), json!(exact)),
            (case["transfers"].clone(), case["exact"].clone()),
            "{case}"
        );
    }
}
