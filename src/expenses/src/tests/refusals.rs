//! Bad input: refused by the name of the field, and nothing is written.

use http::Method;
use serde_json::{Value, json};

use super::server::{Server, dinner, user, with};

fn lines(of: &[(&str, &str)]) -> Value {
    of.iter().map(|(who, amount)| json!({"who": user(who), "amount": amount})).collect::<Vec<_>>().into()
}

fn split(method: &str, of: &[(&str, &str)]) -> Value {
    let inputs: Vec<Value> = of.iter().map(|(who, value)| json!({"who": user(who), "value": value})).collect();
    json!({"split": {"method": method, "inputs": inputs}})
}

fn cases() -> Vec<(Value, &'static str)> {
    let crowd: Vec<Value> = (0..201).map(|n| json!({"who": user(&format!("u{n}"))})).collect();
    vec![
        // Amounts.
        (json!({"amount": "84.0"}), "amount"),
        (json!({"amount": "84"}), "amount"),
        (json!({"amount": "84.000"}), "amount"),
        (json!({"amount": "084.00"}), "amount"),
        (json!({"amount": "+84.00"}), "amount"),
        (json!({"amount": "8.4e1"}), "amount"),
        (json!({"amount": " 84.00"}), "amount"),
        (json!({"amount": "84,00"}), "amount"),
        (json!({"amount": "٨٤.00"}), "amount"),
        (json!({"amount": "-0.00"}), "amount"),
        (json!({"amount": "9999999999999.00"}), "amount"),
        (json!({"amount": 84}), "amount"),
        (json!({"amount": 84.5}), "amount"),
        (json!({"amount": null}), "amount"),
        // Currencies.
        (json!({"currency": "XXX"}), "currency"),
        (json!({"currency": "eur"}), "currency"),
        (json!({"currency": "JPY"}), "amount"),
        (json!({"currency": "x-beer"}), "currency"),
        (json!({"currency": null}), "currency"),
        // What does not add up.
        (split("exact", &[("ann", "50.00"), ("ben", "33.00")]), "split.inputs"),
        (split("percent", &[("ann", "50"), ("ben", "49.9999")]), "split.inputs"),
        (split("shares", &[("ann", "0"), ("ben", "0")]), "split.inputs"),
        (json!({"paid": lines(&[("ann", "50.00"), ("ben", "33.99")])}), "paid"),
        (json!({"owed": lines(&[("ann", "50.00"), ("ben", "34.01")])}), "owed"),
        (json!({"paid": []}), "paid"),
        (json!({"owed": []}), "owed"),
        // Hidden transfers.
        (json!({"owed": lines(&[("ann", "-16.00"), ("ben", "100.00")])}), "owed[0].amount"),
        (json!({"paid": lines(&[("ann", "100.00"), ("ben", "-16.00")])}), "paid[1].amount"),
        (split("exact", &[("ann", "100.00"), ("ben", "-16.00")]), "split.inputs[1].value"),
        (split("adjustment", &[("ann", "100.00"), ("ben", "0.00")]), "split.inputs[1].value"),
        (split("shares", &[("ann", "1"), ("ben", "-1")]), "split.inputs[1].value"),
        // Strangers.
        (split("exact", &[("ann", "50.00"), ("eve", "34.00")]), "split.inputs[1].who"),
        (json!({"split": {"method": "equal", "inputs": [{"who": "@ann:elsewhere.test"}]}}), "split.inputs[0].who"),
        (json!({"paid": lines(&[("eve", "84.00")])}), "paid[0].who"),
        (json!({"owed": lines(&[("ann", "42.00"), ("eve", "42.00")])}), "owed[1].who"),
        // Even where they stand on one side only: what is signed is what counts.
        (json!({"split": {"method": "equal"}, "owed": lines(&[("eve", "84.00")])}), "owed[0].who"),
        (
            json!({"split": {"method": "itemised"}, "items": [{"title": "Fish", "amount": "84.00", "who": ["@ann:hs", "@eve:hs"]}]}),
            "items[0].who[1]",
        ),
        (json!({"split": {"method": "equal", "inputs": [{"who": "ben"}]}}), "split.inputs[0].who"),
        (json!({"split": {"method": "equal", "inputs": [{"who": 7}]}}), "split.inputs[0].who"),
        // The same person twice.
        (split("exact", &[("ben", "42.00"), ("ben", "42.00")]), "split.inputs[1].who"),
        (json!({"paid": lines(&[("ben", "42.00"), ("ben", "42.00")])}), "paid[1].who"),
        (json!({"owed": lines(&[("ben", "42.00"), ("ben", "42.00")])}), "owed[1].who"),
        // Splits.
        (json!({"split": {"method": "fairly", "inputs": [{"who": "@ann:hs"}]}}), "split.method"),
        (json!({"split": {"method": "equal"}}), "split.inputs"),
        (json!({"split": {"method": "exact", "inputs": [{"who": "@ann:hs"}]}}), "split.inputs[0].value"),
        (json!({"split": "equal"}), "split"),
        (json!({"split": null}), "split"),
        (json!({"split": {"method": "equal", "inputs": crowd}}), "split.inputs"),
        // Sizes and shapes.
        (json!({"title": ""}), "title"),
        (json!({"title": "Dinner\u{7}"}), "title"),
        (json!({"title": "x".repeat(201)}), "title"),
        (json!({"notes": "x".repeat(4001)}), "notes"),
        (json!({"anything": "x".repeat(41_000)}), ""),
        (json!({"anything": 1.5}), "anything"),
        (json!({"anything": [9_007_199_254_740_992_u64]}), "anything[0]"),
        (json!({"date": "2026-02-30"}), "date"),
        (json!({"uid": "a b"}), "uid"),
        (json!({"receipts": ["https://example.org"]}), "receipts[0]"),
    ]
}

#[tokio::test]
async fn a_bad_expense_is_refused_by_field() {
    let server = Server::new(&["ann", "ben", "eve"]).await;
    let room = server.group(&["ann", "ben"]).await;
    let good = dinner(&["ann", "ben"]);
    let entry = server.added("ann", &room, "expense", good.clone()).await;
    let before = server.api().engine.frontier();
    for (changes, field) in cases() {
        let content = with(&good, changes);
        server.add("ann", &room, "expense", content.clone()).await.names(field);
        // As an amend the same is refused below `content`; not all that makes a content too large does.
        if !field.is_empty() {
            let amend = json!({"target": entry, "content": content});
            server.add("ann", &room, "amend", amend).await.names(&format!("content.{field}"));
        }
    }
    assert_eq!(server.api().engine.frontier(), before);
}

#[tokio::test]
async fn nesting_is_bounded() {
    let server = Server::new(&["ann"]).await;
    let room = server.group(&["ann"]).await;
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    let body = server.add("ann", &room, "expense", with(&dinner(&["ann"]), json!({"x": deep}))).await;
    let body = body.refused(400, "M_INVALID_PARAM");
    assert!(body["field"].as_str().unwrap().starts_with("x[0]"), "{body}");
    let path = format!("/rooms/{room}/ledger/entries/t");
    let text = format!(r#"{{"type":"com.cliquepay.expense","content":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    server.request(Method::PUT, "ann", &path, Some(text)).await.refused(400, "M_BAD_JSON");
}

#[tokio::test]
async fn what_is_no_entry_is_refused() {
    let server = Server::new(&["ann"]).await;
    let room = server.group(&["ann"]).await;
    let path = format!("/rooms/{room}/ledger/entries/t");
    for kind in
        ["com.cliquepay.open", "com.cliquepay.nonsense", "com.cliquepay.ledger", "com.cliquepay.", "m.room.message", ""]
    {
        server.put("ann", &path, &json!({"type": kind, "content": dinner(&["ann"])})).await.names("type");
    }
    let content = |value: Value| json!({"type": "com.cliquepay.expense", "content": value});
    server.put("ann", &path, &content(json!([]))).await.names("");
    server.put("ann", &path, &content(json!("x"))).await.names("");
    let body = server.put("ann", &path, &json!({"content": {}})).await.refused(400, "M_MISSING_PARAM");
    assert_eq!(body["field"], "type");
    let body = server.put("ann", &path, &json!({"type": 5, "content": {}})).await.refused(400, "M_BAD_JSON");
    assert_eq!(body["field"], "type");
    let text = r#"{"type":"com.cliquepay.expense","content":{"amount":1e999}}"#;
    let answer = server.request(Method::PUT, "ann", &path, Some(text.to_owned())).await;
    assert_eq!(answer.status, 400);
    server.request(Method::PUT, "ann", &path, Some("{".to_owned())).await.refused(400, "M_NOT_JSON");
    server.request(Method::DELETE, "ann", &path, None).await.refused(405, "M_UNRECOGNIZED");
    server.put("", &path, &content(dinner(&["ann"]))).await.refused(401, "M_MISSING_TOKEN");
    server.put("mallory", &path, &content(dinner(&["ann"]))).await.refused(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn two_hundred_people_fit_and_more_do_not() {
    let server = Server::new(&["ann"]).await;
    let room = server.group(&["ann"]).await;
    // Ids as long as they may be: their inputs and shares together are larger than an entry may be.
    let name = |n: usize| format!("{}{n:03}", "x".repeat(120));
    let mut inputs = Vec::new();
    for n in 0..201 {
        server.register(&name(n)).await;
        server.member("ann", &name(n), &room, "invite").await;
        inputs.push(json!({"who": user(&name(n))}));
    }
    let expense = |inputs: &[Value]| with(&dinner(&[]), json!({"split": {"method": "equal", "inputs": inputs}}));
    server.add("ann", &room, "expense", expense(&inputs)).await.names("split.inputs");
    let answer = server.add("ann", &room, "expense", expense(&inputs[..199])).await.ok();
    assert_eq!(answer["entry"]["content"]["owed"].as_array().unwrap().len(), 199);
    assert_eq!(answer["entry"]["content"]["split"], json!({"method": "equal"}));
    // With the payer, who does not share, they are 201.
    server.add("ann", &room, "expense", expense(&inputs[..200])).await.names("owed");
    let ledger = server.ledger("ann", &room).await;
    assert_eq!(ledger["balances"].as_array().unwrap().len(), 200);
    assert_eq!(ledger["plans"]["edges"]["transfers"].as_array().unwrap().len(), 199);
}

#[tokio::test]
async fn paths_and_queries_are_checked_too() {
    let server = Server::new(&["ann", "eve"]).await;
    let room = server.group(&["ann"]).await;
    server.get("ann", "/rooms/nothing/ledger").await.names("roomId");
    server.get("ann", "/rooms/%ff/ledger").await.names("path");
    server.get("ann", "/rooms/!nothing:hs/ledger").await.refused(403, "M_FORBIDDEN");
    server.get("ann", &format!("/rooms/{room}/ledger/entries/$nothing")).await.refused(404, "M_NOT_FOUND");
    for (query, field) in
        [("limit=x", "limit"), ("limit=-1", "limit"), ("dir=up", "dir"), ("from=7", "from"), ("from=e", "from")]
    {
        server.get("ann", &format!("/rooms/{room}/ledger/entries?{query}")).await.names(field);
    }
    server.get("ann", &format!("/rooms/{room}/ledger/entries?dir=f&dir=b")).await.names("query");
    let draft = json!({"type": "com.cliquepay.expense", "content": dinner(&["ann"])});
    for path in ["", "/entries", "/entries/$x"] {
        server.get("eve", &format!("/rooms/{room}/ledger{path}")).await.refused(403, "M_FORBIDDEN");
    }
    server.post("eve", &format!("/rooms/{room}/ledger/preview"), &draft).await.refused(403, "M_FORBIDDEN");
    server.put("eve", &format!("/rooms/{room}/ledger/entries/t"), &draft).await.refused(403, "M_FORBIDDEN");
    // Who is invited reads nothing yet.
    server.member("ann", "eve", &room, "invite").await;
    server.get("eve", &format!("/rooms/{room}/ledger")).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn whose_account_is_suspended_reads_and_writes_nothing() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group(&["ann", "ben"]).await;
    server.suspend("ben", true).await;
    server.ledger("ben", &room).await;
    server.add("ben", &room, "expense", dinner(&["ann", "ben"])).await.refused(403, "M_USER_SUSPENDED");
    let group = json!({"name": "Lunch", "currency": "EUR", "invite": [], "policies": {}});
    server.put("ben", &format!("/groups/{}", server.txn()), &group).await.refused(403, "M_USER_SUSPENDED");
    assert_eq!(server.ledger("ann", &room).await["balances"], json!([]));
    server.suspend("ben", false).await;
    server.add("ben", &room, "expense", dinner(&["ann", "ben"])).await.ok();
}
