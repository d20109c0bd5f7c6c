//! This server's keys as it publishes them, and its signature as a notary.

use std::collections::BTreeMap;

use engine::Identity;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue,
    api::federation::discovery::ServerSigningKeys,
    serde::{Base64, Raw, base64::Standard},
    signatures::KeyPair as _,
};
use serde_json::json;

use crate::{
    config::OldKey,
    keys::{
        known::{KnownKey, ServerKeys},
        response,
    },
};

/// How long others may keep our answer before they ask again, in milliseconds: a day.
const VALIDITY: u64 = 86_400_000;

/// Ours, in use and out of use.
pub(super) fn keys(identity: &Identity, old: &[OldKey]) -> ServerKeys {
    let mut keys: ServerKeys = old
        .iter()
        .map(|old| {
            let known = KnownKey {
                key: Base64::new(old.public_key.to_vec()),
                valid_until: old.expired_ms,
                expired: Some(old.expired_ms),
            };
            (format!("ed25519:{}", old.version), known)
        })
        .collect();
    let key = Base64::new(identity.key.public_key().to_vec());
    keys.insert(format!("ed25519:{}", identity.key.version()), KnownKey { key, valid_until: u64::MAX, expired: None });
    keys
}

/// Our answer to who asks for our keys.
pub(super) fn answer(
    identity: &Identity,
    keys: &ServerKeys,
    now: u64,
) -> Result<Raw<ServerSigningKeys>, serde_json::Error> {
    let entry = |key: &KnownKey| match key.expired {
        Some(expired) => json!({ "key": key.key, "expired_ts": expired }),
        None => json!({ "key": key.key }),
    };
    let part = |expired: bool| -> BTreeMap<&String, serde_json::Value> {
        keys.iter().filter(|(_, key)| key.expired.is_some() == expired).map(|(id, key)| (id, entry(key))).collect()
    };
    let object: CanonicalJsonObject = serde_json::from_value(json!({
        "server_name": identity.server_name,
        "verify_keys": part(false),
        "old_verify_keys": part(true),
        "valid_until_ts": now.saturating_add(VALIDITY),
    }))?;
    sign(identity, object)
}

/// Adds our signature to an object, beside those that it has.
pub(super) fn sign(
    identity: &Identity,
    mut object: CanonicalJsonObject,
) -> Result<Raw<ServerSigningKeys>, serde_json::Error> {
    let signature = identity.key.sign(&response::signed_text(&object)?);
    let encoded = Base64::<Standard>::new(signature.as_bytes().to_vec()).encode();
    let signatures =
        object.entry("signatures".to_owned()).or_insert_with(|| CanonicalJsonValue::Object(CanonicalJsonObject::new()));
    if let CanonicalJsonValue::Object(signatures) = signatures {
        let ours = CanonicalJsonObject::from([(signature.id().to_string(), CanonicalJsonValue::String(encoded))]);
        signatures.insert(identity.server_name.to_string(), CanonicalJsonValue::Object(ours));
    }
    serde_json::value::to_raw_value(&object).map(Raw::from_json)
}
