//! `GET /_matrix/client/v1/rooms/{roomId}/threads`

use axum::extract::State;
use engine::{EngineError, EventNum, EventRow, HistoryPoint};
use http_kit::{RawJson, Ruma};
use ruma::api::client::threads::get_threads::v1::{IncludeThreads, Request};

use super::pages::{limit_of, rendering};
use crate::{ApiError, App, access::Reader, page::encode_point};

/// Threads of a page, where the client names no limit, and at most.
const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: usize = 100;
/// Threads looked at to fill a page, at most.
const LOOKED_AT: usize = 1000;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let reader = app.reader(&body.room_id, &requester).await?;
    let from = app.point(reader.room.num, body.from.as_deref(), "from").await?.unwrap_or(HistoryPoint::END);
    let limit = limit_of(body.limit.unwrap_or(DEFAULT_LIMIT.into())).min(MAX_LIMIT);
    let only_own = body.include == IncludeThreads::Participated;
    let (roots, next) = app.thread_page(&reader, from, limit, only_own).await?;

    let mut out = String::from("{\"chunk\":[");
    app.engine
        .render(&mut out, &reader.room, &reader.viewer, &roots, rendering(&requester, Some(&reader.ignored)))
        .await?;
    out.push(']');
    if let Some(next) = next {
        out.push_str(&format!(",\"next_batch\":\"{}\"", encode_point(next)));
    }
    out.push('}');
    Ok(RawJson(out.into()))
}

impl App {
    async fn thread_page(
        &self,
        reader: &Reader<'_>,
        mut from: HistoryPoint,
        limit: usize,
        only_own: bool,
    ) -> Result<(Vec<(EventNum, EventRow)>, Option<HistoryPoint>), ApiError> {
        let (mut roots, mut looked) = (Vec::new(), 0);
        let mut last = from;
        loop {
            let page = self.engine.threads(reader.room.num, from, limit + 1).await?;
            let full = page.len() == limit + 1;
            for (point, root) in page {
                looked += 1;
                from = point;
                let replied = self.engine.replied_in(&reader.room, &reader.viewer, &root, &reader.ignored).await?;
                let wanted = if only_own { replied == Some(true) || self.started(reader, &root).await? } else { true };
                if replied.is_none() || !wanted {
                    continue;
                }
                match self.engine.visible_event(&reader.room, &reader.viewer, &root).await {
                    Ok(_) if roots.len() == limit => return Ok((roots, Some(last))),
                    Ok(event) => {
                        roots.push(event);
                        last = point;
                    }
                    Err(EngineError::UnknownEvent) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if !full || looked >= LOOKED_AT {
                return Ok((roots, Some(from).filter(|_| full)));
            }
        }
    }

    /// Whoever sent the root takes part in its thread.
    async fn started(&self, reader: &Reader<'_>, root: &str) -> Result<bool, ApiError> {
        match self.engine.visible_event(&reader.room, &reader.viewer, root).await {
            Ok((_, row)) => Ok(row.sender_num() == reader.viewer.num),
            Err(EngineError::UnknownEvent) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
