//! `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid)) and version 1 of it.

use std::time::Duration;

use axum::extract::State;
use engine::{Engine, EngineError, Membership, UserNum};
use http_kit::{Group, MatrixError, RawJson};
use room::{RoomVersionRules, cosign::cosign};
use ruma::{
    EventId, OwnedServerName, RoomId, RoomVersionId, UserId, api::federation::membership::create_invite::v2,
    events::room::member::MembershipState,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use users::InviteAnswer;

use super::{
    Signed, invite_v1,
    membership::{Claim, MembershipError},
};
use crate::{Api, shown::is_strict};

/// Rooms of other servers that a user is invited to at a time, at most.
const MAX_PENDING: usize = 300;
/// When to try again where a user has so many.
const ANSWER_TIME: Duration = Duration::from_secs(3600);

/// An invitation as it comes.
struct Invite<'a> {
    room_id: &'a RoomId,
    event_id: &'a EventId,
    origin: OwnedServerName,
    version: RoomVersionId,
    event: &'a RawValue,
    state: Vec<&'a RawValue>,
}

pub(super) async fn v2(State(api): State<Api>, request: Signed<v2::Request>) -> Result<RawJson, MembershipError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        event: &'a RawValue,
        #[serde(borrow, default)]
        invite_room_state: Vec<&'a RawValue>,
    }
    let Signed { body, origin, json_body } = request;
    let parsed: Body<'_> = read(&json_body)?;
    let invite = Invite {
        room_id: &body.room_id,
        event_id: &body.event_id,
        origin,
        version: body.room_version,
        event: parsed.event,
        state: parsed.invite_room_state,
    };
    let event = countersign(&api, invite).await?;
    Ok(RawJson(format!("{{\"event\":{event}}}").into()))
}

/// Version 1 tells no room version: only rooms of the first two are invited to with it, whose events look the same.
pub(super) async fn v1(
    State(api): State<Api>,
    request: Signed<invite_v1::Request>,
) -> Result<RawJson, MembershipError> {
    #[derive(Default, Deserialize)]
    struct Unsigned<'a> {
        #[serde(borrow, default)]
        invite_room_state: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        unsigned: Unsigned<'a>,
    }
    let Signed { body, origin, json_body } = request;
    let event: &RawValue = read(&json_body)?;
    let parsed: Body<'_> = read(&json_body)?;
    let invite = Invite {
        room_id: &body.room_id,
        event_id: &body.event_id,
        origin,
        version: match api.engine.room(&body.room_id).await {
            Ok(room) if !room.names_events_by_hash() => room.version.clone(),
            _ => RoomVersionId::V1,
        },
        event,
        state: parsed.unsigned.invite_room_state,
    };
    let event = countersign(&api, invite).await?;
    Ok(RawJson(format!("[200,{{\"event\":{event}}}]").into()))
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, MembershipError> {
    serde_json::from_slice(body).map_err(|error| MembershipError::BadEvent(error.to_string()))
}

/// Checks an invitation, tells the invited user, and gives the event back with this server's signature.
async fn countersign(api: &Api, invite: Invite<'_>) -> Result<String, MembershipError> {
    let unsupported = |_| MembershipError::IncompatibleVersion(invite.version.clone());
    let rules = Engine::rules(&invite.version).map_err(unsupported)?;
    let claim = Claim::read(invite.event, invite.room_id, &invite.origin, &MembershipState::Invite)?;
    let invited = claim.target()?;
    let user = may_be_invited(api, &invited, &claim.sender).await?;
    within_limits(api, &invite, &invited)?;
    let known = match api.engine.room(invite.room_id).await {
        Ok(room) => Some(room),
        Err(EngineError::UnknownRoom) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(room) = &known {
        if room.version != invite.version {
            return Err(MembershipError::BadEvent("The room is of another version".to_owned()));
        }
        if !api.engine.acl_allows(room, &invite.origin).await? {
            return Err(MembershipError::Barred);
        }
    }
    if known.as_ref().is_none_or(|room| room.info().local_members.is_empty()) {
        has_room_for(api, &invite, user).await?;
    }
    let mut event = api.check_pdu(invite.event, &rules).await?;
    if event.redacted || event.pdu.event_id != invite.event_id || event.pdu.room_id != invite.room_id {
        return Err(MembershipError::BadEvent("The event is not what the request says".to_owned()));
    }
    let state = shown(api, &invite, &rules).await?;
    let identity = &api.engine.identity;
    event.json = cosign(&event.json, &rules, &identity.server_name, &identity.key)?;
    let signed = event.json.clone();
    api.engine.receive_invite(invite.version, event, state).await?;
    Ok(signed)
}

/// The invited user's number, unless they cannot be invited.
async fn may_be_invited(api: &Api, user_id: &UserId, sender: &UserId) -> Result<UserNum, MembershipError> {
    if !api.engine.is_local(user_id) {
        return Err(MembershipError::BadEvent("The invited user is not one of this server's".to_owned()));
    }
    let account = api.account_or_made(user_id).await?;
    let account = account.filter(|account| !account.deactivated).ok_or(MembershipError::UnknownUser)?;
    match api.users.invite_answer(account.num, sender).await? {
        InviteAnswer::Refuse => Err(MembershipError::InviteBlocked),
        InviteAnswer::Show | InviteAnswer::Hide => Ok(account.num),
    }
}

/// Counts an invitation, of those of its server and of those for the user.
fn within_limits(api: &Api, invite: &Invite<'_>, invited: &UserId) -> Result<(), MembershipError> {
    let Some(limits) = api.limits.get() else { return Ok(()) };
    let count = |whose: &str| {
        limits.check_server(Group::Invites, whose).map_err(|error| MembershipError::Limited(Box::new(error)))
    };
    count(invite.origin.as_str())?;
    count(invited.as_str())
}

/// Each invitation to a room of another server is kept, and shown with what it says of the room, until it is answered.
async fn has_room_for(api: &Api, invite: &Invite<'_>, user: UserNum) -> Result<(), MembershipError> {
    let again = matches!(
        api.engine.place_outside(invite.room_id, user).await?,
        Some((_, place)) if matches!(place.membership, Membership::Invite | Membership::Knock)
    );
    if again || api.engine.pending_outside(user).await? < MAX_PENDING {
        return Ok(());
    }
    Err(MembershipError::Limited(Box::new(MatrixError::limit_exceeded(ANSWER_TIME))))
}

/// What may be shown of the room. Where the room's version wants that to be events of it, anything else is refused.
async fn shown(
    api: &Api,
    invite: &Invite<'_>,
    rules: &RoomVersionRules,
) -> Result<Vec<Box<RawValue>>, MembershipError> {
    let state = invite.state.iter().map(|event| (*event).to_owned()).collect();
    let shown = api.check_shown(invite.room_id, rules, state).await;
    match shown.complaint {
        Some(why) if is_strict(rules) => Err(MembershipError::BadEvent(format!("invite_room_state: {why}"))),
        Some(why) => {
            tracing::warn!(origin = %invite.origin, room_id = %invite.room_id, why, "an invitation shows the room badly");
            Ok(shown.events)
        }
        None => Ok(shown.events),
    }
}
