//! Checks on an event that came from elsewhere, before the authorisation rules: form, size, signatures, hash.
//! [Checks on receipt of a PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu), steps 1 to 3.

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedServerName,
    ServerName, UInt,
    canonical_json::redact_in_place,
    room_version_rules::RoomVersionRules,
    serde::Base64,
    signatures::{PublicKeyMap, Verified, reference_hash, required_server_signatures_to_verify_event, verify_event},
    state_res::check_pdu_format,
};

use crate::{
    build::{MAX_EVENT_BYTES, event_id_of_hash},
    canonical::{JsonError, MAX_EVENT_DEPTH, parse_object, print_object},
    pdu::{Pdu, PduError, references_of_object},
};

/// Signatures of one server that are looked at, at most: every further key id would be one more thing to fetch.
pub const MAX_SIGNATURES: usize = 8;

/// Bytes of an event's type and state key.
const MAX_FIELD: usize = 255;

/// A received event that is genuine. Whether it is *allowed* is for [`crate::auth`].
#[derive(Debug, Clone)]
pub struct ReceivedEvent {
    /// Its canonical JSON, without `unsigned`; redacted if [`Self::redacted`].
    pub json: String,
    /// The same, parsed. It is marked as rejected where its type or state key has more bytes than events may have, though no more
    /// characters: servers that counted those made such events, and others follow them.
    pub pdu: Pdu,
    /// Its content hash did not match, so only the redacted form is trustworthy.
    pub redacted: bool,
    /// See [`crate::build::SignedEvent::reference_hash`].
    pub reference_hash: String,
}

/// Why a received event is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Larger than [`MAX_EVENT_BYTES`].
    #[error("the event has {0} bytes; {MAX_EVENT_BYTES} are allowed")]
    TooLarge(usize),
    /// Not canonical JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Not in the form of this room version, or one of its limits is exceeded.
    #[error("malformed event: {0}")]
    Format(String),
    /// A signature that is needed is missing, unknown or wrong.
    #[error("signature check failed: {0}")]
    Signature(String),
}

impl From<PduError> for CheckError {
    fn from(error: PduError) -> Self {
        Self::Format(error.to_string())
    }
}

/// The servers whose signatures the event needs: fetch their keys before [`check_received`].
///
/// # Errors
/// [`CheckError`] if `json` is not an event.
pub fn required_servers(json: &str, rules: &RoomVersionRules) -> Result<Vec<OwnedServerName>, CheckError> {
    let object = parse(json)?;
    Ok(signers(&object, &signature_rules(&object, rules))?.into_iter().collect())
}

/// Checks size, form, signatures and hash of a received event.
///
/// `public_key(server, key_id, valid_at)` gives an ed25519 verify key. `valid_at` is the event's timestamp where the room version
/// demands that the key was valid then (version 5 on), and `None` where any key the server ever had will do.
///
/// # Errors
/// [`CheckError`]; the event is then to be dropped.
pub fn check_received(
    json: &str,
    rules: &RoomVersionRules,
    public_key: impl Fn(&ServerName, &str, Option<MilliSecondsSinceUnixEpoch>) -> Option<[u8; 32]>,
) -> Result<ReceivedEvent, CheckError> {
    UnverifiedEvent::parse(json, rules)?.verify(rules, public_key)
}

/// A received event of proper size and form, of which nobody has looked at signatures and hash: everything that costs no key.
#[derive(Debug, Clone)]
pub struct UnverifiedEvent {
    object: CanonicalJsonObject,
    json: String,
    wanted: Vec<(OwnedServerName, Vec<String>)>,
    valid_at: Option<MilliSecondsSinceUnixEpoch>,
    overlong: bool,
}

impl UnverifiedEvent {
    /// Checks size and form.
    ///
    /// # Errors
    /// [`CheckError`], also where a server whose signature is needed did not sign at all.
    pub fn parse(json: &str, rules: &RoomVersionRules) -> Result<Self, CheckError> {
        let mut object = parse(json)?;
        object.remove("unsigned");
        let json = print_object(&object);
        if json.len() > MAX_EVENT_BYTES {
            return Err(CheckError::TooLarge(json.len()));
        }
        let overlong = check_form(&mut object, rules)?;
        let mut wanted = Vec::new();
        for server in signers(&object, &signature_rules(&object, rules))? {
            let key_ids = key_ids(&object, &server);
            if key_ids.is_empty() {
                return Err(CheckError::Signature(format!("{server} did not sign")));
            }
            wanted.push((server, key_ids));
        }
        let valid_at = valid_at(&object, rules)?;
        Ok(Self { object, json, wanted, valid_at, overlong })
    }

    /// The servers whose signatures the event needs, each with the ids of the keys that it says it signed with: at most
    /// [`MAX_SIGNATURES`] each.
    pub fn wanted_keys(&self) -> &[(OwnedServerName, Vec<String>)] {
        &self.wanted
    }

    /// When the keys have to have been valid; `None` where any key that the server ever had will do.
    pub fn valid_at(&self) -> Option<MilliSecondsSinceUnixEpoch> {
        self.valid_at
    }

    /// The id that it has if it is genuine.
    ///
    /// # Errors
    /// As [`event_id`].
    pub fn event_id(&self, rules: &RoomVersionRules) -> Result<OwnedEventId, CheckError> {
        Ok(event_id(&self.object, rules)?.0)
    }

    /// What it says to be allowed by.
    ///
    /// # Errors
    /// [`CheckError::Format`] where that is no list of ids.
    pub fn auth_events(&self, rules: &RoomVersionRules) -> Result<Vec<OwnedEventId>, CheckError> {
        Ok(references_of_object(&self.object, "auth_events", rules)?)
    }

    /// Checks signatures and hash. `public_key` as in [`check_received`].
    ///
    /// # Errors
    /// [`CheckError`]; the event is then to be dropped.
    pub fn verify(
        self,
        rules: &RoomVersionRules,
        public_key: impl Fn(&ServerName, &str, Option<MilliSecondsSinceUnixEpoch>) -> Option<[u8; 32]>,
    ) -> Result<ReceivedEvent, CheckError> {
        let Self { mut object, json, wanted, valid_at, overlong } = self;
        let rules = &signature_rules(&object, rules);
        let mut keys = PublicKeyMap::new();
        for (server, key_ids) in wanted {
            let key = |key_id: String| {
                let key = public_key(&server, &key_id, valid_at)?;
                Some((key_id, Base64::new(key.to_vec())))
            };
            let known: BTreeMap<String, Base64> = key_ids.into_iter().filter_map(key).collect();
            keys.insert(server.to_string(), known);
        }
        let verified = verify_event(&keys, &object, rules).map_err(|error| CheckError::Signature(error.to_string()))?;
        let redacted = matches!(verified, Verified::Signatures);
        let json = if redacted {
            redact_in_place(&mut object, &rules.redaction, None).map_err(format_error)?;
            print_object(&object)
        } else {
            json
        };
        let (event_id, reference_hash) = event_id(&object, rules)?;
        let mut pdu = Pdu::from_object(&object, event_id, rules)?;
        pdu.rejected = overlong;
        Ok(ReceivedEvent { json, pdu, redacted, reference_hash })
    }
}

/// An event's id and its reference hash (unpadded Base64 in the alphabet of the version's event ids).
///
/// # Errors
/// [`CheckError::Format`] if it has no valid id or no type.
pub fn event_id(object: &CanonicalJsonObject, rules: &RoomVersionRules) -> Result<(OwnedEventId, String), CheckError> {
    let hash = reference_hash(object, rules).map_err(format_error)?;
    let event_id = if rules.event_format.require_event_id {
        let id = object.get("event_id").and_then(CanonicalJsonValue::as_str).unwrap_or_default();
        EventId::parse(id).map_err(format_error)?
    } else {
        event_id_of_hash(&hash)?
    };
    Ok((event_id, hash))
}

/// Types and sizes of the fields; whether one of them is too long in bytes alone. ruma's check also limits the whole event, to one
/// byte less than the specification does, so the content, at which it does not look otherwise, is set aside.
fn check_form(object: &mut CanonicalJsonObject, rules: &RoomVersionRules) -> Result<bool, CheckError> {
    let content = object.remove("content").filter(|content| content.as_object().is_some());
    let content = content.ok_or_else(|| CheckError::Format("missing or invalid `content`".to_owned()))?;
    let long = ["type", "state_key"].map(|field| set_aside_long(object, field));
    let checked = check_pdu_format(object, &rules.event_format).map_err(CheckError::Format);
    object.insert("content".to_owned(), content);
    let overlong = long.iter().any(Option::is_some);
    object.extend(long.into_iter().flatten());
    checked.map(|()| overlong)
}

/// Puts an empty text in the place of one that is too long in bytes alone.
fn set_aside_long(object: &mut CanonicalJsonObject, field: &str) -> Option<(String, CanonicalJsonValue)> {
    let text = object.get(field)?.as_str()?;
    if text.len() <= MAX_FIELD || text.chars().count() > MAX_FIELD {
        return None;
    }
    let value = object.insert(field.to_owned(), CanonicalJsonValue::String(String::new()))?;
    Some((field.to_owned(), value))
}

fn parse(json: &str) -> Result<CanonicalJsonObject, CheckError> {
    // `unsigned` is no part of the event, yet a stranger's bytes are bounded as a whole: as much again is plenty.
    if json.len() > 2 * MAX_EVENT_BYTES {
        return Err(CheckError::TooLarge(json.len()));
    }
    Ok(parse_object(json, MAX_EVENT_DEPTH)?)
}

/// Only a membership is vouched for by another server. ruma asks for that signature whatever the event's type; other servers would
/// then accept what we drop.
fn signature_rules(object: &CanonicalJsonObject, rules: &RoomVersionRules) -> RoomVersionRules {
    let mut rules = rules.clone();
    let is_member = object.get("type").and_then(CanonicalJsonValue::as_str) == Some("m.room.member");
    rules.signatures.check_join_authorised_via_users_server &= is_member;
    rules
}

fn signers(
    object: &CanonicalJsonObject,
    rules: &RoomVersionRules,
) -> Result<std::collections::BTreeSet<OwnedServerName>, CheckError> {
    required_server_signatures_to_verify_event(object, &rules.signatures).map_err(format_error)
}

/// The keys that a server says it signed with, of the one algorithm there is.
fn key_ids(object: &CanonicalJsonObject, server: &ServerName) -> Vec<String> {
    let by_key =
        object.get("signatures").and_then(|signatures| signatures.as_object()?.get(server.as_str())?.as_object());
    let ids = by_key.into_iter().flat_map(|by_key| by_key.keys());
    // That of a policy server is published by nobody, and is no key of the sender's server.
    let ids = ids.filter(|id| id.starts_with("ed25519:") && *id != crate::policy::KEY_ID);
    ids.take(MAX_SIGNATURES).cloned().collect()
}

fn valid_at(
    object: &CanonicalJsonObject,
    rules: &RoomVersionRules,
) -> Result<Option<MilliSecondsSinceUnixEpoch>, CheckError> {
    let sent = object
        .get("origin_server_ts")
        .and_then(CanonicalJsonValue::as_integer)
        .and_then(|ts| UInt::try_from(i64::from(ts)).ok())
        .map(MilliSecondsSinceUnixEpoch)
        .ok_or_else(|| CheckError::Format("missing or invalid `origin_server_ts`".to_owned()))?;
    Ok(rules.enforce_key_validity.then_some(sent))
}

fn format_error(error: impl std::fmt::Display) -> CheckError {
    CheckError::Format(error.to_string())
}
