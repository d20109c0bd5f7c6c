//! Keys: of strangers, that change, that are too many, that never come.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use room::SigningKey;
use ruma::{
    CanonicalJsonObject,
    serde::{Base64, base64::Standard},
    signatures::sign_json,
};
use serde_json::{Value, json};

use super::{
    super::{Pair, raw},
    ON_THE_WAY,
};
use crate::testing::Fate;

/// Events of fifty servers that there are not.
async fn of_strangers(pair: &Pair) -> Vec<Value> {
    let mut events = Vec::new();
    for nth in 0..50 {
        let (_, mut event) = pair.behind(&pair.ends().await, "x").await;
        event["sender"] = json!(format!("@x:stranger{nth}"));
        let mut signatures = json!({});
        signatures[format!("stranger{nth}")] = json!({"ed25519:k": "A".repeat(86)});
        event["signatures"] = signatures;
        events.push(event);
    }
    events
}

/// Events of fifty servers that cannot be reached, again and again.
pub(super) async fn of_nobody(pair: &Pair) {
    let events = of_strangers(pair).await;
    for nth in 0..5 {
        assert!(pair.push_all(&nth.to_string(), &events).await.iter().all(Result::is_err));
    }
}

/// Events of fifty servers that take every question and answer none.
pub(super) async fn of_the_silent(pair: &Pair) {
    let events = of_strangers(pair).await;
    pair.world.mesh.judge(|from, call| Fate {
        delay: if from == "good" { ON_THE_WAY } else { Duration::ZERO },
        lose_reply: from == "good",
        // Who does not answer is there.
        times: u8::from(!call.destination.as_str().starts_with("stranger")),
        ..Fate::DELIVERED
    });
    assert!(pair.push_all("1", &events).await.iter().all(Result::is_err));
}

/// What a server says of its keys, signed by all of them.
fn document(keys: &[SigningKey]) -> Value {
    let of = |key: &SigningKey| json!({"key": Base64::<Standard>::new(key.public_key().to_vec()).encode()});
    let named: serde_json::Map<String, Value> =
        keys.iter().map(|key| (format!("ed25519:{}", key.version()), of(key))).collect();
    let document = json!({
        "server_name": "evil", "verify_keys": named, "old_verify_keys": {}, "valid_until_ts": 9_000_000_000_000_u64,
    });
    let mut object: CanonicalJsonObject = serde_json::from_value(document).unwrap();
    for key in keys {
        sign_json("evil", key, &mut object).unwrap();
    }
    serde_json::to_value(object).unwrap()
}

/// Events signed with a key that nobody has seen, a new one each time.
async fn by_new_keys(pair: &Pair, round: usize) {
    let rules = pair.good().room(&pair.room).await.rules.clone();
    for nth in 0..20 {
        let (_, mut event) = pair.behind(&pair.ends().await, "x").await;
        let mut signatures = json!({});
        signatures[format!("ed25519:new{round}x{nth}")] = json!("A".repeat(86));
        event["signatures"]["evil"] = signatures;
        assert!(pair.good().federation().check_pdu(&raw(&event), &rules).await.is_err());
    }
}

/// The key of one name is another one whenever it is asked for.
pub(super) async fn that_flip(pair: &Pair) {
    let asked = AtomicUsize::new(0);
    pair.script(move |path| {
        let nth = u8::try_from(asked.fetch_add(1, SeqCst) % 250).unwrap();
        path.contains("/_matrix/key").then(|| document(&[SigningKey::from_seed(&[nth; 32], "k1").unwrap()]))
    });
    for round in 0..5 {
        by_new_keys(pair, round).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    // Whoever changes its keys all the time is not believed; the others are.
    let said = pair.good().say(&pair.room, &pair.ann, "still here").await;
    assert!(pair.has(&said).await);
}

/// More keys than a server has, and answers larger than keys are.
pub(super) async fn too_many(pair: &Pair) {
    let many: Vec<SigningKey> =
        (0..200_u8).map(|nth| SigningKey::from_seed(&[nth; 32], &format!("k{nth}")).unwrap()).collect();
    let too_many = document(&many);
    let mut too_large = document(&many[..1]);
    too_large["padding"] = json!("x".repeat(1 << 20));
    for (round, answer) in [too_many, too_large].into_iter().enumerate() {
        pair.script(move |path| path.contains("/_matrix/key").then(|| answer.clone()));
        by_new_keys(pair, round).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    assert!(pair.send("still", &[], &[]).await.is_ok(), "the key that was known before is known still");
}
