//! `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`

use axum::extract::State;
use engine::{Direction, EventNum, EventRow, HistoryPoint};
use http_kit::{RawJson, Ruma};
use ruma::api::client::{context::get_context::v3::Request, filter::RoomEventFilter};

use super::pages::{EVER, EventPage, Stretch, is_lazy, rendering};
use crate::{ApiError, App, access::Reader, filter::RowFilter, page::encode_point};

/// Events around the event, at most.
const MAX_LIMIT: usize = 1000;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let reader = app.reader(&body.room_id, &requester).await.map_err(ApiError::hidden)?;
    let event = app.engine.visible_event(&reader.room, &reader.viewer, body.event_id.as_str()).await?;
    let filter = RowFilter::new(&body.filter);
    let limit = usize::try_from(body.limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
    let (start, end) = (HistoryPoint::before(&event.1), HistoryPoint::after(&event.1));
    let before = app.around(&reader, &filter, start, Direction::Backward, limit / 2).await?;
    let after = app.around(&reader, &filter, end, Direction::Forward, limit - limit / 2).await?;
    let state = app.context_state(&reader, &event, &before, &after, &body.filter).await?;

    let start = before.last().map_or(start, |(_, row)| HistoryPoint::before(row));
    let end = after.last().map_or(end, |(_, row)| HistoryPoint::after(row));
    let mut out = format!("{{\"start\":\"{}\",\"end\":\"{}\"", encode_point(start), encode_point(end));
    let (room, viewer) = (&reader.room, &reader.viewer);
    let ignored = Some(&*reader.ignored);
    let lists = [("events_before", &before, ignored), ("events_after", &after, ignored), ("state", &state, None)];
    for (name, events, bundle) in lists {
        out.push_str(&format!(",\"{name}\":["));
        app.engine.render(&mut out, room, viewer, events, rendering(&requester, bundle)).await?;
        out.push(']');
    }
    out.push_str(",\"event\":");
    app.engine.render(&mut out, room, viewer, &[event], rendering(&requester, ignored)).await?;
    out.push('}');
    Ok(RawJson(out.into()))
}

impl App {
    /// Events of the room's history from a point on, as a reader sees them.
    pub(crate) async fn around(
        &self,
        reader: &Reader<'_>,
        filter: &RowFilter,
        from: HistoryPoint,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(EventNum, EventRow)>, ApiError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let EventPage { events, .. } =
            self.event_page(reader, Stretch { from, seen: EVER, to: None, direction, limit }, filter).await?;
        Ok(events)
    }

    /// The state at the last of the events; with lazy loading, of members only those who sent one of the events.
    async fn context_state(
        &self,
        reader: &Reader<'_>,
        event: &(EventNum, EventRow),
        before: &[(EventNum, EventRow)],
        after: &[(EventNum, EventRow)],
        filter: &RoomEventFilter,
    ) -> Result<Vec<(EventNum, EventRow)>, ApiError> {
        let room = reader.room.num;
        let (num, row) = after.last().unwrap_or(event);
        let lazy = is_lazy(&filter.lazy_load_options);
        let speaks = |user_id: &str| {
            before.iter().chain(after).chain(std::iter::once(event)).any(|(_, row)| row.sender() == user_id)
        };
        let entries = self.engine.entries_after(room, *num, row).await?;
        let nums: Vec<EventNum> = entries
            .into_iter()
            .filter(|(kind, key, _)| !lazy || kind != "m.room.member" || speaks(key))
            .map(|(.., num)| num)
            .collect();
        let filter = RowFilter::new(filter);
        let mut state = self.engine.events(room, &nums).await?;
        state.retain(|(_, row)| filter.row(row));
        Ok(state)
    }
}
