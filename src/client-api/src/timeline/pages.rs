//! Pages of a room's history, as one user sees it.

use std::collections::HashSet;

use engine::{Direction, EventNum, EventRow, HistoryPoint, Rendering, RoomNum, splice::Format};
use http_kit::Requester;
use ruma::{OwnedUserId, UInt, api::client::filter::LazyLoadOptions};
use store::Pos;

use crate::{
    ApiError, App,
    access::Reader,
    filter::{RowFilter, is_ignored},
    page::{PageToken, decode_page},
};

/// Events of a page, at most.
const MAX_LIMIT: usize = 1000;
/// Bytes of a page, about; the event that exceeds them is its last.
const MAX_BYTES: usize = 4 << 20;
/// Events looked at to fill a page, at most.
const LOOKED_AT: usize = 5000;

/// Behind all positions.
pub(super) const EVER: Pos = Pos::MAX;

/// A stretch of history to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) from: HistoryPoint,
    /// Of what came in by the stream only what was here at this position; [`EVER`] for all.
    pub(super) seen: Pos,
    pub(super) to: Option<HistoryPoint>,
    pub(super) direction: Direction,
    pub(super) limit: usize,
}

/// What was read.
pub(super) struct EventPage {
    pub(super) events: Vec<(EventNum, EventRow)>,
    /// Where the next page starts; none where there is nothing more.
    pub(super) next: Option<HistoryPoint>,
}

/// A client's limit as a number of events.
pub(super) fn limit_of(limit: UInt) -> usize {
    usize::try_from(limit).unwrap_or(MAX_LIMIT).clamp(1, MAX_LIMIT)
}

pub(super) fn is_lazy(options: &LazyLoadOptions) -> bool {
    matches!(options, LazyLoadOptions::Enabled { .. })
}

/// As this API shows events to a device; `bundle`: see [`Rendering::bundle`].
pub(crate) fn rendering<'a>(requester: &'a Requester, bundle: Option<&'a HashSet<OwnedUserId>>) -> Rendering<'a> {
    let device = requester.device_id.as_deref().map(ruma::DeviceId::as_str);
    Rendering { format: Format::WithRoomId, device, bundle }
}

impl App {
    /// The point that a token of a request stands for.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` that names `field`.
    pub(super) async fn point(
        &self,
        room: RoomNum,
        token: Option<&str>,
        field: &str,
    ) -> Result<Option<HistoryPoint>, ApiError> {
        // Some clients send an empty token for none.
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        Ok(Some(match decode_page(token, field)? {
            PageToken::Stream(pos) | PageToken::Before(pos, _) => self.engine.point_at(room, pos).await?,
            PageToken::History(point, _) => point,
        }))
    }

    /// Where a page begins that goes back from a token: a point, and up to which position what is before it had to be here. Without
    /// a token that is the end of what the reader may see.
    ///
    /// # Errors
    /// As [`App::point`].
    pub(super) async fn back_from(
        &self,
        reader: &Reader<'_>,
        token: Option<&str>,
        field: &str,
    ) -> Result<(HistoryPoint, Pos), ApiError> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok((reader.end(), EVER)) };
        Ok(match decode_page(token, field)? {
            PageToken::Stream(pos) => (self.engine.deepest_at(&reader.room, pos).await?, pos),
            PageToken::Before(pos, deepest) => (HistoryPoint::below(deepest), pos),
            PageToken::History(point, seen) => (point, seen.unwrap_or(EVER)),
        })
    }

    /// Reads a page of what the filter, the user's list of ignored users and the room's history visibility let through.
    pub(super) async fn event_page(
        &self,
        reader: &Reader<'_>,
        stretch: Stretch,
        filter: &RowFilter,
    ) -> Result<EventPage, ApiError> {
        let Stretch { mut from, seen, mut to, direction, limit } = stretch;
        match direction {
            Direction::Backward => from = from.min(reader.end()),
            Direction::Forward => to = Some(to.map_or(reader.end(), |to| to.min(reader.end()))),
        }
        let room = reader.room.num;
        let (mut events, mut looked, mut bytes) = (Vec::new(), 0, 0);
        if !filter.room(&reader.room.id) {
            return Ok(EventPage { events, next: None });
        }
        loop {
            let size = (limit - events.len() + 1).clamp(10, 500);
            let page = self.engine.history(room, from, to, size, direction).await?;
            let full = page.len() == size;
            looked += page.len();
            let nums: Vec<EventNum> = page.iter().map(|(_, num)| *num).collect();
            for (num, row) in self.engine.events(room, &nums).await? {
                if row.pos() > self.engine.frontier()
                    || (row.pos() > seen && !row.is_history())
                    || !filter.row(&row)
                    || is_ignored(&reader.ignored, &row)
                    || !self.engine.can_see(room, &reader.viewer, &row).await?
                {
                    continue;
                }
                if events.len() == limit || bytes > MAX_BYTES {
                    let next = events.last().map(|(_, row)| beyond(row, direction));
                    return Ok(EventPage { events, next });
                }
                bytes += row.size();
                events.push((num, row));
            }
            let Some((last, _)) = page.last().filter(|_| full) else { return Ok(EventPage { events, next: None }) };
            from = match direction {
                Direction::Backward => *last,
                Direction::Forward => HistoryPoint { arrival: last.arrival.saturating_add(1), ..*last },
            };
            if looked >= LOOKED_AT {
                return Ok(EventPage { events, next: Some(from) });
            }
        }
    }

    /// The membership events of those who sent some events, as they were then.
    /// [Lazy-loading room members](https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members).
    pub(crate) async fn members_of_senders(
        &self,
        reader: &Reader<'_>,
        events: &[(EventNum, EventRow)],
    ) -> Result<Vec<(EventNum, EventRow)>, ApiError> {
        let room = reader.room.num;
        let mut nums: Vec<EventNum> = Vec::new();
        let mut senders: Vec<&str> = Vec::new();
        for (_, row) in events {
            if senders.contains(&row.sender()) {
                continue;
            }
            senders.push(row.sender());
            nums.extend(self.engine.state_at(room, row.state_before(), "m.room.member", row.sender()).await?);
        }
        Ok(self.engine.events(room, &nums).await?)
    }
}

/// The point behind an event, in the direction of reading.
pub(super) fn beyond(row: &EventRow, direction: Direction) -> HistoryPoint {
    match direction {
        Direction::Backward => HistoryPoint::before(row),
        Direction::Forward => HistoryPoint::after(row),
    }
}
