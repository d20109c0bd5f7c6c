//! Event authorisation: may this event happen, given these events and this state?
//! [Authorization rules](https://spec.matrix.org/v1.19/server-server-api/#authorization-rules), by ruma.

use std::borrow::Cow;

use ruma::{
    EventId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::AuthorizationRules,
    state_res::{self, Event},
};
use serde_json::value::RawValue;

/// Why an event is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The rules refuse it; the text says which. (`M_FORBIDDEN`)
    #[error("{0}")]
    Denied(Cow<'static, str>),
    /// Only from [`crate::fast`]: what it keeps is not enough to tell. Ask [`check_auth`].
    #[error("the full authorisation check has to decide")]
    Undecided,
}

impl AuthError {
    pub(crate) const fn denied(reason: &'static str) -> Self {
        Self::Denied(Cow::Borrowed(reason))
    }
}

impl From<String> for AuthError {
    fn from(reason: String) -> Self {
        Self::Denied(Cow::Owned(reason))
    }
}

/// The places in the room state that decide about an event, each a (type, state key): what its `auth_events` are chosen from.
/// [Auth events selection](https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection).
///
/// In version 12 the create event is implied and not among them.
///
/// # Errors
/// [`AuthError::Denied`] if an `m.room.member` event has no state key or its content is malformed.
pub fn auth_types(
    event_type: &TimelineEventType,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawValue,
    rules: &AuthorizationRules,
) -> Result<Vec<(StateEventType, String)>, AuthError> {
    Ok(state_res::auth_types_for_event(event_type, sender, state_key, content, rules)?)
}

/// Both halves of the rules: [`check_independent`] and [`check_dependent`].
///
/// `fetch_event` finds the events named in `auth_events` (and, in version 12, the create event by the id in the room's id);
/// `fetch_state` reads the state to judge against.
///
/// # Errors
/// [`AuthError::Denied`] with the rule that refused.
pub fn check_auth<E: Event>(
    rules: &AuthorizationRules,
    event: &impl Event,
    fetch_event: impl Fn(&EventId) -> Option<E>,
    fetch_state: impl Fn(&StateEventType, &str) -> Option<E>,
) -> Result<(), AuthError> {
    check_independent(rules, event, fetch_event)?;
    check_dependent(rules, event, fetch_state)
}

/// The rules that depend on the event and its `auth_events` only. Once per event.
///
/// # Errors
/// [`AuthError::Denied`] with the rule that refused.
pub fn check_independent<E: Event>(
    rules: &AuthorizationRules,
    event: &impl Event,
    fetch_event: impl Fn(&EventId) -> Option<E>,
) -> Result<(), AuthError> {
    Ok(state_res::check_state_independent_auth_rules(rules, event, fetch_event)?)
}

/// The rules that depend on a state. For an event from elsewhere: with the state its `auth_events` make, with the state before it
/// (either refusal rejects it), and with the current state (a refusal soft-fails it).
///
/// # Errors
/// [`AuthError::Denied`] with the rule that refused.
pub fn check_dependent<E: Event>(
    rules: &AuthorizationRules,
    event: &impl Event,
    fetch_state: impl Fn(&StateEventType, &str) -> Option<E>,
) -> Result<(), AuthError> {
    Ok(state_res::check_state_dependent_auth_rules(rules, event, fetch_state)?)
}
