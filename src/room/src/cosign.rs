//! One more signature under an event: what a server does for an invitation to one of its users, or for a join that it vouches for.
//! [Signing events](https://spec.matrix.org/v1.19/server-server-api/#signing-events).

use ruma::{ServerName, room_version_rules::RoomVersionRules, signatures::KeyPair};

use crate::{
    canonical::{MAX_EVENT_DEPTH, parse_object, print_object},
    check::CheckError,
};

/// Adds a server's signature to an event, given as JSON; what it says and who signed before stays, `unsigned` goes.
///
/// # Errors
/// [`CheckError`] if `json` is not an event.
pub fn cosign<K: KeyPair>(
    json: &str,
    rules: &RoomVersionRules,
    server: &ServerName,
    key: &K,
) -> Result<String, CheckError> {
    let mut object = parse_object(json, MAX_EVENT_DEPTH)?;
    object.remove("unsigned");
    ruma::signatures::sign_event(server.as_str(), key, &mut object, &rules.redaction)
        .map_err(|error| CheckError::Format(error.to_string()))?;
    Ok(print_object(&object))
}
