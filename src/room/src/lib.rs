//! Rules of one Matrix room, as pure functions: what an event looks like, whether it is allowed, and what the state is
//! after a fork. No I/O, no clock, no async; whatever is needed from outside comes in as arguments or closures.
//!
//! | module | what it answers |
//! | --- | --- |
//! | [`canonical`] | is this JSON canonical, within bounds, and how is it printed? |
//! | [`pdu`] | what does a stored event say? |
//! | [`build`] | how does a new event become hashed, signed bytes? |
//! | [`key`] | what does a server sign with? |
//! | [`check`] | is an event from another server genuine? |
//! | [`cosign`] | how does a second server sign an event? |
//! | [`policy`] | did the room's policy server sign an event? |
//! | [`redact`] | what remains of an event after redaction? |
//! | [`auth`] | may this event happen in this state? |
//! | [`fast`] | the same for the common cases, from state parsed once |
//! | [`resolve`] | which state holds where branches meet? |
//! | [`dag`] | order, depth and forward extremities |
//! | [`visibility`] | who may see an event? |
//!
//! Everything is parameterised by [`RoomVersionRules`]; room versions 1 to 12 are covered.

pub mod auth;
pub mod build;
pub mod canonical;
pub mod check;
pub mod cosign;
pub mod dag;
pub mod fast;
pub mod key;
pub mod pdu;
pub mod policy;
pub mod redact;
pub mod resolve;
pub mod visibility;

pub use ruma::room_version_rules::{AuthorizationRules, RoomVersionRules};

pub use crate::{
    build::{EventDraft, SignedEvent},
    key::SigningKey,
    pdu::Pdu,
};
