//! History that is not here: other servers are asked for it when somebody reads back that far.

use std::{future::Future, pin::Pin, sync::Arc};

use engine::{Direction, HistoryPoint, Room};

use super::pages::{EventPage, Stretch};
use crate::{ApiError, App, access::Reader, filter::RowFilter};

/// Times that other servers are asked for one page, at most.
const ATTEMPTS: usize = 3;

/// Fetches history that is missing here.
pub trait OlderHistory: Send + Sync {
    /// Fetches what is missing between two points of a room's history, about `limit` events. Says whether anything came; where nothing is
    /// missing, at once. Failures are logged and bring nothing.
    fn fetch<'a>(
        &'a self,
        room: &'a Arc<Room>,
        between: (HistoryPoint, HistoryPoint),
        limit: usize,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
}

impl App {
    /// As [`App::event_page`]; where a page that goes back meets a gap, it is read again once other servers have filled it.
    pub(super) async fn whole_page(
        &self,
        reader: &Reader<'_>,
        stretch: Stretch,
        filter: &RowFilter,
    ) -> Result<EventPage, ApiError> {
        let mut page = self.event_page(reader, stretch, filter).await?;
        let Some(older) = self.older.get().filter(|_| stretch.direction == Direction::Backward) else {
            return Ok(page);
        };
        for _ in 0..ATTEMPTS {
            let low = page.next.or(stretch.to).unwrap_or(HistoryPoint::START);
            // A gap is where the event stands that follows it, which may be the last one of the page before.
            let high = HistoryPoint { arrival: stretch.from.arrival.saturating_add(1), ..stretch.from };
            if !older.fetch(&reader.room, (low, high.min(reader.end())), stretch.limit).await {
                break;
            }
            page = self.event_page(reader, stretch, filter).await?;
        }
        Ok(page)
    }
}
