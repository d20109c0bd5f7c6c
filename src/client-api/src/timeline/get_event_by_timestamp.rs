//! `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`

use axum::extract::State;
use engine::Direction;
use futures::FutureExt as _;
use http_kit::{MatrixError, Ruma};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, UInt,
    api::client::room::get_event_by_timestamp::v1::{Request, Response},
};

use crate::{ApiError, App, access::Reader};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let reader = app.reader(&body.room_id, &requester).await?;
    let direction = match body.dir {
        ruma::api::Direction::Forward => Direction::Forward,
        ruma::api::Direction::Backward => Direction::Backward,
    };
    let ts = u64::from(body.ts.0);
    let here = app.event_here(&reader, ts, direction).await?;
    let there = match reader.until {
        // Those who left see nothing that came since, and what was before is here as far as it will ever be.
        Some(_) => None,
        None if app.engine.has_beginning(&reader.room).await? => None,
        None => app.remotes.timestamp_to_event(&reader.room, ts, direction).await.ok(),
    };
    let closest = match direction {
        Direction::Forward => there.into_iter().chain(here).min_by_key(|(_, at)| *at),
        // Of several the last one counts: ours.
        Direction::Backward => there.into_iter().chain(here).max_by_key(|(_, at)| *at),
    };
    let (event_id, at) =
        closest.ok_or_else(|| MatrixError::not_found("No event was sent then or in that direction"))?;
    Ok(Response::new(event_id, MilliSecondsSinceUnixEpoch(UInt::new_saturating(at))))
}

impl App {
    /// The closest event that is here and that the reader may see.
    async fn event_here(
        &self,
        reader: &Reader<'_>,
        ts: u64,
        direction: Direction,
    ) -> Result<Option<(OwnedEventId, u64)>, ApiError> {
        let may_see = |row| async move { self.engine.can_see(reader.room.num, &reader.viewer, &row).await }.boxed();
        let found = self.engine.event_near(&reader.room, ts, direction, &may_see).await?;
        let Some((_, row)) = found else { return Ok(None) };
        let event_id = OwnedEventId::try_from(row.event_id()).map_err(MatrixError::internal)?;
        Ok(Some((event_id, row.origin_server_ts())))
    }
}
