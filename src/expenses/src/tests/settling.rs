//! Paying back.

use serde_json::json;

use super::server::{Server, balances, dinner, payment};

const ALL: [&str; 3] = ["ann", "ben", "carl"];

async fn evening() -> (Server, String) {
    let server = Server::new(&ALL).await;
    let room = server.group(&ALL).await;
    server.added("ann", &room, "expense", dinner(&ALL)).await;
    (server, room)
}

#[tokio::test]
async fn a_payment_counts_once_the_payee_confirms_it() {
    let (server, room) = evening().await;
    let owed = balances(&[("ann", "56.00"), ("ben", "-28.00"), ("carl", "-28.00")]);
    let paid = server.add("ben", &room, "settlement", payment("ben", "ann", "28.00")).await.ok();
    assert_eq!(paid["entry"]["status"], "pending");
    assert_eq!(paid["entry"]["content"]["uid"], paid["uid"]);
    assert_eq!(server.balances("ann", &room).await, owed);
    let ledger = server.ledger("ann", &room).await;
    assert_eq!(ledger["pending"], json!([paid["entry"]]));
    let transfers = ledger["plans"]["edges"]["transfers"].as_array().unwrap();
    assert_eq!(transfers.len(), 1, "what waits is deducted from the plan");
    // Neither the payer nor a third person can confirm it.
    let id = &paid["event_id"];
    let confirm = json!({"target": id, "verdict": "confirmed"});
    server.add("carl", &room, "verdict", confirm.clone()).await.refused(403, "M_FORBIDDEN");
    let verdict = server.add("ann", &room, "verdict", confirm).await.ok();
    assert_eq!(verdict["entry"]["status"], "counts");
    let id = id.as_str().unwrap();
    assert_eq!(server.status("ben", &room, id).await, "counts");
    let verdicts = server.entry("ben", &room, id).await["verdicts"].clone();
    assert_eq!(verdicts[0]["event_id"], verdict["event_id"]);
    assert_eq!(
        (&verdicts[0]["sender"], &verdicts[0]["verdict"], &verdicts[0]["status"]),
        (&json!("@ann:hs"), &json!("confirmed"), &json!("counts"))
    );
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "28.00"), ("carl", "-28.00")]));
    assert_eq!(server.ledger("ann", &room).await["pending"], json!([]));
    // What the payee writes down needs nobody's word.
    let noted = server.add("ann", &room, "settlement", payment("carl", "ann", "28.00")).await.ok();
    assert_eq!(noted["entry"]["status"], "counts");
    let ledger = server.ledger("carl", &room).await;
    assert_eq!(ledger["balances"], json!([]));
    assert_eq!(ledger["plans"]["edges"], json!({"transfers": [], "exact": true}));
    assert_eq!(server.balances("ann", &room).await, balances(&[]));
    let bodies: Vec<String> = server
        .events(&room)
        .await
        .into_iter()
        .filter(|event| event.1 == "m.room.message")
        .map(|event| event.2["body"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        bodies[2..],
        [
            "ben paid ann €28.00".to_owned(),
            "ann confirmed the payment of €28.00 from ben to ann".to_owned(),
            "carl paid ann €28.00".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_disputed_payment_does_not_count() {
    let (server, room) = evening().await;
    let owed = balances(&[("ann", "56.00"), ("ben", "-28.00"), ("carl", "-28.00")]);
    let id = server.added("ben", &room, "settlement", payment("ben", "ann", "28.00")).await;
    let dispute = json!({"target": id, "verdict": "disputed", "reason": "nothing came"});
    server.added("ann", &room, "verdict", dispute).await;
    let entry = server.entry("ben", &room, &id).await;
    assert_eq!((&entry["status"], &entry["verdicts"][0]["reason"]), (&json!("disputed"), &json!("nothing came")));
    assert_eq!(server.balances("ann", &room).await, owed);
    // It came after all.
    server.added("ann", &room, "verdict", json!({"target": id, "verdict": "confirmed"})).await;
    assert_eq!(server.status("ben", &room, &id).await, "counts");
    assert_eq!(server.balances("ann", &room).await, balances(&[("ann", "28.00"), ("carl", "-28.00")]));
    // The payer takes it back.
    server.added("ben", &room, "void", json!({"target": id})).await;
    assert_eq!(server.balances("ann", &room).await, owed);
}

#[tokio::test]
async fn trust_needs_no_confirmation() {
    let server = Server::new(&["ann", "ben"]).await;
    let room = server.group_with(&["ann", "ben"], json!({"settlement": "trust"})).await;
    server.added("ann", &room, "expense", dinner(&["ann", "ben"])).await;
    let id = server.added("ben", &room, "settlement", payment("ben", "ann", "42.00")).await;
    assert_eq!(server.status("ann", &room, &id).await, "counts");
    assert_eq!(server.balances("ann", &room).await, balances(&[]));
}

#[tokio::test]
async fn what_is_no_payment_of_the_senders_is_refused() {
    let (server, room) = evening().await;
    for (content, field) in [
        (payment("ann", "ann", "28.00"), "to"),
        (payment("carl", "ben", "28.00"), "from"),
        (payment("ann", "eve", "28.00"), "to"),
        (payment("ann", "ben", "0.00"), "amount"),
        (payment("ann", "ben", "-28.00"), "amount"),
        (payment("ann", "ben", "28"), "amount"),
        (json!({"to": "@ben:hs", "currency": "EUR", "amount": "1.00"}), "from"),
    ] {
        server.add("ann", &room, "settlement", content).await.names(field);
    }
    let dinner = server.events(&room).await.iter().find(|event| event.1 == "com.cliquepay.expense").unwrap().0.clone();
    for (content, field) in [
        (json!({"target": dinner, "verdict": "confirmed"}), "target"),
        (json!({"target": 5, "verdict": "confirmed"}), "target"),
        (json!({"verdict": "confirmed"}), "target"),
    ] {
        server.add("ann", &room, "verdict", content).await.names(field);
    }
    let paid = server.added("ben", &room, "settlement", payment("ben", "ann", "28.00")).await;
    server.add("ann", &room, "verdict", json!({"target": paid, "verdict": "maybe"})).await.names("verdict");
    for kind in ["verdict", "void", "amend"] {
        let content = json!({"target": "$nothing", "verdict": "confirmed", "content": payment("ben", "ann", "1.00")});
        server.add("ben", &room, kind, content).await.refused(404, "M_NOT_FOUND");
    }
    assert_eq!(server.ledger("ann", &room).await["rejects"], json!([]));
}
