//! `POST /_matrix/client/v3/user_directory/search`
//!
//! There is no index: all local accounts are looked at, [`LOOKED_AT`] of them at most, in the order of their names.

use std::collections::HashSet;

use axum::extract::State;
use engine::{Membership, RoomNum, UserNum, Visibility};
use http_kit::{MatrixError, Requester, Ruma};
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

struct Match {
    rank: Rank,
    user: UserNum,
    user_id: OwnedUserId,
    display_name: Option<String>,
    avatar_url: Option<String>,
}

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    if body.search_term.len() > MAX_TERM {
        return Err(MatrixError::invalid_param("search_term", "longer than 1024 bytes").into());
    }
    let Some(terms) = Terms::new(&body.search_term) else { return Ok(Response::new(Vec::new(), false)) };
    let limit = usize::try_from(u64::from(body.limit).clamp(1, SHOWN)).unwrap_or(1);
    let mut results = Vec::new();
    let mut open = HashSet::new();
    for found in app.matches(&terms).await? {
        if found.user == requester.user || !app.is_visible(&requester, found.user, &mut open).await? {
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
    /// Local users that fit, the best first.
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
                    let (user, user_id) = (account.num, account.user_id);
                    out.push(Match { rank, user, user_id, display_name, avatar_url });
                }
            }
            if !more {
                break;
            }
        }
        out.sort_by_key(|found| found.rank);
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
            let info = self.engine.room_by_num(*num).await?.info();
            let rule = info.auth.as_ref().and_then(|auth| auth.join_rule().ok().cloned());
            if rule == Some(JoinRuleKind::Public) || info.visibility == Visibility::WorldReadable {
                open.insert(*num);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
