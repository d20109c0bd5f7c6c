//! Users of other servers: those who are joined to rooms that the requester is in, and to rooms that anybody may join or read. They are
//! called what they are called there.

use std::collections::HashSet;

use engine::{EVENTS, EngineError, EventNum, Membership, Room};
use http_kit::Requester;
use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value};

use super::{
    search::{Match, is_open},
    terms::Terms,
};
use crate::{ApiError, App};

/// Members looked at, at most.
const MEMBERS: usize = 10_000;
/// Rooms looked at that the requester is not in, at most.
const OPEN_ROOMS: usize = 500;
/// Membership events read in one go.
const READ: usize = 500;

impl App {
    /// Those that fit.
    pub(super) async fn matches_elsewhere(&self, requester: &Requester, terms: &Terms) -> Result<Vec<Match>, ApiError> {
        let places = self.engine.user_rooms().of(requester.user).await.map_err(EngineError::from)?;
        let joined: HashSet<_> =
            places.iter().filter(|(_, place)| place.membership == Membership::Join).map(|(num, _)| *num).collect();
        let others = self.engine.room_nums(0, OPEN_ROOMS).await?;
        let others = others.into_iter().filter(|num| !joined.contains(num));
        let (mut out, mut seen) = (Vec::new(), HashSet::new());
        for num in joined.iter().copied().chain(others) {
            let room = self.engine.room_by_num(num).await?;
            // A room without other servers has nobody to look for.
            let info = room.info();
            if !info.servers.is_empty() && (joined.contains(&num) || is_open(&info)) {
                self.matches_in(&room, terms, &mut seen, &mut out).await?;
            }
            if seen.len() >= MEMBERS {
                break;
            }
        }
        Ok(out)
    }

    async fn matches_in(
        &self,
        room: &Room,
        terms: &Terms,
        seen: &mut HashSet<OwnedUserId>,
        out: &mut Vec<Match>,
    ) -> Result<(), ApiError> {
        let mut members: Vec<(EventNum, OwnedUserId)> = Vec::new();
        for member in self.engine.members(room.num).await? {
            let Ok(user_id) = <&UserId>::try_from(&*member.user_id) else { continue };
            if member.membership == Membership::Join && !self.engine.is_local(user_id) && seen.len() < MEMBERS {
                let user_id = user_id.to_owned();
                if seen.insert(user_id.clone()) {
                    members.push((member.num, user_id));
                }
            }
        }
        for some in members.chunks(READ) {
            // Past the cache, which is for what people look at.
            let keys: Vec<_> = some.iter().map(|(num, _)| (room.num, *num)).collect();
            let rows = self.engine.db.multi_get(&EVENTS, &keys).await.map_err(EngineError::from)?;
            for ((_, user_id), row) in some.iter().zip(rows) {
                let content: Map<String, Value> =
                    row.and_then(|row| serde_json::from_str(row.content()).ok()).unwrap_or_default();
                let text = |field: &str| content.get(field).and_then(Value::as_str).map(str::to_owned);
                let (display_name, avatar_url) = (text("displayname"), text("avatar_url"));
                if let Some(rank) = terms.rank(user_id, display_name.as_deref()) {
                    out.push(Match { rank, local: None, user_id: user_id.clone(), display_name, avatar_url });
                }
            }
        }
        Ok(())
    }
}
