//! `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid)) and version 1 of it.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use axum::extract::State;
use engine::{EventNum, EventRow, JoinPermit, Membership, Room, StateAt, splice::push_json_string};
use http_kit::RawJson;
use room::{check::ReceivedEvent, cosign::cosign};
use ruma::{
    OwnedServerName, api::federation::membership::create_join_event::v2::Request, events::room::member::MembershipState,
};
use serde_json::value::RawValue;

use super::{
    Signed,
    membership::{Claim, MembershipError},
};
use crate::Api;

/// The path of version 1, which is in the specification no more.
pub(super) const V1: &str = "/_matrix/federation/v1/send_join/{room_id}/{event_id}";

/// Members whose names stand for a room without one.
const HEROES: usize = 5;
/// Members looked at to find them, at most.
const CANDIDATES: usize = 100;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, MembershipError> {
    Ok(RawJson(join(&api, request).await?.into()))
}

pub(super) async fn v1(State(api): State<Api>, request: Signed<Request>) -> Result<RawJson, MembershipError> {
    Ok(RawJson(format!("[200,{}]", join(&api, request).await?).into()))
}

/// What the joining server needs of the room: the answer's body.
async fn join(api: &Api, request: Signed<Request>) -> Result<String, MembershipError> {
    let Signed { body, origin, .. } = request;
    let room = api.room_with_us(&body.room_id, &origin).await?;
    let claim = Claim::read(&body.pdu, &room.id, &origin, &MembershipState::Join)?.of_sender()?;
    let pdu = countersigned(api, &room, &claim, &body.pdu).await?;
    let event = api.check_pdu(&pdu, &room.rules).await?;
    let servers = if body.omit_members { Some(servers(api, &room).await?) } else { None };
    let (event_id, json) = (event.pdu.event_id.clone(), event.json.clone());
    // Whoever gets no place in time has not joined yet.
    let _place = api.large_answer().await;
    let cited = cited(api, &room, &event).await?;
    api.accept_membership(&room, &body.event_id, event).await?;
    let mut before = api.engine.state_before_event(&room, &event_id).await?;
    if body.omit_members {
        before = without_members(api, &room, before, cited).await?;
    }
    answer(api, &room, &before, &json, servers.as_deref()).await
}

/// The event with this server's signature where one of its users vouches for the join.
async fn countersigned<'a>(
    api: &Api,
    room: &Arc<Room>,
    claim: &Claim,
    pdu: &'a RawValue,
) -> Result<Cow<'a, RawValue>, MembershipError> {
    let knows_vouchers = room.rules.authorization.restricted_join_rule;
    let Some(voucher) = claim.vouched_by().filter(|_| knows_vouchers) else { return Ok(Cow::Borrowed(pdu)) };
    if !api.engine.is_local(voucher) {
        return Err(MembershipError::BadEvent("The user who vouches is not one of this server's".to_owned()));
    }
    // The conditions may have changed since the event was made. Who is in the room, or invited, keeps what was said before.
    match api.engine.permit_join(room, &claim.sender).await? {
        JoinPermit::VouchedBy(_) | JoinPermit::Unneeded => {}
        JoinPermit::Unmet => {
            let why = "The user is in none of the rooms whose members may join this one";
            return Err(MembershipError::Forbidden(why.to_owned()));
        }
        JoinPermit::Unknown => return Err(MembershipError::UnableToAuthorise),
        JoinPermit::Ungranted => return Err(MembershipError::UnableToGrant),
    }
    let identity = &api.engine.identity;
    let json = cosign(pdu.get(), &room.rules, &identity.server_name, &identity.key)?;
    let raw = RawValue::from_string(json).map_err(|error| MembershipError::BadEvent(error.to_string()))?;
    Ok(Cow::Owned(raw))
}

/// The servers in the room, this one among them.
async fn servers(api: &Api, room: &Room) -> Result<Vec<OwnedServerName>, MembershipError> {
    let mut servers = api.engine.servers(room).await?;
    servers.push(api.server_name().to_owned());
    Ok(servers)
}

async fn cited(api: &Api, room: &Room, event: &ReceivedEvent) -> Result<Vec<EventNum>, MembershipError> {
    let mut nums = Vec::with_capacity(event.pdu.auth_events.len());
    for id in &event.pdu.auth_events {
        nums.extend(api.engine.find_event(room.num, id.as_str()).await?);
    }
    Ok(nums)
}

/// The state without its members, but for those whose names stand for a room without one, and what allows the rest and the join.
async fn without_members(
    api: &Api,
    room: &Room,
    full: StateAt,
    cited: Vec<EventNum>,
) -> Result<StateAt, MembershipError> {
    let rows = api.engine.events(room.num, &full.state).await?;
    let of_type = |row: &EventRow, kind: &str| row.type_json().trim_matches('"') == kind;
    let named = rows.iter().any(|(_, row)| of_type(row, "m.room.name") || of_type(row, "m.room.canonical_alias"));
    let mut state: Vec<EventNum> = Vec::new();
    let mut members = Vec::new();
    for (num, row) in &rows {
        if !of_type(row, "m.room.member") {
            state.push(*num);
        } else if !named && members.len() < CANDIDATES {
            members.push(*num);
        }
    }
    let mut heroes = 0;
    for num in members {
        let there = matches!(api.engine.membership_of(room.num, num).await?, Membership::Join | Membership::Invite);
        if there && heroes < HEROES {
            heroes += 1;
            state.push(num);
        }
    }
    let mut wanted: Vec<EventNum> = state.clone();
    wanted.extend(cited.iter().filter(|num| !state.contains(num)));
    let mut chain: BTreeSet<EventNum> = api.engine.auth_chain(room, &wanted).await?.into_iter().collect();
    chain.extend(cited);
    chain.retain(|num| !state.contains(num));
    Ok(StateAt { state, auth_chain: chain.into_iter().collect() })
}

async fn answer(
    api: &Api,
    room: &Room,
    before: &StateAt,
    event: &str,
    servers: Option<&[OwnedServerName]>,
) -> Result<String, MembershipError> {
    let mut out = String::with_capacity(1024 * (1 + before.state.len() + before.auth_chain.len()));
    out.push_str("{\"auth_chain\":[");
    api.write_events(&mut out, room, &before.auth_chain).await?;
    out.push_str("],\"state\":[");
    api.write_events(&mut out, room, &before.state).await?;
    out.push_str("],\"event\":");
    out.push_str(event);
    out.push_str(",\"members_omitted\":");
    out.push_str(if servers.is_some() { "true" } else { "false" });
    if let Some(servers) = servers {
        out.push_str(",\"servers_in_room\":[");
        for (index, server) in servers.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            push_json_string(&mut out, server.as_str());
        }
        out.push(']');
    }
    out.push_str(",\"origin\":");
    push_json_string(&mut out, api.server_name().as_str());
    out.push('}');
    Ok(out)
}
