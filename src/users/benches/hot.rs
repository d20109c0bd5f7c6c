//! What happens on every request or for every member of a room: a warm session look-up, and push rules.
#![allow(missing_docs, clippy::expect_used)]

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, criterion_group, criterion_main};
use futures::FutureExt;
use ruma::{owned_device_id, owned_server_name, room_id, user_id};
use store::{CommitterOptions, Db, Ids, MemoryStore, Store, SystemClock, open_schema};
use users::{
    Users, UsersOptions,
    accounts::NewAccount,
    devices::NewDevice,
    push::{CompiledRules, PushContext, PushEvent, server_default},
    tokens::NewTokens,
};

const TOKEN: &str = "cpt_0123456789abcdef0123456789abcdef0123456789";

const MESSAGE: &str = r#"{"auth_events":["$a0123456789012345678901234567890123456789012","$b0123456789012345678901234567890123456789012"],"content":{"body":"Dinner was great, thanks for paying. I'll send you my share tomorrow.","m.mentions":{},"msgtype":"m.text"},"depth":1234,"hashes":{"sha256":"0123456789012345678901234567890123456789012"},"origin_server_ts":1790000000000,"prev_events":["$c0123456789012345678901234567890123456789012"],"room_id":"!room:example.org","sender":"@ben:example.org","signatures":{"example.org":{"ed25519:1":"01234567890123456789012345678901234567890123456789012345678901234567890123456789012345"}},"type":"m.room.message"}"#;

fn users() -> Arc<Users> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    open_schema(&*store, 1, &[]).expect("schema");
    let db = Db::open(store, CommitterOptions::default(), |_| {}).expect("database");
    let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
    Users::new(db, ids, Arc::new(SystemClock), owned_server_name!("example.org"), 1, UsersOptions::default())
}

fn sessions(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let users = users();
    let tokens = NewTokens { access: TOKEN, expires_ts: None, refresh: None };
    let device = NewDevice { device_id: owned_device_id!("D"), display_name: None, tokens };
    runtime.block_on(users.register(NewAccount::user("ann"), Some(&device))).expect("account");
    runtime.block_on(users.tokens.session(TOKEN)).expect("session");
    c.bench_function("session, warm", |b| {
        b.iter(|| users.tokens.session(black_box(TOKEN)).now_or_never());
    });
}

fn push_rules(c: &mut Criterion) {
    let ann = user_id!("@ann:example.org");
    let default = CompiledRules::new(&server_default(ann), ann);
    let context = PushContext {
        user_id: ann,
        room_id: room_id!("!room:example.org"),
        member_count: 12,
        display_name: "Ann",
        power_levels: None,
        follows_thread: None,
    };
    let parsed = PushEvent::parse(MESSAGE).expect("event");
    c.bench_function("push rules, taking an event apart", |b| b.iter(|| PushEvent::parse(black_box(MESSAGE)).is_ok()));
    c.bench_function("push rules, default rules on a message", |b| {
        b.iter(|| black_box(default.evaluate(black_box(&parsed), &context)).notify);
    });
    let mut rules = serde_json::to_value(server_default(ann)).expect("rules");
    rules["content"] = (0..20)
        .map(|n| {
            let word = format!("keyword{n}");
            serde_json::json!({"rule_id": word, "pattern": word, "default": false, "enabled": true, "actions": []})
        })
        .collect();
    let with_keywords = CompiledRules::new(&serde_json::from_value(rules).expect("rules"), ann);
    c.bench_function("push rules, 20 keywords on a message", |b| {
        b.iter(|| black_box(with_keywords.evaluate(black_box(&parsed), &context)).notify);
    });
}

criterion_group!(benches, sessions, push_rules);
criterion_main!(benches);
