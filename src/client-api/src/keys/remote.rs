//! Keys of users of other servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use engine::{Membership, UserNum};
use futures::{StreamExt as _, future::join_all, stream};
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde_json::{Value, json};
use store::IdKind;
use users::encryption::{UserKeys, Viewer};

use super::SERVERS_AT_ONCE;
use crate::{ApiError, App, remote_queries::RemoteError};

/// Lists that are asked for one by one, so that they can be kept: of more users of one server, the rest is asked for together.
const LISTS_AT_ONCE: usize = 10;

/// Users of one server, each with the devices that are asked for; none for all.
type Asked = BTreeMap<OwnedUserId, Vec<String>>;
/// What was found, and whether something could not be had.
type Found = (BTreeMap<OwnedUserId, UserKeys>, bool);

/// What stands for a server that gave no answer.
pub(super) fn failure() -> Value {
    json!({"errcode": "M_UNKNOWN", "error": "The server gave no answer", "status": 503})
}

impl App {
    /// The keys of users of other servers, from what is known here or from their servers; and the servers that gave no answer.
    pub(super) async fn remote_keys(
        &self,
        viewer: Viewer<'_>,
        elsewhere: BTreeMap<OwnedServerName, Asked>,
        patience: Duration,
    ) -> Result<(BTreeMap<OwnedUserId, UserKeys>, BTreeSet<OwnedServerName>), ApiError> {
        let asking: Vec<_> = elsewhere
            .into_iter()
            .map(|(server, users)| async move {
                let found = self.keys_from(viewer, &server, users, patience).await;
                (server, found)
            })
            .collect();
        let answers: Vec<_> = stream::iter(asking).buffer_unordered(SERVERS_AT_ONCE).collect().await;
        let (mut all, mut failed) = (BTreeMap::new(), BTreeSet::new());
        for (server, found) in answers {
            let (found, missing) = found?;
            all.extend(found);
            if missing {
                failed.insert(server);
            }
        }
        Ok((all, failed))
    }

    async fn keys_from(
        &self,
        viewer: Viewer<'_>,
        server: &ServerName,
        users: Asked,
        patience: Duration,
    ) -> Result<Found, ApiError> {
        let (mut found, mut lists, mut rest) = (BTreeMap::new(), Vec::new(), Asked::new());
        for (user_id, devices) in users {
            match self.engine.ids.find(IdKind::User, user_id.as_str()).await? {
                Some(user) if self.is_kept(viewer.user, user, &user_id).await? => {
                    let keys = self.users.remote_devices.keys(user, &user_id, viewer).await?;
                    found.insert(user_id, only(keys, &devices));
                }
                Some(user) if lists.len() < LISTS_AT_ONCE && self.is_followed(viewer.user, &user_id).await? => {
                    lists.push((user, user_id, devices));
                }
                _ => drop(rest.insert(user_id, devices)),
            }
        }
        let asking = lists.into_iter().map(|(user, user_id, devices)| async move {
            let keys = self.fetch_list(viewer, user, &user_id, patience).await;
            (user_id, devices, keys)
        });
        let mut failed = false;
        for (user_id, devices, keys) in join_all(asking).await {
            match keys? {
                Ok(keys) => drop(found.insert(user_id, only(keys, &devices))),
                Err(RemoteError::Unreachable) => failed = true,
                // A server that knows no such list may still know keys.
                Err(_) => drop(rest.insert(user_id, devices)),
            }
        }
        if !rest.is_empty() {
            match self.remotes.query_keys(server, &rest, patience).await {
                Ok(keys) => {
                    for (user_id, mut keys) in keys {
                        if let Some(user) = self.engine.ids.find(IdKind::User, user_id.as_str()).await? {
                            self.users.keys.sign(user, &user_id, Some(viewer), &mut keys).await?;
                        }
                        found.insert(user_id, keys);
                    }
                }
                Err(_) => failed = true,
            }
        }
        Ok((found, failed))
    }

    /// Asks for a user's list and keeps it.
    async fn fetch_list(
        &self,
        viewer: Viewer<'_>,
        user: UserNum,
        user_id: &UserId,
        patience: Duration,
    ) -> Result<Result<UserKeys, RemoteError>, ApiError> {
        // Before it is asked for: what happens meanwhile may not be in it.
        let at = self.engine.frontier();
        let list = match self.remotes.device_list(user_id, patience).await {
            Ok(list) => list.of(user_id),
            Err(error) => return Ok(Err(error)),
        };
        self.users.remote_devices.store(user, user_id, at, list.clone()).await?;
        let mut keys = list.into_keys();
        self.users.keys.sign(user, user_id, Some(viewer), &mut keys).await?;
        Ok(Ok(keys))
    }

    /// Whether the list that is kept of a user is right: changes come for as long as a room is shared, and nobody left it since the list
    /// was asked for.
    async fn is_kept(&self, viewer: UserNum, user: UserNum, user_id: &UserId) -> Result<bool, ApiError> {
        let Some(fetched) = self.users.remote_devices.fetched(user).await? else { return Ok(false) };
        for (num, place) in self.engine.user_rooms().of(viewer).await?.iter() {
            if place.membership != Membership::Join || place.since > fetched {
                continue;
            }
            let room = self.engine.room_by_num(*num).await?;
            if room.info().servers.is_empty() {
                continue;
            }
            let member = self.engine.current_event(*num, "m.room.member", user_id.as_str()).await?;
            if member.is_some_and(|row| row.pos() <= fetched)
                && self.engine.membership(*num, user_id.as_str()).await? == Some(Membership::Join)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether they share a room, so that the server of one tells that of the other what changes.
    async fn is_followed(&self, viewer: UserNum, user_id: &UserId) -> Result<bool, ApiError> {
        for (num, place) in self.engine.user_rooms().of(viewer).await?.iter() {
            if place.membership == Membership::Join
                && self.engine.membership(*num, user_id.as_str()).await? == Some(Membership::Join)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The keys of the devices that are asked for; none for all.
fn only(mut keys: UserKeys, devices: &[String]) -> UserKeys {
    if !devices.is_empty() {
        keys.devices.retain(|id, _| devices.contains(id));
    }
    keys
}
