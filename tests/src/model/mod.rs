//! A Matrix client's memory: what a careful client knows after the syncs it made, gaps filled through `/messages`.
//!
//! Two such memories of one user must be equal whatever way the stream was cut; [`Model::differences`] says where
//! they are not. Redactions are applied as they arrive, so that an event that was served whole and redacted later equals
//! the same event served redacted.

mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, ClientError};
use crate::http::encode;

pub use compare::View;

/// Pages of one gap that are fetched before it counts as endless.
const MAX_PAGES: usize = 10_000;

/// Why a memory could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A request failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An answer breaks the specification.
    #[error("{0}")]
    Broken(String),
}

/// How one sync is made.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// The timeline limit of the filter.
    pub limit: usize,
    /// The page size used to fill gaps.
    pub page: usize,
    /// Lazy-loaded members. Must stay the same over a memory's life.
    pub lazy: bool,
    /// `state_after` in place of `state` (since v1.16 of the specification).
    pub state_after: bool,
}

impl Cut {
    fn query(&self) -> String {
        let filter = json!({
            "room": {
                "include_leave": true,
                "timeline": {"limit": self.limit, "lazy_load_members": self.lazy},
                "state": {"lazy_load_members": self.lazy}
            }
        });
        // The control still knows it by the unstable name alone.
        let after = if self.state_after { "&use_state_after=true&org.matrix.msc4222.use_state_after=true" } else { "" };
        format!("filter={}{after}", encode(&filter.to_string()))
    }
}

/// An event as far as it must be equal everywhere: `unsigned` depends on the reader and the moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// The state key, where it is state.
    pub key: Option<String>,
    /// Who sent it.
    pub sender: String,
    /// When, by its server's clock, in milliseconds.
    pub sent_at: i64,
    /// Its content.
    pub content: Value,
    /// Whether it was served redacted.
    pub redacted: bool,
    /// The event that it redacts: in the content since room version 11, beside it before.
    pub redacts: Option<String>,
}

impl Event {
    fn read(json: &Value) -> Result<Self, ModelError> {
        let text = |field: &str| {
            let found = json.get(field).and_then(Value::as_str).map(str::to_owned);
            found.ok_or_else(|| ModelError::Broken(format!("an event without {field}: {json}")))
        };
        let because = json.get("unsigned").and_then(|unsigned| unsigned.get("redacted_because"));
        Ok(Self {
            id: text("event_id")?,
            kind: text("type")?,
            key: json.get("state_key").and_then(Value::as_str).map(str::to_owned),
            sender: text("sender")?,
            sent_at: json.get("origin_server_ts").and_then(Value::as_i64).unwrap_or(-1),
            content: json.get("content").cloned().unwrap_or_default(),
            redacted: because.is_some(),
            redacts: Self::redacts(json).map(str::to_owned),
        })
    }

    fn redacts(json: &Value) -> Option<&str> {
        if json.get("type")?.as_str()? != "m.room.redaction" {
            return None;
        }
        let inside = json.get("content").and_then(|content| content.get("redacts"));
        inside.or_else(|| json.get("redacts"))?.as_str()
    }
}

type StateKey = (String, String);
type ReceiptKey = (String, String, Option<String>);

/// What is known of one room.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// The section of `/sync` it was last in: `join` or `leave`.
    pub section: String,
    /// All events, oldest first.
    pub timeline: Vec<Event>,
    /// The current state; for lazy members, as far as it was served.
    pub state: BTreeMap<StateKey, Event>,
    /// Account data of this room by type.
    pub account_data: BTreeMap<String, Value>,
    /// The event each (user, receipt type, thread) has read up to.
    pub receipts: BTreeMap<ReceiptKey, String>,
    known: BTreeSet<String>,
}

impl Room {
    fn set_state(&mut self, event: &Event) {
        if let Some(key) = &event.key {
            self.state.insert((event.kind.clone(), key.clone()), event.clone());
        }
    }
}

/// A client's memory of everything.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// The token of the last sync.
    pub since: Option<String>,
    /// Rooms in the join and leave sections.
    pub rooms: BTreeMap<String, Room>,
    /// Invitations: the stripped state as (type, key) to (sender, content).
    pub invites: BTreeMap<String, BTreeMap<StateKey, (String, Value)>>,
    /// Global account data by type.
    pub account_data: BTreeMap<String, Value>,
    /// Gaps that had to be filled so far.
    pub gaps: usize,
}

fn array<'a>(json: &'a Value, path: &[&str]) -> &'a [Value] {
    let found = path.iter().try_fold(json, |json, key| json.get(key));
    found.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn members<'a>(json: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
    let found = path.iter().try_fold(json, |json, key| json.get(key));
    found.and_then(Value::as_object).into_iter().flatten()
}

fn merge_account_data(into: &mut BTreeMap<String, Value>, events: &[Value]) {
    for event in events {
        if let Some(kind) = event.get("type").and_then(Value::as_str) {
            into.insert(kind.to_owned(), event.get("content").cloned().unwrap_or_default());
        }
    }
}

fn merge_receipts(room: &mut Room, events: &[Value]) {
    for event in events.iter().filter(|event| event.get("type").and_then(Value::as_str) == Some("m.receipt")) {
        for (event_id, kinds) in members(event, &["content"]) {
            for (kind, users) in members(kinds, &[]) {
                for (user, receipt) in members(users, &[]) {
                    let thread = receipt.get("thread_id").and_then(Value::as_str).map(str::to_owned);
                    room.receipts.insert((user.clone(), kind.clone(), thread), event_id.clone());
                }
            }
        }
    }
}

impl Model {
    /// Makes one sync and takes it in, gaps filled. Gives how many rooms and invitations it spoke of.
    ///
    /// # Errors
    /// [`ModelError::Broken`] also for a lazy-loaded timeline event whose sender's membership was never served.
    pub async fn sync(&mut self, client: &Client, cut: Cut) -> Result<usize, ModelError> {
        let answer = client.sync(self.since.as_deref(), Duration::ZERO, &cut.query()).await?;
        let token = answer.get("next_batch").and_then(Value::as_str);
        let token = token.ok_or_else(|| ModelError::Broken("/sync without next_batch".to_owned()))?;
        merge_account_data(&mut self.account_data, array(&answer, &["account_data", "events"]));
        let mut spoken_of = 0;
        for section in ["join", "leave"] {
            for (room_id, json) in members(&answer, &["rooms", section]) {
                self.take_room(client, cut, section, room_id, json).await?;
                self.invites.remove(room_id);
                spoken_of += 1;
            }
        }
        for (room_id, json) in members(&answer, &["rooms", "invite"]) {
            self.take_invite(room_id, json);
            spoken_of += 1;
        }
        self.since = Some(token.to_owned());
        Ok(spoken_of)
    }

    fn take_invite(&mut self, room_id: &str, json: &Value) {
        let mut stripped = BTreeMap::new();
        for event in array(json, &["invite_state", "events"]) {
            let text = |field| event.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let content = event.get("content").cloned().unwrap_or_default();
            stripped.insert((text("type"), text("state_key")), (text("sender"), content));
        }
        self.invites.insert(room_id.to_owned(), stripped);
        // Who is invited has left, though the section for that is not told any more.
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.section = "leave".to_owned();
        }
    }

    async fn take_room(
        &mut self,
        client: &Client,
        cut: Cut,
        section: &str,
        room_id: &str,
        json: &Value,
    ) -> Result<(), ModelError> {
        let room = self.rooms.entry(room_id.to_owned()).or_default();
        let was_inside = room.section == "join";
        // What one is told of a room while away (one's own memberships) is no piece of its history without gaps: who
        // comes back starts afresh, as the server does with the room's whole state.
        let state_of = |name: &str| array(json, &[name, "events"]);
        let timeline = array(json, &["timeline", "events"]);
        let mut told = state_of("state").iter().chain(state_of("state_after")).chain(timeline);
        let is_whole = told.any(|event| event.get("type").and_then(Value::as_str) == Some("m.room.create"));
        if !was_inside && (section == "join" || is_whole) {
            *room = Room::default();
        }
        room.section = section.to_owned();
        let part = |name: &str| json.get("timeline").and_then(|timeline| timeline.get(name));
        let limited = part("limited").and_then(Value::as_bool) == Some(true);
        let first = timeline.first().and_then(|event| event.get("event_id")?.as_str());
        let is_joined_on = first.is_some_and(|id| room.known.contains(id));
        let mut chunk = Vec::new();
        // A declined invitation is told without what went before it, whatever `limited` says.
        if !is_joined_on && (limited || (section == "leave" && !was_inside)) {
            self.gaps += 1;
            let from = part("prev_batch").and_then(Value::as_str);
            let missing = || ModelError::Broken(format!("{room_id}: limited without prev_batch"));
            let from = from.ok_or_else(missing)?;
            match fill_gap(client, cut, room, room_id, from).await? {
                Some(events) => chunk = events,
                None => return Ok(()),
            }
            // An invitation hides from `/sync` that one was inside since. Whoever was may see what went before it, as when
            // coming back: from the start.
            if !was_inside && !room.known.is_empty() && chunk.iter().any(|event| is_join_of(event, client.user_id())) {
                *room = Room { section: section.to_owned(), ..Room::default() };
                chunk = fill_gap(client, cut, room, room_id, from).await?.unwrap_or_default();
            }
        }
        chunk.extend(timeline.iter().cloned());
        for json in &chunk {
            let event = Event::read(json)?;
            if room.known.insert(event.id.clone()) {
                room.timeline.push(event);
            }
        }
        take_state(room, cut, json, timeline)?;
        if cut.lazy && section == "join" {
            check_senders(room, room_id, timeline)?;
        }
        merge_account_data(&mut room.account_data, array(json, &["account_data", "events"]));
        merge_receipts(room, array(json, &["ephemeral", "events"]));
        Ok(())
    }
}

fn is_join_of(event: &Value, user: &str) -> bool {
    let text = |field: &str| event.get(field).and_then(Value::as_str);
    let membership = event.get("content").and_then(|content| content.get("membership")?.as_str());
    text("type") == Some("m.room.member") && text("state_key") == Some(user) && membership == Some("join")
}

/// The events between `from` and the last known one, oldest first; `None` where the server refuses to show them.
async fn fill_gap(
    client: &Client,
    cut: Cut,
    room: &Room,
    room_id: &str,
    from: &str,
) -> Result<Option<Vec<Value>>, ModelError> {
    let query = if cut.lazy { format!("filter={}", encode("{\"lazy_load_members\":true}")) } else { String::new() };
    let (mut events, mut from) = (Vec::new(), from.to_owned());
    for _ in 0..MAX_PAGES {
        let page = client.messages(room_id, 'b', Some(&from), cut.page, &query).await;
        let answer = match page {
            // Invited again since, or never inside: what happened there is not this client's to see now.
            Err(error) if room.section == "leave" && error.status() == Some(403) => {
                return Ok(None);
            }
            page => page?,
        };
        for event in array(&answer, &["chunk"]) {
            let id = event.get("event_id").and_then(Value::as_str).unwrap_or_default();
            if room.known.contains(id) {
                events.reverse();
                return Ok(Some(events));
            }
            events.push(event.clone());
        }
        match answer.get("end").and_then(Value::as_str) {
            Some(end) if end != from => from = end.to_owned(),
            _ => {
                events.reverse();
                return Ok(Some(events));
            }
        }
    }
    Err(ModelError::Broken(format!("{room_id}: /messages has no end")))
}

fn take_state(room: &mut Room, cut: Cut, json: &Value, timeline: &[Value]) -> Result<(), ModelError> {
    if cut.state_after {
        let after = json.get("state_after").or_else(|| json.get("org.matrix.msc4222.state_after"));
        let after = after.ok_or_else(|| ModelError::Broken("asked for state_after, got none".to_owned()))?;
        for event in array(after, &["events"]) {
            room.set_state(&Event::read(event)?);
        }
        return Ok(());
    }
    for event in array(json, &["state", "events"]).iter().chain(timeline) {
        room.set_state(&Event::read(event)?);
    }
    Ok(())
}

/// With lazy-loaded members a client must be able to name the sender of everything it shows.
fn check_senders(room: &Room, room_id: &str, timeline: &[Value]) -> Result<(), ModelError> {
    for event in timeline {
        let event = Event::read(event)?;
        let key = ("m.room.member".to_owned(), event.sender.clone());
        if !room.state.contains_key(&key) {
            let message = format!("{room_id}: lazy loading left out {}, sender of {}", event.sender, event.id);
            return Err(ModelError::Broken(message));
        }
    }
    Ok(())
}
