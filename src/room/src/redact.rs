//! Redaction: the part of an event that has to stay.
//! [Server-server API, redactions](https://spec.matrix.org/v1.19/client-server-api/#redactions).

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
    let mut object = parse_object(json, MAX_EVENT_DEPTH)?;
    redact_in_place(&mut object, &rules.redaction, None).map_err(|error| RedactError::Malformed(error.to_string()))?;
    Ok(print_object(&object))
}
