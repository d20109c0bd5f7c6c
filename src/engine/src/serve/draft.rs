//! Events that are put together and not stored: templates that another server signs, and events that another has to sign as well.

use ::room::SignedEvent;
use serde_json::value::RawValue;

use crate::{
    error::EngineError,
    splice::TopLevel,
    writer::{NewEvent, RoomWriter},
};

/// What the server that sends an event adds to its template.
const LEFT_OPEN: [&str; 3] = ["event_id", "hashes", "signatures"];

impl RoomWriter<'_> {
    /// An event as it would be sent now, authorised, unsigned and not stored: the template that `make_join` and its like give. A JSON
    /// object without `hashes`, `signatures` and `event_id`.
    ///
    /// # Errors
    /// As [`RoomWriter::append`].
    pub async fn template(&mut self, event: &NewEvent<'_>) -> Result<Box<RawValue>, EngineError> {
        let signed = self.draft(event).await?;
        let malformed = || EngineError::BadEvent("no event".to_owned());
        let mut out = String::with_capacity(signed.json.len());
        for (key, value) in TopLevel::new(&signed.json).ok_or_else(malformed)? {
            if LEFT_OPEN.contains(&key) {
                continue;
            }
            out.push(if out.is_empty() { '{' } else { ',' });
            out.push('"');
            out.push_str(key);
            out.push_str("\":");
            out.push_str(signed.json.get(value).ok_or_else(malformed)?);
        }
        out.push('}');
        RawValue::from_string(out).map_err(|error| EngineError::BadEvent(error.to_string()))
    }

    /// Authorises and signs an event without storing it: an invitation that the invited user's server still has to sign, a join
    /// that another server will take in.
    ///
    /// # Errors
    /// As [`RoomWriter::append`].
    pub async fn draft(&mut self, event: &NewEvent<'_>) -> Result<SignedEvent, EngineError> {
        Ok(self.authorised(event).await?.0)
    }
}
