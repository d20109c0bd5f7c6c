//! How long the fold and the plans take. `cargo bench -p ledger`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ledger::{Amount, Entry, Ledger, Person, Source, plan};
use serde_json::{Value, json};

const MEMBERS: usize = 8;

fn person(i: usize) -> String {
    format!("@member{i}:example.org")
}

/// A hash-like event id, so that ids do not sort by age.
fn id(i: usize) -> String {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("${mixed:016x}{:027}", i)
}

fn content(i: usize) -> (usize, &'static str, Value) {
    let author = i * 7 % MEMBERS;
    if i % 10 == 9 {
        let content = json!({
            "open": "$root", "prev": [id(i - 1)], "uid": format!("u{i}"), "currency": "EUR", "amount": "12.50",
            "from": person((author + 1) % MEMBERS), "to": person(author),
        });
        return (author, "com.cliquepay.settlement", content);
    }
    if i % 50 == 8 {
        let target = id(i - 1);
        return (
            (i - 1) * 7 % MEMBERS,
            "com.cliquepay.void",
            json!({ "open": "$root", "prev": [target], "target": target, "over": [target] }),
        );
    }
    let people: Vec<String> = (0..4).map(|k| person((author + k * (1 + i % 2)) % MEMBERS)).collect();
    let prev = if i == 0 { "$root".to_owned() } else { id(i - 1) };
    let content = json!({
        "open": "$root", "prev": [prev], "uid": format!("u{i}"), "title": "Groceries", "date": "2026-11-22",
        "currency": "EUR", "amount": "84.00", "paid": [{ "who": person(author), "amount": "84.00" }],
        "owed": people.iter().map(|p| json!({ "who": p, "amount": "21.00" })).collect::<Vec<_>>(),
        "split": { "method": "equal", "inputs": people.iter().map(|p| json!({ "who": p })).collect::<Vec<_>>() },
    });
    (author, "com.cliquepay.expense", content)
}

fn parse(i: usize, content: &(usize, &str, Value)) -> Entry {
    let (event_id, sender) = (id(i), person(content.0));
    let source =
        Source { event_id: &event_id, sender: &sender, kind: content.1, origin_server_ts: i as u64, redacted: false };
    Entry::parse(&source, &content.2)
}

fn root() -> Entry {
    let source = Source {
        event_id: "$root",
        sender: &person(0),
        kind: "com.cliquepay.open",
        origin_server_ts: 0,
        redacted: false,
    };
    Entry::parse(&source, &json!({ "version": 1, "currency": "EUR" }))
}

fn folds(c: &mut Criterion) {
    let contents: Vec<_> = (0..100_000).map(content).collect();
    let entries: Vec<Entry> =
        std::iter::once(root()).chain(contents.iter().enumerate().map(|(i, c)| parse(i, c))).collect();
    let mut group = c.benchmark_group("fold");
    group.sample_size(10);
    group.bench_function("parse 100000 entries", |b| {
        b.iter(|| contents.iter().enumerate().filter(|(i, c)| parse(*i, c).body.is_ok()).count());
    });
    group.bench_function("fold 100000 entries", |b| {
        b.iter_batched(|| entries.clone(), |entries| Ledger::fold("$root", entries), BatchSize::PerIteration);
    });
    let ledger = Ledger::fold("$root", entries);
    group.bench_function("insert one entry into 100000", |b| {
        let mut ledger = ledger.clone();
        let mut next = 100_000;
        b.iter_batched(
            || {
                next += 1;
                parse(next, &content(next))
            },
            |entry| ledger.insert(entry),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("plans of 100000 entries", |b| b.iter(|| black_box(&ledger).plans()));
    group.bench_function("digest of 100000 entries", |b| {
        // A redaction of what is not here changes nothing but forgets the digest.
        let mut ledger = ledger.clone();
        b.iter(|| {
            ledger.redact("$none");
            ledger.digest()
        });
    });
    group.finish();
}

fn plans(c: &mut Criterion) {
    for n in [12_usize, 20] {
        // No two opposites and hardly any zero-sum groups: the hardest case.
        let mut open: Vec<(Person, Amount)> = (1..n)
            .map(|i| {
                let size = 1000 + (i as i128 * 7919) % 4001;
                (person(i).into(), Amount(if i % 2 == 0 { size } else { -size }))
            })
            .collect();
        let rest: Amount = open.iter().map(|o| o.1).sum();
        open.push((person(0).into(), -rest));
        assert!(plan::minimal(&open).1);
        c.bench_function(&format!("minimal n = {n}"), |b| b.iter(|| plan::minimal(black_box(&open))));
    }
}

criterion_group!(benches, plans, folds);
criterion_main!(benches);
