//! Redaction: the part of an event that has to stay.
//! [Server-server API, redactions](https://spec.matrix.org/v1.19/client-server-api/#redactions).

use ruma::CanonicalJsonValue;
use ruma::canonical_json::redact_in_place;
use ruma::room_version_rules::RoomVersionRules;

use crate::canonical::{JsonError, MAX_EVENT_DEPTH, parse_object, print_object};

/// Why an event could not be redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedactError {
    /// The event is not canonical JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The event has no type, or a field has the wrong form.
    #[error("malformed event: {0}")]
    Malformed(String),
}

/// The redacted form of the event `json`, printed as canonical JSON. Hashes and signatures stay, so it can still be verified;
/// `unsigned` goes.
///
/// # Errors
/// [`RedactError`] if `json` is not an event.
pub fn redact(json: &str, rules: &RoomVersionRules) -> Result<String, RedactError> {
    redact_but(json, rules, &[])
}

/// The same, but a redaction goes on to say what it redacts, also in versions before 11, which take even that from it: or servers that
/// come later would never know. Unless it gave a reason, its hash still holds.
///
/// # Errors
/// As [`redact`].
pub fn strip(json: &str, rules: &RoomVersionRules) -> Result<String, RedactError> {
    redact_but(json, rules, &["redacts"])
}

/// Redacts an event, but for fields of redactions.
fn redact_but(json: &str, rules: &RoomVersionRules, kept: &[&str]) -> Result<String, RedactError> {
    let mut object = parse_object(json, MAX_EVENT_DEPTH)?;
    let is_redaction = object.get("type").and_then(|kind| kind.as_str()) == Some("m.room.redaction");
    let kept: Vec<(String, CanonicalJsonValue)> = kept
        .iter()
        .filter(|_| is_redaction)
        .filter_map(|field| Some(((*field).to_owned(), object.get(*field)?.clone())))
        .collect();
    redact_in_place(&mut object, &rules.redaction, None).map_err(|error| RedactError::Malformed(error.to_string()))?;
    object.extend(kept);
    Ok(print_object(&object))
}
