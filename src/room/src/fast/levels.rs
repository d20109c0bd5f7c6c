//! Power levels, parsed once.

use std::collections::BTreeMap;

use ruma::{
    Int, OwnedUserId,
    events::TimelineEventType,
    room_version_rules::AuthorizationRules,
    state_res::events::{RoomPowerLevelsEvent, RoomPowerLevelsIntField as IntField},
};

use super::Parsed;
use crate::{auth::AuthError, pdu::Pdu};

/// An `m.room.power_levels` event; each part is malformed on its own.
#[derive(Debug, Clone)]
pub(super) struct Levels {
    users_default: Parsed<Option<Int>>,
    events_default: Parsed<Option<Int>>,
    state_default: Parsed<Option<Int>>,
    ban: Parsed<Option<Int>>,
    redact: Parsed<Option<Int>>,
    kick: Parsed<Option<Int>>,
    invite: Parsed<Option<Int>>,
    pub(super) users: Parsed<BTreeMap<OwnedUserId, Int>>,
    pub(super) events: Parsed<BTreeMap<TimelineEventType, Int>>,
}

impl Levels {
    pub(super) fn new(event: &Pdu, rules: &AuthorizationRules) -> Self {
        let event = RoomPowerLevelsEvent::new(event);
        let int = |field| event.get_as_int(field, rules).map_err(AuthError::from);
        Self {
            users_default: int(IntField::UsersDefault),
            events_default: int(IntField::EventsDefault),
            state_default: int(IntField::StateDefault),
            ban: int(IntField::Ban),
            redact: int(IntField::Redact),
            kick: int(IntField::Kick),
            invite: int(IntField::Invite),
            users: event.users(rules).map(|users| users.cloned().unwrap_or_default()).map_err(AuthError::from),
            events: event.events(rules).map(Option::unwrap_or_default).map_err(AuthError::from),
        }
    }

    pub(super) fn int(&self, field: IntField) -> &Parsed<Option<Int>> {
        match field {
            IntField::UsersDefault => &self.users_default,
            IntField::EventsDefault => &self.events_default,
            IntField::StateDefault => &self.state_default,
            IntField::Ban => &self.ban,
            IntField::Redact => &self.redact,
            IntField::Kick => &self.kick,
            IntField::Invite => &self.invite,
            _ => &Ok(None),
        }
    }
}
