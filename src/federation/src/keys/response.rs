//! A server's answer about its keys: read, and checked to be its own.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, ServerName, api::federation::discovery::ServerSigningKeys, serde::Base64,
};

use crate::keys::known::{KnownKey, ServerKeys};

/// How far ahead a `valid_until_ts` is believed, in milliseconds: seven days.
pub(super) const MAX_VALIDITY: u64 = 7 * 86_400_000;
/// Keys in use, and keys out of use, that one answer may name.
const MAX_NAMED: usize = 128;
/// The longest key id, in bytes.
const MAX_ID: usize = 255;

/// Why an answer is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadResponse {
    #[error("it cannot be read: {0}")]
    Form(String),
    #[error("it is about another server")]
    OtherServer,
    #[error("it names too many keys")]
    TooMany,
    #[error("it is not signed as it must be")]
    Signature,
}

/// A server's keys as it answered, its signature checked.
#[derive(Debug, Clone)]
pub(super) struct KeyResponse {
    /// The keys, in use and out of use.
    pub(super) keys: ServerKeys,
    /// Until when they are good, at most seven days from now.
    pub(super) valid_until: u64,
}

/// Reads the answer of `server`, or a notary's about it, received at `now`.
pub(super) fn read(
    json: &[u8],
    server: &ServerName,
    now: u64,
) -> Result<(KeyResponse, CanonicalJsonObject), BadResponse> {
    let form = |error: serde_json::Error| BadResponse::Form(error.to_string());
    let object: CanonicalJsonObject = serde_json::from_slice(json).map_err(form)?;
    let typed: ServerSigningKeys = serde_json::from_slice(json).map_err(form)?;
    if typed.server_name != server {
        return Err(BadResponse::OtherServer);
    }
    if typed.verify_keys.len() > MAX_NAMED || typed.old_verify_keys.len() > MAX_NAMED {
        return Err(BadResponse::TooMany);
    }
    let valid_until = u64::from(typed.valid_until_ts.get()).min(now.saturating_add(MAX_VALIDITY));
    let mut keys = BTreeMap::new();
    for (id, old) in typed.old_verify_keys {
        let expired = u64::from(old.expired_ts.get());
        insert(&mut keys, id.as_str(), old.key, expired, Some(expired));
    }
    for (id, current) in typed.verify_keys {
        insert(&mut keys, id.as_str(), current.key, valid_until, None);
    }
    is_signed_by_itself(&object, server, &keys)?;
    Ok((KeyResponse { keys, valid_until }, object))
}

/// Keys of other algorithms are of no use and not kept.
fn insert(keys: &mut ServerKeys, id: &str, key: Base64, valid_until: u64, expired: Option<u64>) {
    if id.starts_with("ed25519:") && id.len() <= MAX_ID && key.as_bytes().len() == 32 {
        keys.insert(id.to_owned(), KnownKey { key, valid_until, expired });
    }
}

/// At least one key in use has signed the answer, and none of them wrongly.
fn is_signed_by_itself(
    object: &CanonicalJsonObject,
    server: &ServerName,
    keys: &ServerKeys,
) -> Result<(), BadResponse> {
    let mut good = false;
    for (id, key) in keys.iter().filter(|(_, key)| key.expired.is_none()) {
        match verify(object, server, id, key.key.as_bytes()) {
            Some(true) => good = true,
            Some(false) => return Err(BadResponse::Signature),
            None => {}
        }
    }
    if good { Ok(()) } else { Err(BadResponse::Signature) }
}

/// Whether the signature that `server` made with this key is right; `None` where there is none.
/// [Checking for a signature](https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature).
pub(super) fn verify(object: &CanonicalJsonObject, server: &ServerName, id: &str, key: &[u8]) -> Option<bool> {
    let CanonicalJsonValue::Object(signatures) = object.get("signatures")? else { return None };
    let CanonicalJsonValue::Object(of_server) = signatures.get(server.as_str())? else { return None };
    let CanonicalJsonValue::String(signature) = of_server.get(id)? else { return Some(false) };
    let Ok(signature) = Base64::<ruma::serde::base64::Standard>::parse(signature) else { return Some(false) };
    let Ok(text) = signed_text(object) else { return Some(false) };
    Some(UnparsedPublicKey::new(&ED25519, key).verify(&text, signature.as_bytes()).is_ok())
}

/// The canonical JSON that is signed: without `signatures` and `unsigned`.
pub(super) fn signed_text(object: &CanonicalJsonObject) -> Result<Vec<u8>, serde_json::Error> {
    let mut bare = object.clone();
    bare.remove("signatures");
    bare.remove("unsigned");
    serde_json::to_vec(&bare)
}
