//! Keys and signatures as JSON objects.

use ruma::{
    CanonicalJsonObject, SigningKeyAlgorithm,
    serde::{Base64, base64::Standard},
    signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};
use serde_json::Value;

use super::Object;

/// Whether two objects are the same but for what is not signed.
pub(crate) fn same_but_signatures(one: &Object, other: &Object) -> bool {
    let signed = |object: &Object| {
        let mut object = object.clone();
        object.remove("signatures");
        object.remove("unsigned");
        object
    };
    signed(one) == signed(other)
}

/// The signatures of a user on an object, by the id of the key.
pub(crate) fn signatures_of<'a>(object: &'a Object, user_id: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let all = object.get("signatures").and_then(|all| all.get(user_id)?.as_object());
    all.into_iter().flatten().filter_map(|(key, signature)| Some((key, signature.as_str()?)))
}

/// Adds a signature to an object, where there is none by the same key.
pub(crate) fn add_signature(object: &mut Object, user_id: &str, key_id: &str, signature: &str) {
    let all = object.entry("signatures").or_insert_with(|| Value::Object(Object::new()));
    let Some(all) = all.as_object_mut() else { return };
    if let Some(own) = all.entry(user_id).or_insert_with(|| Value::Object(Object::new())).as_object_mut() {
        own.entry(key_id).or_insert_with(|| signature.into());
    }
}

/// Takes away the signatures of everybody but some users.
pub(crate) fn keep_signatures(object: &mut Object, of: &[&str]) {
    if let Some(all) = object.get_mut("signatures").and_then(Value::as_object_mut) {
        all.retain(|user_id, _| of.contains(&user_id.as_str()));
    }
}

/// Whether an object was signed with the private part of an ed25519 key, both key and signature in base64.
pub(crate) fn is_signed(object: &Object, public_key: &str, signature: &str) -> bool {
    let checked = || {
        let object: CanonicalJsonObject = serde_json::from_value(Value::Object(object.clone())).ok()?;
        let text = to_canonical_json_string_for_signing(&object).ok()?;
        let key = Base64::<Standard>::parse(public_key).ok()?;
        let signature = Base64::<Standard>::parse(signature).ok()?;
        verify_canonical_json_bytes(
            &SigningKeyAlgorithm::Ed25519,
            key.as_bytes(),
            signature.as_bytes(),
            text.as_bytes(),
        )
        .ok()
    };
    checked().is_some()
}
