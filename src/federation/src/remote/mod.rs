//! What local users want of rooms, profiles and directories that live on other servers.

mod answer;
mod by_time;
mod error;
mod fill;
mod invite;
mod join;
mod keys;
mod knock;
mod late_ledgers;
mod leave;
mod ledger;
mod ledger_walk;
mod media;
mod multipart;
mod policy;
mod queries;
mod template;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use engine::{Engine, EngineError, Membership, UserRoom};
use parking_lot::Mutex;
use room::{RoomVersionRules, SignedEvent, check::ReceivedEvent};
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, RoomVersionId, ServerName, UserId};
use serde::Deserialize;

pub use self::{
    error::RemoteError,
    invite::RemoteInvitee,
    join::{Joined, RemoteJoin},
    leave::RemoteChange,
    ledger::FetchedLedger,
    media::RemoteFile,
};
pub(crate) use self::{fill::Fills, late_ledgers::LateLedgers, policy::Policies};
use crate::{CallError, CallLimits, Federation};

/// Servers that are asked for one thing, at most.
const SERVERS: usize = 10;
/// What an answer may cost that is one event and little else.
const SMALL: CallLimits = CallLimits { timeout: Duration::from_secs(20), max_body: 1 << 20 };

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct RemoteState {
    entering: Mutex<HashMap<OwnedRoomId, Weak<tokio::sync::Mutex<()>>>>,
}

impl RemoteState {
    /// One join of a room at a time: who waited finds the room here.
    fn entering(&self, room_id: &RoomId) -> Arc<tokio::sync::Mutex<()>> {
        let mut entering = self.entering.lock();
        if let Some(lock) = entering.get(room_id).and_then(Weak::upgrade) {
            return lock;
        }
        entering.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        entering.insert(room_id.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

/// The room versions that users of this server can take part in.
pub(crate) fn versions() -> Vec<RoomVersionId> {
    use RoomVersionId as Version;
    let all = [
        Version::V1,
        Version::V2,
        Version::V3,
        Version::V4,
        Version::V5,
        Version::V6,
        Version::V7,
        Version::V8,
        Version::V9,
        Version::V10,
        Version::V11,
        Version::V12,
    ];
    all.into()
}

/// The rules of a version that another server says a room has; none said means the first.
fn rules_of(version: Option<RoomVersionId>) -> Result<(RoomVersionId, RoomVersionRules), RemoteError> {
    let version = version.unwrap_or(RoomVersionId::V1);
    match Engine::rules(&version) {
        Ok(rules) => Ok((version, rules)),
        Err(_) => Err(RemoteError::UnsupportedVersion(version.to_string())),
    }
}

/// Keeps the clearest of several failures.
fn clearest(best: Option<RemoteError>, error: RemoteError) -> Option<RemoteError> {
    match best {
        Some(best) if best.clarity() >= error.clarity() => Some(best),
        _ => Some(error),
    }
}

fn called(server: &ServerName) -> impl Fn(CallError) -> RemoteError + '_ {
    |error| RemoteError::Call { server: server.to_owned(), error }
}

/// Whether an answer means that the server does not know the endpoint.
fn unrecognized(error: &CallError) -> bool {
    use http::StatusCode;
    match error {
        CallError::Status { status, errcode, .. } => {
            let refused = *status == StatusCode::NOT_FOUND || *status == StatusCode::BAD_REQUEST;
            *status == StatusCode::METHOD_NOT_ALLOWED || (refused && errcode == "M_UNRECOGNIZED")
        }
        _ => false,
    }
}

impl Federation {
    /// The servers to ask about a room, best first: those named, that of who invited the user, that in the room's id, those of whom
    /// the user was shown something of it, and those that were in the room when it was last heard of.
    async fn candidates(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
        via: &[OwnedServerName],
    ) -> Result<Vec<OwnedServerName>, RemoteError> {
        let mut servers: Vec<OwnedServerName> = via.to_vec();
        let shown = self.shown_by(room_id, user_id).await?;
        servers.extend(shown.first().cloned());
        servers.extend(room_id.server_name().map(ToOwned::to_owned));
        servers.extend(shown.into_iter().skip(1));
        match self.engine.room(room_id).await {
            Ok(room) => servers.extend(self.engine.servers(&room).await?),
            Err(EngineError::UnknownRoom) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen = HashSet::new();
        servers.retain(|server| server != self.server_name() && seen.insert(server.clone()));
        servers.truncate(SERVERS);
        Ok(servers)
    }

    /// The server of the user who invited one of ours, and those of whose events the user was shown.
    async fn shown_by(&self, room_id: &RoomId, user_id: &UserId) -> Result<Vec<OwnedServerName>, RemoteError> {
        #[derive(Deserialize)]
        struct Shown {
            sender: OwnedUserId,
        }
        let engine = &self.engine;
        let num = engine.ids.find(store::IdKind::Room, room_id.as_str()).await.map_err(EngineError::from)?;
        let Some(num) = num else { return Ok(Vec::new()) };
        let user = engine.user_num(user_id).await?;
        let place = engine.user_rooms().get(user, num).await.map_err(EngineError::from)?;
        let asked = |place: &UserRoom| matches!(place.membership, Membership::Invite | Membership::Knock);
        if !place.as_ref().is_some_and(asked) {
            return Ok(Vec::new());
        }
        let shown = serde_json::from_slice::<Vec<Shown>>(&engine.invite_state(user, num).await?).unwrap_or_default();
        // The user's own membership event stands last, sent by whoever invited them.
        let mut servers: Vec<OwnedServerName> =
            shown.iter().rev().map(|event| event.sender.server_name().to_owned()).collect();
        servers.dedup();
        Ok(servers)
    }
}

/// An event that this server signed, as one that can be received.
fn received(event: SignedEvent) -> ReceivedEvent {
    let SignedEvent { json, pdu, reference_hash } = event;
    ReceivedEvent { json, pdu, redacted: false, reference_hash }
}
