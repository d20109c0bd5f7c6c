//! What is told besides rooms: account data, receipts, typing, and what encryption needs.

use std::collections::{BTreeMap, HashMap};

use super::{
    encryption::Encryption,
    lists::{Chosen, Wish},
    request::{Extension, Extensions},
    room::push_room,
};
use crate::{
    ApiError, App,
    sync::{
        assemble::{Window, item_event},
        section::RoomQuery,
    },
    threads::{MAX_CHANGES, token},
};
use engine::{RoomNum, UserNum};
use serde_json::Value;
use store::Pos;

/// Parts of the extensions, each the fields of an object by room; and account data of the user's own.
#[derive(Default)]
pub(super) struct Parts {
    global: Vec<String>,
    account_data: String,
    receipts: String,
    typing: String,
    encryption: Encryption,
    threads: Option<String>,
}

impl Parts {
    pub(super) fn is_empty(&self) -> bool {
        self.global.is_empty()
            && self.account_data.is_empty()
            && self.receipts.is_empty()
            && self.typing.is_empty()
            && self.encryption.to_device.is_none()
            && self.encryption.e2ee.is_none()
            && self.threads.is_none()
    }

    /// Writes the object.
    pub(super) fn write(&self, out: &mut String) {
        out.push('{');
        let mut first = true;
        let mut separate = |out: &mut String| {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
        };
        if !self.global.is_empty() || !self.account_data.is_empty() {
            separate(out);
            out.push_str(&format!(
                "\"account_data\":{{\"global\":[{}],\"rooms\":{{{}}}}}",
                self.global.join(","),
                self.account_data
            ));
        }
        let threads = ("io.element.msc4308.thread_subscriptions", &self.threads);
        for (name, value) in [("to_device", &self.encryption.to_device), ("e2ee", &self.encryption.e2ee), threads] {
            if let Some(value) = value {
                separate(out);
                out.push_str(&format!("\"{name}\":{value}"));
            }
        }
        for (name, rooms) in [("receipts", &self.receipts), ("typing", &self.typing)] {
            if !rooms.is_empty() {
                separate(out);
                out.push_str(&format!("\"{name}\":{{\"rooms\":{{{rooms}}}}}"));
            }
        }
        out.push('}');
    }
}

impl Extension {
    /// Whether it is to speak of a room.
    fn covers(&self, id: &str, wish: &Wish) -> bool {
        let all = |names: &[String]| names.iter().any(|name| name == "*");
        let by_list =
            self.lists.as_deref().is_none_or(|lists| all(lists) || wish.lists.iter().any(|list| lists.contains(list)));
        let by_id = self.rooms.as_deref().is_none_or(|rooms| all(rooms) || rooms.iter().any(|room| room == id));
        self.enabled && ((!wish.lists.is_empty() && by_list) || (wish.subscribed && by_id))
    }
}

impl App {
    /// What the extensions say of the rooms that the response could speak of; `told` is up to where the client was told of those that it
    /// knows. Responses that did not speak of a room said nothing of it here either.
    pub(super) async fn extend(
        &self,
        asked: &Extensions,
        chosen: &Chosen,
        told: &HashMap<RoomNum, Pos>,
        window: &Window,
        query: &RoomQuery<'_>,
    ) -> Result<Parts, ApiError> {
        let encryption = self.slide_encryption(asked, window, query.requester).await?;
        let threads = self.slide_threads(asked, window, query.requester.user).await?;
        let mut parts = Parts { encryption, threads, ..Parts::default() };
        let mut items = if asked.account_data.enabled {
            self.account_data(query.requester, window).await?
        } else {
            BTreeMap::new()
        };
        parts.global = items.remove(&None).unwrap_or_default().iter().map(item_event).collect();
        for (num, wish) in &chosen.rooms {
            let id = self.engine.room_id(*num).await?;
            let told = told.get(num).copied();
            let is_recent = told.is_some_and(|upto| upto >= window.after());
            if asked.account_data.covers(id.as_str(), wish) {
                let of_room = match is_recent {
                    true => items.remove(&Some(id.to_string())).unwrap_or_default(),
                    false => self.users.account_data.list_in(query.requester.user, Some(&id)).await?,
                };
                if !of_room.is_empty() {
                    let events: Vec<String> = of_room.iter().map(item_event).collect();
                    push_room(&mut parts.account_data, id.as_str(), &format!("[{}]", events.join(",")));
                }
            }
            let joined = window.rooms.get(num).is_some_and(|place| place.membership == engine::Membership::Join);
            if !joined {
                continue;
            }
            let room = self.engine.room_by_num(*num).await?;
            if asked.receipts.covers(id.as_str(), wish)
                && let Some(event) = self.receipts(&room, (told.unwrap_or(0), window.to.pos), query).await?.first()
            {
                push_room(&mut parts.receipts, id.as_str(), event);
            }
            let typing_after = match told {
                Some(_) if is_recent => window.typing_after(),
                // Who typed then may have stopped.
                Some(_) => Some(0),
                None => None,
            };
            if asked.typing.covers(id.as_str(), wish)
                && let Some(event) = self.typing(&room, typing_after).await?
            {
                push_room(&mut parts.typing, id.as_str(), &event);
            }
        }
        Ok(parts)
    }

    /// Threads that the user followed or left; where there are too many, where the older changes are.
    async fn slide_threads(
        &self,
        asked: &Extensions,
        window: &Window,
        user: UserNum,
    ) -> Result<Option<String>, ApiError> {
        if !asked.threads.enabled {
            return Ok(None);
        }
        let limit = asked.threads.limit.unwrap_or(MAX_CHANGES).clamp(1, MAX_CHANGES);
        let after = window.since.map_or(0, |since| since.pos);
        let (mut told, rest) = self.thread_changes(user, (after, window.to.pos), limit).await?;
        told.extend(rest.map(|rest| ("prev_batch".to_owned(), token(after, rest).into())));
        Ok((!told.is_empty()).then(|| Value::Object(told).to_string()))
    }
}
