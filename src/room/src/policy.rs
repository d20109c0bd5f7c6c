//! Policy servers: whom a room wants to be asked about every event, and whether they said yes.
//! [Policy servers](https://spec.matrix.org/v1.19/server-server-api/#policy-servers).

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, canonical_json::redact_in_place,
    room_version_rules::RoomVersionRules,
};
use serde::Deserialize;

use crate::{
    canonical::{JsonError, MAX_EVENT_DEPTH, parse_object, print_object},
    pdu::Pdu,
};

/// The type of the state event that names a room's policy server.
pub const EVENT_TYPE: &str = "m.room.policy";
/// The id of the key that policy servers sign with, whatever the key is.
pub const KEY_ID: &str = "ed25519:policy_server";

/// With padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What `m.room.policy` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The policy server. The room uses it while it has a joined member there.
    pub via: OwnedServerName,
    /// The key that it signs with; one that is none verifies nothing.
    key: Vec<u8>,
}

impl Policy {
    /// The policy in the content of a state event; none where what it must have is missing.
    pub fn parse(content: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Content {
            via: OwnedServerName,
            public_keys: Keys,
        }
        #[derive(Deserialize)]
        struct Keys {
            ed25519: String,
        }
        let content: Content = serde_json::from_str(content).ok()?;
        Some(Self { via: content.via, key: decode(&content.public_keys.ed25519).unwrap_or_default() })
    }

    /// Whether the policy server signed an event: the text of its canonical JSON.
    pub fn approves(&self, json: &str, rules: &RoomVersionRules) -> bool {
        let Ok(mut object) = parse_object(json, MAX_EVENT_DEPTH) else { return false };
        let Some(signature) = signature(&object, self.via.as_str()).and_then(decode) else { return false };
        if redact_in_place(&mut object, &rules.redaction, None).is_err() {
            return false;
        }
        object.remove("signatures");
        object.remove("unsigned");
        let key = UnparsedPublicKey::new(&ED25519, &self.key);
        key.verify(print_object(&object).as_bytes(), &signature).is_ok()
    }

    /// The event with a signature of the policy server added to those that it has.
    ///
    /// # Errors
    /// [`JsonError`] if `json` is not canonical.
    pub fn add(&self, json: &str, signature: &str) -> Result<String, JsonError> {
        let mut object = parse_object(json, MAX_EVENT_DEPTH)?;
        let mut signatures = take(&mut object, "signatures");
        let mut own = take(&mut signatures, self.via.as_str());
        own.insert(KEY_ID.to_owned(), CanonicalJsonValue::String(signature.to_owned()));
        signatures.insert(self.via.to_string(), CanonicalJsonValue::Object(own));
        object.insert("signatures".to_owned(), CanonicalJsonValue::Object(signatures));
        Ok(print_object(&object))
    }
}

/// Whether no policy server is asked about an event: about the one by which a room chooses or leaves it.
pub fn is_exempt(pdu: &Pdu) -> bool {
    pdu.state_key.as_deref() == Some("") && pdu.event_type.to_string() == EVENT_TYPE
}

/// Takes the object of a name out; anything else that stands there goes.
fn take(object: &mut CanonicalJsonObject, name: &str) -> CanonicalJsonObject {
    match object.remove(name) {
        Some(CanonicalJsonValue::Object(inner)) => inner,
        _ => CanonicalJsonObject::new(),
    }
}

fn signature<'a>(object: &'a CanonicalJsonObject, server: &str) -> Option<&'a str> {
    let of_server = object.get("signatures")?.as_object()?.get(server)?.as_object()?;
    of_server.get(KEY_ID)?.as_str()
}

/// Also in the alphabet of URLs, in which keys are shown here and there.
fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.replace('-', "+").replace('_', "/")).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ruma::RoomVersionId;
    use serde_json::json;

    use super::*;
    use crate::{cosign::cosign, key::SigningKey};

    fn rules() -> RoomVersionRules {
        RoomVersionId::V11.rules().unwrap()
    }

    fn event(body: &str) -> String {
        let event = json!({
            "type": "m.room.message", "room_id": "!r:one", "sender": "@a:one", "content": {"body": body}, "depth": 5,
            "origin_server_ts": 7, "prev_events": [], "auth_events": [], "hashes": {"sha256": "x"},
            "signatures": {"one": {"ed25519:k1": "own"}},
        });
        print_object(&parse_object(&event.to_string(), MAX_EVENT_DEPTH).unwrap())
    }

    fn policy(key: &SigningKey) -> Policy {
        let key = base64::engine::general_purpose::STANDARD_NO_PAD.encode(key.public_key());
        let content = json!({"via": "policy", "public_keys": {"ed25519": key, "other": "x"}, "more": 1});
        Policy::parse(&content.to_string()).unwrap()
    }

    /// What the policy server with a key answers.
    fn signed(json: &str, key: &SigningKey) -> String {
        let signed = cosign(json, &rules(), "policy".try_into().unwrap(), key).unwrap();
        let signed: serde_json::Value = serde_json::from_str(&signed).unwrap();
        signed["signatures"]["policy"][KEY_ID].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_signature_of_the_policy_server_is_one_more() {
        let key = SigningKey::from_seed(&[3; 32], "policy_server").unwrap();
        let (policy, json) = (policy(&key), event("hello"));
        assert!(!policy.approves(&json, &rules()));
        let signature = signed(&json, &key);
        let approved = policy.add(&json, &signature).unwrap();
        assert!(policy.approves(&approved, &rules()));
        let value: serde_json::Value = serde_json::from_str(&approved).unwrap();
        assert_eq!(value["signatures"], json!({"one": {"ed25519:k1": "own"}, "policy": {KEY_ID: signature}}));
        // Of another event, by another key, or of what is not there after a redaction.
        assert!(!policy.approves(&policy.add(&event("hello").replace(":5,", ":6,"), &signature).unwrap(), &rules()));
        let other = SigningKey::from_seed(&[4; 32], "policy_server").unwrap();
        assert!(!policy.approves(&policy.add(&json, &signed(&json, &other)).unwrap(), &rules()));
        assert!(policy.approves(&policy.add(&event("bye"), &signature).unwrap(), &rules()));
        assert!(!policy.approves(&policy.add(&json, "?").unwrap(), &rules()));
    }

    #[test]
    fn a_policy_names_a_server_and_a_key() {
        let parse = |content: serde_json::Value| Policy::parse(&content.to_string());
        for bad in [
            json!({}),
            json!({"via": "policy"}),
            json!({"via": "policy", "public_keys": {}}),
            json!({"via": "policy", "public_keys": {"ed25519": 7}}),
            json!({"via": 7, "public_keys": {"ed25519": "x"}}),
            json!({"public_keys": {"ed25519": "x"}}),
        ] {
            assert_eq!(parse(bad.clone()), None, "{bad}");
        }
        // A key that is none is a policy by which nothing goes.
        let none = parse(json!({"via": "policy", "public_keys": {"ed25519": "?"}})).unwrap();
        assert!(!none.approves(&event("x"), &rules()));
        let url =
            parse(json!({"via": "policy", "public_keys": {"ed25519": "6yhHGKhCiXTSEN2ksjV7kX_N6rBQZ3Xb-M7LlC6NS-s"}}));
        assert_eq!(url.unwrap().key.len(), 32);
    }
}
