//! `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`, alone, with a relation type, and with an event type besides.
//!
//! With `recurse` relations are followed over [`engine::RELATION_DEPTH`] steps.

use axum::extract::State;
use engine::{Direction, EventNum, HistoryPoint, RELATION_DEPTH, RelationFilter};
use http_kit::{RawJson, Requester, Ruma};
use ruma::{
    EventId, RoomId, UInt,
    api::client::relations::{
        get_relating_events, get_relating_events_with_rel_type, get_relating_events_with_rel_type_and_event_type,
    },
};

use super::pages::{limit_of, rendering};
use crate::{ApiError, App, access::Reader, filter::is_ignored, page::encode_point};

/// Events of a page, where the client names no limit.
const DEFAULT_LIMIT: u32 = 50;

/// What the three paths have in common.
struct Query<'a> {
    room_id: &'a RoomId,
    event_id: &'a EventId,
    filter: RelationFilter<'a>,
    from: Option<&'a str>,
    to: Option<&'a str>,
    limit: Option<UInt>,
    dir: ruma::api::Direction,
    recurse: bool,
}

macro_rules! query {
    ($body:ident, $filter:expr) => {
        Query {
            room_id: &$body.room_id,
            event_id: &$body.event_id,
            filter: $filter,
            from: $body.from.as_deref(),
            to: $body.to.as_deref(),
            limit: $body.limit,
            dir: $body.dir,
            recurse: $body.recurse,
        }
    };
}

pub(super) async fn all(
    State(app): State<App>,
    request: Ruma<get_relating_events::v1::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.relations(&requester, query!(body, RelationFilter::default())).await
}

pub(super) async fn of_type(
    State(app): State<App>,
    request: Ruma<get_relating_events_with_rel_type::v1::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let kind = body.rel_type.to_string();
    app.relations(&requester, query!(body, RelationFilter { kind: Some(&kind), event_type: None })).await
}

pub(super) async fn of_type_and_event_type(
    State(app): State<App>,
    request: Ruma<get_relating_events_with_rel_type_and_event_type::v1::Request>,
) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let (kind, event_type) = (body.rel_type.to_string(), body.event_type.to_string());
    let filter = RelationFilter { kind: Some(&kind), event_type: Some(&event_type) };
    app.relations(&requester, query!(body, filter)).await
}

impl App {
    async fn relations(&self, requester: &Requester, query: Query<'_>) -> Result<RawJson, ApiError> {
        let reader = self.reader(query.room_id, requester).await.map_err(ApiError::hidden)?;
        let room = reader.room.num;
        self.engine.visible_event(&reader.room, &reader.viewer, query.event_id.as_str()).await?;
        let from = self.point(room, query.from, "from").await?;
        let to = self.point(room, query.to, "to").await?;
        let (nums, next) = self.relation_page(&reader, &query, from, to).await?;
        let mut events = self.engine.visible_events(&reader.room, &reader.viewer, &nums).await?;
        // What was redacted relates to nothing any more.
        events.retain(|(_, row)| {
            !row.is_redacted() && row.pos() <= self.engine.frontier() && !is_ignored(&reader.ignored, row)
        });

        let mut out = String::from("{\"chunk\":[");
        self.engine
            .render(&mut out, &reader.room, &reader.viewer, &events, rendering(requester, Some(&reader.ignored)))
            .await?;
        out.push(']');
        for (name, point) in [("next_batch", next), ("prev_batch", from)] {
            if let Some(point) = point {
                out.push_str(&format!(",\"{name}\":\"{}\"", encode_point(point)));
            }
        }
        if query.recurse {
            out.push_str(&format!(",\"recursion_depth\":{RELATION_DEPTH}"));
        }
        out.push('}');
        Ok(RawJson(out.into()))
    }

    async fn relation_page(
        &self,
        reader: &Reader<'_>,
        query: &Query<'_>,
        from: Option<HistoryPoint>,
        to: Option<HistoryPoint>,
    ) -> Result<(Vec<EventNum>, Option<HistoryPoint>), ApiError> {
        let (room, target) = (reader.room.num, query.event_id.as_str());
        let limit = limit_of(query.limit.unwrap_or(DEFAULT_LIMIT.into()));
        let direction = match query.dir {
            ruma::api::Direction::Backward => Direction::Backward,
            ruma::api::Direction::Forward => Direction::Forward,
        };
        if !query.recurse {
            return Ok(self.engine.relations(room, target, query.filter, (from, to), limit, direction).await?);
        }
        let mut found = self.engine.descendants(room, target, query.filter).await?;
        let (low, high) = match direction {
            Direction::Backward => (to, from),
            Direction::Forward => (from, to),
        };
        found.retain(|(point, _)| low.is_none_or(|low| *point >= low) && high.is_none_or(|high| *point < high));
        if direction == Direction::Backward {
            found.reverse();
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(point, _)| match direction {
            Direction::Backward => *point,
            Direction::Forward => HistoryPoint { arrival: point.arrival.saturating_add(1), ..*point },
        });
        Ok((found.into_iter().map(|(_, num)| num).collect(), next))
    }
}
