//! One look at everything between two positions.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use engine::{Membership, RoomNum, RoomsOfUser, UserNum};
use http_kit::Requester;
use ruma::api::client::filter::FilterDefinition;
use store::Pos;
use users::{account_data::Item, presence::UserPresence};

use super::{rooms::Sections, section::RoomQuery};
use crate::{
    ApiError, App,
    filter::{Relations, type_matches},
    page::SyncToken,
};

/// What a client asked for.
pub(super) struct Query {
    pub(super) filter: FilterDefinition,
    /// What the filter says of the relations of events in timelines.
    pub(super) relations: Relations,
    pub(super) full_state: bool,
    pub(super) state_after: bool,
}

/// The stretch of the streams that a response covers.
pub(super) struct Window {
    pub(super) since: Option<SyncToken>,
    pub(super) to: SyncToken,
    pub(super) rooms: RoomsOfUser,
}

impl Window {
    /// From `since` to now.
    pub(super) async fn open(app: &App, user: UserNum, since: Option<SyncToken>) -> Result<Self, ApiError> {
        loop {
            let rooms = app.engine.user_rooms().of(user).await?;
            let pos = app.engine.frontier();
            // The view in memory is a moment ahead of the frontier while a commit is published: wait for that moment.
            if rooms.values().all(|place| place.pos <= pos) {
                let to = SyncToken {
                    pos,
                    typing_epoch: app.engine.typing.epoch(),
                    typing: app.engine.typing.position(),
                    presence: app.users.presence.pos(),
                    misled_since: None,
                    to_device: None,
                };
                return Ok(Self { since, to, rooms });
            }
            tokio::task::yield_now().await;
        }
    }

    /// The position after which things are new, 0 at first.
    pub(super) fn after(&self) -> Pos {
        self.since.map_or(0, |since| since.pos)
    }

    /// The same for typing; `None` where the token is of another run.
    pub(super) fn typing_after(&self) -> Option<u64> {
        self.since.filter(|since| since.typing_epoch == self.to.typing_epoch).map(|since| since.typing)
    }
}

impl App {
    /// The response, and whether there is anything in it.
    pub(super) async fn assemble(
        &self,
        requester: &Requester,
        window: &Window,
        query: &Query,
    ) -> Result<(String, bool), ApiError> {
        let mut account_data = self.account_data(requester, window).await?;
        let global = account_data.remove(&None).unwrap_or_default();
        let mut sections = Sections::default();
        let ignored = self.users.account_data.ignored(requester.user).await?;
        let room_query = RoomQuery::new(query, requester, ignored);
        for (room, place) in window.rooms.iter() {
            self.add_room(&mut sections, *room, *place, window, &room_query, &account_data).await?;
        }
        sections.met.remove(&requester.user);
        let presence = self.presence(window, query, &sections.met).await?;
        let encryption = self.encryption_news(requester, window).await?;

        let mut out = String::with_capacity(512 + sections.len());
        out.push_str("{\"next_batch\":\"");
        let misled_since = sections.misleads.then(|| window.after());
        out.push_str(&SyncToken { misled_since, ..encryption.token(window.to) }.encode());
        out.push('"');
        let global = pick_items(&global, query);
        let news = !sections.is_empty() || !global.is_empty() || !presence.is_empty() || !encryption.is_empty();
        push_events(&mut out, "account_data", &global);
        push_events(&mut out, "presence", &presence);
        encryption.write(&mut out);
        sections.write(&mut out);
        out.push('}');
        Ok((out, news))
    }

    /// Account data that is new, by room (`None`: global).
    pub(super) async fn account_data(
        &self,
        requester: &Requester,
        window: &Window,
    ) -> Result<BTreeMap<Option<String>, Vec<Item>>, ApiError> {
        let items = match window.since {
            Some(since) => self.users.account_data.changes(requester.user, since.pos, window.to.pos).await?,
            None => self.users.account_data.list(requester.user).await?,
        };
        let mut out: BTreeMap<Option<String>, Vec<Item>> = BTreeMap::new();
        for item in items {
            out.entry(item.room_id.as_ref().map(ToString::to_string)).or_default().push(item);
        }
        if window.since.is_none() {
            let global = out.entry(None).or_default();
            if !global.iter().any(|item| item.event_type == "m.push_rules") {
                let content = self.users.push_rules.content(requester.user).await?;
                global.push(Item { room_id: None, event_type: "m.push_rules".to_owned(), content, pos: 0 });
            }
        }
        Ok(out)
    }

    /// Presence that changed, and that of users met for the first time.
    async fn presence(&self, window: &Window, query: &Query, met: &BTreeSet<UserNum>) -> Result<Vec<String>, ApiError> {
        let since = window.since.map(|since| since.presence);
        if !self.config.presence || (since == Some(window.to.presence) && met.is_empty()) {
            return Ok(Vec::new());
        }
        let Sharing { local, with_others } = self.sharing(&window.rooms).await?;
        // Where no other server takes part, everybody there is to tell of is local.
        let (changed, _) = self
            .users
            .presence
            .changes(since, |user| !met.contains(&user) && (!with_others.is_empty() || local.contains(&user)));
        let mut news = Vec::with_capacity(changed.len());
        for (user, presence) in changed {
            if local.contains(&user) || self.shares_from_afar(user, &with_others).await? {
                news.push((user, presence));
            }
        }
        news.extend(met.iter().filter_map(|user| Some((*user, self.users.presence.get(*user)?))));
        let filter = &query.filter.presence;
        let wants_kind =
            filter.types.as_ref().is_none_or(|types| types.iter().any(|kind| type_matches(kind, "m.presence")))
                && !filter.not_types.iter().any(|kind| type_matches(kind, "m.presence"));
        if !wants_kind {
            return Ok(Vec::new());
        }
        let mut out = Vec::with_capacity(news.len());
        for (user, presence) in news {
            let Some(id) = self.engine.ids.name(store::IdKind::User, user).await? else { continue };
            let wanted = !filter.not_senders.iter().any(|sender| sender.as_str() == &*id)
                && filter.senders.as_ref().is_none_or(|list| list.iter().any(|sender| sender.as_str() == &*id));
            if wanted {
                out.push(presence_event(&id, presence));
            }
        }
        Ok(out)
    }

    /// Whether a user of another server is in one of these rooms.
    async fn shares_from_afar(&self, user: UserNum, rooms: &[RoomNum]) -> Result<bool, ApiError> {
        let Some(id) = self.engine.ids.name(store::IdKind::User, user).await? else { return Ok(false) };
        if <&ruma::UserId>::try_from(&*id).is_ok_and(|id| self.engine.is_local(id)) {
            return Ok(false);
        }
        for room in rooms {
            if self.engine.membership(*room, &id).await? == Some(Membership::Join) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) async fn sharing(&self, rooms: &RoomsOfUser) -> Result<Sharing, ApiError> {
        let mut sharing = Sharing::default();
        let joined = rooms.iter().filter(|(_, place)| place.membership == Membership::Join);
        let joined: Vec<RoomNum> = joined.map(|(room, _)| *room).collect();
        for room in joined {
            let info = self.engine.room_by_num(room).await?.info();
            sharing.local.extend(info.local_members.iter().copied());
            if !info.servers.is_empty() {
                sharing.with_others.push(room);
            }
        }
        Ok(sharing)
    }
}

/// With whom a user shares rooms.
#[derive(Default)]
pub(super) struct Sharing {
    /// Local users, the user among them.
    pub(super) local: HashSet<UserNum>,
    /// The rooms in which other servers take part.
    pub(super) with_others: Vec<RoomNum>,
}

/// Account data as events, those that the filter wants.
fn pick_items(items: &[Item], query: &Query) -> Vec<String> {
    let filter = &query.filter.account_data;
    let is = |item: &Item, pattern: &String| type_matches(pattern, &item.event_type);
    items
        .iter()
        .filter(|item| filter.types.as_ref().is_none_or(|types| types.iter().any(|kind| is(item, kind))))
        .filter(|item| !filter.not_types.iter().any(|kind| is(item, kind)))
        .map(item_event)
        .collect()
}

fn presence_event(user_id: &str, presence: UserPresence) -> String {
    let mut content = serde_json::json!({
        "presence": presence.state.as_str(),
        "last_active_ago": presence.last_active_ago,
        "currently_active": presence.currently_active,
    });
    if let Some(status) = presence.status_msg {
        content["status_msg"] = status.into();
    }
    serde_json::json!({"type": "m.presence", "sender": user_id, "content": content}).to_string()
}

pub(super) fn item_event(item: &Item) -> String {
    let mut out = String::from("{\"content\":");
    out.push_str(item.content.get());
    out.push_str(",\"type\":");
    engine::splice::push_json_string(&mut out, &item.event_type);
    out.push('}');
    out
}

/// Appends `,"name":{"events":[…]}` where there are any.
pub(super) fn push_events(out: &mut String, name: &str, events: &[String]) {
    if events.is_empty() {
        return;
    }
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":{\"events\":[");
    out.push_str(&events.join(","));
    out.push_str("]}");
}
