//! Results as clients get them.

use std::collections::{BTreeMap, HashMap};

use engine::{Direction, EventNum, EventRow, HistoryPoint, RoomNum};
use http_kit::{RawJson, Requester};
use ruma::api::client::search::search_events::v3::GroupingKey;
use search::{Order, Place, Search};
use serde_json::{Map, Value, json};

use super::{
    results::{Page, Shown},
    token::{Group, Token},
};
use crate::{ApiError, App, access::Reader, filter::RowFilter, page::encode_point, timeline::rendering};

/// Bytes of an answer, about; the result that exceeds them is its last.
const MAX_BYTES: usize = 8 << 20;

/// The events around each result that are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) before: usize,
    pub(super) after: usize,
    pub(super) profiles: bool,
}

/// What is asked for beside the results.
pub(super) struct Wanted<'a> {
    pub(super) term: &'a str,
    pub(super) order: Order,
    /// The group that all of this is about.
    pub(super) group: Option<Group>,
    pub(super) context: Option<Context>,
    pub(super) state: bool,
    pub(super) groups: Vec<GroupingKey>,
}

impl Wanted<'_> {
    fn token(&self, after: Place, group: Option<Group>) -> String {
        Token { order: self.order, after, group }.encode()
    }
}

impl App {
    /// Writes a page of results. What would make the answer too large is left for the next one.
    pub(super) async fn answer_search(
        &self,
        mut page: Page<'_>,
        wanted: &Wanted<'_>,
        requester: &Requester,
    ) -> Result<RawJson, ApiError> {
        let (mut results, mut states, mut written) = (String::new(), BTreeMap::<RoomNum, String>::new(), 0);
        for shown in &page.shown {
            let Some(Some(reader)) = page.readers.get(&shown.hit.room) else { continue };
            let bytes = results.len() + states.values().map(String::len).sum::<usize>();
            if written > 0 && bytes > MAX_BYTES {
                break;
            }
            if wanted.state && !states.contains_key(&shown.hit.room) {
                states.insert(shown.hit.room, self.whole_state(reader, requester).await?);
            }
            if written > 0 {
                results.push(',');
            }
            self.write_result(&mut results, reader, shown, wanted, requester).await?;
            written += 1;
        }
        if written < page.shown.len() {
            page.shown.truncate(written);
            page.next = page.shown.last().map(|shown| shown.hit.place);
        }
        let highlights = Search::highlights(wanted.term, page.shown.iter().map(|shown| &shown.event.1));
        let mut out = format!(
            "{{\"search_categories\":{{\"room_events\":{{\"count\":{},\"highlights\":{},\"results\":[{results}]",
            page.count,
            json!(highlights)
        );
        if wanted.state {
            let of = |(room, state): (&RoomNum, &String)| {
                let reader = page.readers.get(room)?.as_ref()?;
                Some(format!("{}:[{state}]", json!(reader.room.id)))
            };
            let all: Vec<String> = states.iter().filter_map(of).collect();
            out.push_str(&format!(",\"state\":{{{}}}", all.join(",")));
        }
        if !wanted.groups.is_empty() {
            out.push_str(&format!(",\"groups\":{}", groups(&page, wanted)));
        }
        if let Some(next) = page.next {
            out.push_str(&format!(",\"next_batch\":{}", json!(wanted.token(next, wanted.group))));
        }
        out.push_str("}}}");
        Ok(RawJson(out.into()))
    }

    async fn write_result(
        &self,
        out: &mut String,
        reader: &Reader<'_>,
        shown: &Shown,
        wanted: &Wanted<'_>,
        requester: &Requester,
    ) -> Result<(), ApiError> {
        let event = std::slice::from_ref(&shown.event);
        out.push_str(&format!("{{\"rank\":{},\"result\":", json!(shown.hit.rank)));
        self.engine
            .render(out, &reader.room, &reader.viewer, event, rendering(requester, Some(&reader.ignored)))
            .await?;
        if let Some(context) = wanted.context {
            out.push_str(",\"context\":");
            self.write_context(out, reader, &shown.event, context, requester).await?;
        }
        out.push('}');
        Ok(())
    }

    async fn write_context(
        &self,
        out: &mut String,
        reader: &Reader<'_>,
        event: &(EventNum, EventRow),
        wanted: Context,
        requester: &Requester,
    ) -> Result<(), ApiError> {
        let all = RowFilter::default();
        let (start, end) = (HistoryPoint::before(&event.1), HistoryPoint::after(&event.1));
        let before = self.around(reader, &all, start, Direction::Backward, wanted.before).await?;
        let after = self.around(reader, &all, end, Direction::Forward, wanted.after).await?;
        let start = before.last().map_or(start, |(_, row)| HistoryPoint::before(row));
        let end = after.last().map_or(end, |(_, row)| HistoryPoint::after(row));
        out.push_str(&format!("{{\"start\":\"{}\",\"end\":\"{}\"", encode_point(start), encode_point(end)));
        for (name, events) in [("events_before", &before), ("events_after", &after)] {
            out.push_str(&format!(",\"{name}\":["));
            self.engine
                .render(out, &reader.room, &reader.viewer, events, rendering(requester, Some(&reader.ignored)))
                .await?;
            out.push(']');
        }
        if wanted.profiles {
            let events: Vec<_> = before.iter().chain(&after).chain(std::iter::once(event)).cloned().collect();
            let members = self.members_of_senders(reader, &events).await?;
            out.push_str(&format!(",\"profile_info\":{}", profiles(&members)));
        }
        out.push('}');
        Ok(())
    }

    async fn whole_state(&self, reader: &Reader<'_>, requester: &Requester) -> Result<String, ApiError> {
        let nums: Vec<EventNum> = self.state_for(reader).await?.into_iter().map(|(.., num)| num).collect();
        let events = self.engine.events(reader.room.num, &nums).await?;
        let mut out = String::new();
        self.engine.render(&mut out, &reader.room, &reader.viewer, &events, rendering(requester, None)).await?;
        Ok(out)
    }
}

/// How those who sent something were called then.
fn profiles(members: &[(EventNum, EventRow)]) -> Value {
    let mut out = Map::new();
    for (_, row) in members {
        let content: Map<String, Value> = serde_json::from_str(row.content()).unwrap_or_default();
        let profile: Map<String, Value> = content
            .into_iter()
            .filter(|(field, value)| matches!(&**field, "displayname" | "avatar_url") && value.is_string())
            .collect();
        out.insert(row.state_key().unwrap_or_default().into_owned(), profile.into());
    }
    out.into()
}

/// The results by what they have in common, each group with a token to go on in it.
fn groups(page: &Page<'_>, wanted: &Wanted<'_>) -> Value {
    let mut out = Map::new();
    for key in &wanted.groups {
        // In the order in which they come first.
        let (mut order, mut groups) = (Vec::<String>::new(), HashMap::<String, (Group, Place, Vec<&str>)>::new());
        for Shown { hit, event: (_, row) } in &page.shown {
            let (name, group) = match key {
                GroupingKey::RoomId => {
                    let reader = page.readers.get(&hit.room).and_then(Option::as_ref);
                    (reader.map(|reader| reader.room.id.to_string()).unwrap_or_default(), Group::Room(hit.room))
                }
                _ => (row.sender().to_owned(), Group::Sender(row.sender_num())),
            };
            let (_, last, ids) = groups.entry(name.clone()).or_insert_with(|| {
                order.push(name);
                (group, hit.place, Vec::new())
            });
            *last = hit.place;
            ids.push(row.event_id());
        }
        let shown = order.into_iter().enumerate().filter_map(|(index, name)| {
            let (group, last, ids) = groups.remove(&name)?;
            let mut value = json!({"order": index + 1, "results": ids});
            // A page within a group goes on within it, whatever else it is divided by.
            if page.next.is_some() && wanted.group.is_none_or(|within| within == group) {
                value["next_batch"] = json!(wanted.token(last, Some(group)));
            }
            Some((name, value))
        });
        out.insert(key.to_string(), Value::Object(shown.collect()));
    }
    out.into()
}
