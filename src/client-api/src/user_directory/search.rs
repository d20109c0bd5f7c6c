//! `POST /_matrix/client/v3/user_directory/search`
//!
//! There is no index: all local accounts are looked at, [`LOOKED_AT`] of them at most, in the order of their names, and members of rooms
//! from other servers.

use std::collections::HashSet;

use axum::extract::State;
use engine::{Membership, RoomInfo, RoomNum, UserNum, Visibility};
use http_kit::{Group, MatrixError, Requester, Ruma};
use ruma::{
    OwnedMxcUri, OwnedUserId,
    api::client::user_directory::search_users::v3::{Request, Response, User},
    room::JoinRuleKind,
};

use super::terms::{Rank, Terms};
use crate::{ApiError, App};

/// Accounts looked at, at most.
const LOOKED_AT: usize = 20_000;
/// Accounts read in one go.
const SCAN: usize = 500;
/// Users shown, at most.
const SHOWN: u64 = 50;
/// A search term, in bytes, at most.
const MAX_TERM: usize = 1024;

/// A user that fits.
pub(super) struct Match {
    pub(super) rank: Rank,
    /// The number of a user of this server; whether the requester may find them is not known yet.
    pub(super) local: Option<UserNum>,
    pub(super) user_id: OwnedUserId,
    pub(super) display_name: Option<String>,
    pub(super) avatar_url: Option<String>,
}

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.limits.check(Group::Search, &requester)?;
    if body.search_term.len() > MAX_TERM {
        return Err(MatrixError::invalid_param("search_term", "longer than 1024 bytes").into());
    }
    let Some(terms) = Terms::new(&body.search_term) else { return Ok(Response::new(Vec::new(), false)) };
    let limit = usize::try_from(u64::from(body.limit).clamp(1, SHOWN)).unwrap_or(1);
    let mut results = Vec::new();
    let mut open = HashSet::new();
    let mut matches = app.matches(&terms).await?;
    matches.extend(app.matches_elsewhere(&requester, &terms).await?);
    matches.sort_by_key(|found| (found.rank, found.display_name.is_none() && found.avatar_url.is_none()));
    for found in matches {
        if let Some(user) = found.local
            && (user == requester.user || !app.is_visible(&requester, user, &mut open).await?)
        {
            continue;
        }
        if results.len() == limit {
            return Ok(Response::new(results, true));
        }
        let mut user = User::new(found.user_id);
        user.display_name = found.display_name;
        user.avatar_url = found.avatar_url.map(OwnedMxcUri::from);
        results.push(user);
    }
    Ok(Response::new(results, false))
}

impl App {
    /// Local users that fit.
    async fn matches(&self, terms: &Terms) -> Result<Vec<Match>, ApiError> {
        let mut out = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..LOOKED_AT / SCAN {
            let accounts = self.users.accounts.list(after.as_deref(), SCAN).await?;
            let more = accounts.len() == SCAN;
            after = accounts.last().map(|account| account.user_id.localpart().to_owned());
            for account in accounts.into_iter().filter(|account| !account.deactivated) {
                let (display_name, avatar_url) = self.users.profiles.names(account.num).await?;
                if let Some(rank) = terms.rank(&account.user_id, display_name.as_deref()) {
                    let (local, user_id) = (Some(account.num), account.user_id);
                    out.push(Match { rank, local, user_id, display_name, avatar_url });
                }
            }
            if !more {
                break;
            }
        }
        Ok(out)
    }

    /// Whether a user is to be found by the requester: they share a room, or the user is in one that anybody may join or
    /// read. Remembers such rooms in `open`.
    async fn is_visible(
        &self,
        requester: &Requester,
        user: UserNum,
        open: &mut HashSet<RoomNum>,
    ) -> Result<bool, ApiError> {
        if self.share_a_room(requester.user, user).await? {
            return Ok(true);
        }
        let rooms = self.engine.user_rooms().of(user).await?;
        for (num, _) in rooms.iter().filter(|(_, place)| place.membership == Membership::Join) {
            if open.contains(num) {
                return Ok(true);
            }
            if is_open(&self.engine.room_by_num(*num).await?.info()) {
                open.insert(*num);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether anybody may join or read a room.
pub(super) fn is_open(info: &RoomInfo) -> bool {
    let rule = info.auth.as_ref().and_then(|auth| auth.join_rule().ok().cloned());
    rule == Some(JoinRuleKind::Public) || info.visibility == Visibility::WorldReadable
}
