//! A page of what was found, each looked at again: the index knows only roughly who may see what.

use std::collections::{HashMap, hash_map::Entry};

use engine::{EventNum, EventRow, RoomNum};
use http::StatusCode;
use http_kit::Requester;
use search::{Hit, Place, Query, Search, SearchError};

use crate::{
    ApiError, App,
    access::Reader,
    filter::{RowFilter, is_ignored},
};

/// Events looked at for a page, at most; it ends early then.
const LOOKED_AT: usize = 2000;
/// The least number that the index is asked for in one go.
const AT_LEAST: usize = 20;

/// An event that is shown.
pub(super) struct Shown {
    pub(super) hit: Hit,
    pub(super) event: (EventNum, EventRow),
}

/// A page of results.
#[derive(Default)]
pub(super) struct Page<'a> {
    pub(super) shown: Vec<Shown>,
    /// The rooms of what is shown, and some others.
    pub(super) readers: HashMap<RoomNum, Option<Reader<'a>>>,
    pub(super) count: u64,
    /// Where the next page begins; none where there is nothing more.
    pub(super) next: Option<Place>,
}

impl App {
    /// The first `query.limit` results that pass a filter and that the requester may see.
    pub(super) async fn page_of_results<'a>(
        &self,
        search: &std::sync::Arc<Search>,
        mut query: Query,
        filter: &RowFilter,
        requester: &'a Requester,
    ) -> Result<Page<'a>, ApiError> {
        let limit = query.limit;
        query.limit = limit.saturating_mul(2).max(AT_LEAST);
        let ignored = self.users.account_data.ignored(requester.user).await?;
        let (mut page, mut looked) = (Page::default(), 0);
        loop {
            let found = search.find(query.clone()).await?;
            page.count = found.count;
            let full = found.hits.len() == query.limit;
            for hit in found.hits {
                looked += 1;
                query.after = Some(hit.place);
                let Some(reader) = self.reader_of(&mut page.readers, hit.room, requester).await? else { continue };
                let Ok(row) = self.engine.event(hit.room, hit.num).await else { continue };
                if row.pos() > self.engine.frontier()
                    || row.is_redacted()
                    || !filter.row(&row)
                    || is_ignored(&ignored, &row)
                    || !self.engine.can_see(hit.room, &reader.viewer, &row).await?
                {
                    continue;
                }
                page.shown.push(Shown { hit, event: (hit.num, row) });
                if page.shown.len() == limit {
                    page.next = query.after;
                    return Ok(page);
                }
            }
            if !full {
                return Ok(page);
            }
            if looked >= LOOKED_AT {
                page.next = query.after;
                return Ok(page);
            }
        }
    }

    /// The requester as a reader of a room; none where it is not for them any more.
    async fn reader_of<'a, 'b>(
        &self,
        readers: &'b mut HashMap<RoomNum, Option<Reader<'a>>>,
        num: RoomNum,
        requester: &'a Requester,
    ) -> Result<Option<&'b Reader<'a>>, ApiError> {
        let place = match readers.entry(num) {
            Entry::Occupied(known) => return Ok(known.into_mut().as_ref()),
            Entry::Vacant(place) => place,
        };
        let room = self.engine.room_by_num(num).await?;
        let reader = match self.reader(&room.id, requester).await {
            Ok(reader) => Some(reader),
            Err(ApiError(error)) if error.status == StatusCode::FORBIDDEN => None,
            Err(error) => return Err(error),
        };
        Ok(place.insert(reader).as_ref())
    }
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        Self(http_kit::MatrixError::internal(error))
    }
}
