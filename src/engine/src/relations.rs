//! Events that relate to others, and what is bundled of them.
//! [Forming relationships](https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events).

use std::collections::{HashMap, HashSet};

use ruma::{OwnedUserId, UserId};
use store::Page;

use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    row::{EventRow, Verdict},
    splice::{Format, Unsigned, push_json_string, write_client_event},
    staged::RelationRow,
    tables::{Arrival, Depth, EventNum, RELATED, RELATIONS, RoomNum},
    timeline::{Direction, HistoryPoint, Viewer},
};

/// A row of [`RELATIONS`].
type Relation = ((RoomNum, String, Depth, Arrival), RelationRow);

/// Relations looked at for one bundle, at most.
const BUNDLE_SCAN: usize = 1000;
/// References listed in a bundle, at most.
const REFERENCES: usize = 50;

/// Which relations are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct RelationFilter<'a> {
    /// `rel_type`
    pub kind: Option<&'a str>,
    /// The type of the relating event.
    pub event_type: Option<&'a str>,
}

impl RelationFilter<'_> {
    pub(crate) fn matches(&self, row: &RelationRow) -> bool {
        self.kind.is_none_or(|kind| kind == row.kind) && self.event_type.is_none_or(|kind| kind == row.event_type)
    }
}

impl Engine {
    /// A page of the events that relate to another, and the point where the next page starts.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn relations(
        &self,
        room: RoomNum,
        target: &str,
        filter: RelationFilter<'_>,
        (from, to): (Option<HistoryPoint>, Option<HistoryPoint>),
        limit: usize,
        direction: Direction,
    ) -> Result<(Vec<EventNum>, Option<HistoryPoint>), EngineError> {
        let reverse = direction == Direction::Backward;
        let (mut low, mut high) = match direction {
            Direction::Backward => (to.unwrap_or(HistoryPoint::START), from.unwrap_or(HistoryPoint::END)),
            Direction::Forward => (from.unwrap_or(HistoryPoint::START), to.unwrap_or(HistoryPoint::END)),
        };
        let mut found = Vec::new();
        loop {
            let key = |point: HistoryPoint| (room, target.to_owned(), point.depth, point.arrival);
            let page = Page { limit: BUNDLE_SCAN, reverse };
            let rows: Vec<Relation> = self.db.scan(&RELATIONS, &key(low), &key(high), page).await?;
            let full = rows.len() == BUNDLE_SCAN;
            for ((_, _, depth, arrival), row) in rows {
                let here = HistoryPoint { depth, arrival };
                let behind = HistoryPoint { depth, arrival: arrival.saturating_add(1) };
                if found.len() == limit {
                    return Ok((found, Some(if reverse { behind } else { here })));
                }
                if filter.matches(&row) {
                    found.push(row.num);
                }
                if reverse {
                    high = here;
                } else {
                    low = behind;
                }
            }
            if !full {
                return Ok((found, None));
            }
        }
    }

    /// For each event: `m.relations` of its `unsigned`, as JSON, where it has any besides those of users whom the viewer ignores.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn bundles(
        &self,
        room: &Room,
        viewer: &Viewer<'_>,
        events: &[(EventNum, EventRow)],
        ignored: &HashSet<OwnedUserId>,
    ) -> Result<Vec<Option<String>>, EngineError> {
        let keys: Vec<(RoomNum, EventNum)> = events.iter().map(|(num, _)| (room.num, *num)).collect();
        let related = self.db.multi_get(&RELATED, &keys).await?;
        let mut out = Vec::with_capacity(events.len());
        for ((_, row), related) in events.iter().zip(related) {
            // Everything in a ledger refers to the create event, so that it can be paged: that is no bundle.
            let bundled = related.is_some() && !row.is_redacted() && row.type_json() != "\"m.room.create\"";
            out.push(if bundled { self.bundle(room, (viewer, ignored), row, true).await? } else { None });
        }
        Ok(out)
    }

    /// With `threads`, of a thread as well; what is in one has none of its own.
    async fn bundle(
        &self,
        room: &Room,
        (viewer, ignored): (&Viewer<'_>, &HashSet<OwnedUserId>),
        row: &EventRow,
        threads: bool,
    ) -> Result<Option<String>, EngineError> {
        let prefix = (room.num, row.event_id().to_owned());
        let rows = self.db.scan_prefix(&RELATIONS, &prefix, Page::last(BUNDLE_SCAN)).await?;
        let rows = self.seen_relations(room, (viewer, ignored), rows).await?;
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.replacement(room, row, &rows));
        if threads {
            parts.extend(self.thread(room, (viewer, ignored), row, &rows).await?);
        }
        parts.extend(references(&rows));
        Ok((!parts.is_empty()).then(|| format!("{{{}}}", parts.join(","))))
    }

    /// The relations whose events the viewer may see and wants to, newest first: what was said after somebody left is not for them.
    async fn seen_relations(
        &self,
        room: &Room,
        (viewer, ignored): (&Viewer<'_>, &HashSet<OwnedUserId>),
        rows: Vec<Relation>,
    ) -> Result<Vec<(String, EventRow)>, EngineError> {
        let nums: Vec<EventNum> = rows.iter().map(|(_, relation)| relation.num).collect();
        let mut kinds: HashMap<EventNum, String> =
            rows.into_iter().map(|(_, relation)| (relation.num, relation.kind)).collect();
        let (frontier, mut out) = (self.frontier(), Vec::with_capacity(nums.len()));
        for (num, row) in self.events(room.num, &nums).await? {
            let wanted = !<&UserId>::try_from(row.sender()).is_ok_and(|sender| ignored.contains(sender));
            let there = wanted && !row.is_redacted() && row.pos() <= frontier;
            let shown = there && self.can_see(room.num, viewer, &row).await?;
            if let Some(kind) = kinds.remove(&num).filter(|_| shown) {
                out.push((kind, row));
            }
        }
        Ok(out)
    }

    /// The newest valid edit.
    fn replacement(&self, room: &Room, target: &EventRow, rows: &[(String, EventRow)]) -> Option<String> {
        let mut newest: Option<&EventRow> = None;
        for (_, row) in rows.iter().filter(|(kind, _)| kind == "m.replace") {
            let valid = row.verdict() == Verdict::Accepted
                && row.sender_num() == target.sender_num()
                && row.type_json() == target.type_json()
                && !row.is_state();
            let key = |row: &EventRow| (row.origin_server_ts(), row.event_id().to_owned());
            if valid && newest.is_none_or(|other| key(row) > key(other)) {
                newest = Some(row);
            }
        }
        newest.map(|row| {
            let mut out = String::from("\"m.replace\":");
            let unsigned = Unsigned { now: self.now(), ..Unsigned::default() };
            write_client_event(&mut out, row, room.id.as_str(), Format::WithRoomId, &unsigned, None);
            out
        })
    }

    async fn thread(
        &self,
        room: &Room,
        (viewer, ignored): (&Viewer<'_>, &HashSet<OwnedUserId>),
        root: &EventRow,
        rows: &[(String, EventRow)],
    ) -> Result<Option<String>, EngineError> {
        // Whoever sent the root takes part.
        let (mut count, mut participated, mut latest) = (0u64, root.sender_num() == viewer.num, None);
        for (_, row) in rows.iter().filter(|(kind, _)| kind == "m.thread") {
            count += 1;
            participated |= row.sender_num() == viewer.num;
            latest.get_or_insert(row);
        }
        let Some(row) = latest else { return Ok(None) };
        let relations = Box::pin(self.bundle(room, (viewer, ignored), row, false)).await?;
        let mut out = String::from("\"m.thread\":{\"latest_event\":");
        let unsigned = Unsigned { now: self.now(), relations, ..Unsigned::default() };
        write_client_event(&mut out, row, room.id.as_str(), Format::WithRoomId, &unsigned, None);
        out.push_str(&format!(",\"count\":{count},\"current_user_participated\":{participated}}}"));
        Ok(Some(out))
    }
}

fn references(rows: &[(String, EventRow)]) -> Option<String> {
    let mut ids = Vec::new();
    for (_, row) in rows.iter().rev().filter(|(kind, _)| kind == "m.reference").take(REFERENCES) {
        let mut id = String::from("{\"event_id\":");
        push_json_string(&mut id, row.event_id());
        id.push('}');
        ids.push(id);
    }
    (!ids.is_empty()).then(|| format!("\"m.reference\":{{\"chunk\":[{}]}}", ids.join(",")))
}
