//! Threads that a user follows.
//! [MSC4306](https://github.com/matrix-org/matrix-spec-proposals/pull/4306) and, for how changes are told,
//! [MSC4308](https://github.com/matrix-org/matrix-spec-proposals/pull/4308), under their unstable names.

mod changes;
mod get;
mod subscribe;
mod unsubscribe;

use axum::Router;
use engine::RoomNum;
use http_kit::{Requester, RumaRouter};
use ruma::{EventId, RoomId};

pub(crate) use self::changes::{MAX_CHANGES, token};
use crate::{ApiError, App, access::Reader};

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(subscribe::handler).ruma(unsubscribe::handler).ruma(get::handler).ruma(changes::handler)
}

impl App {
    /// The room of an event that the requester may see: any may be the beginning of a thread.
    ///
    /// # Errors
    /// 404 `M_NOT_FOUND`.
    async fn room_of_thread<'a>(
        &self,
        (room_id, root): (&RoomId, &EventId),
        requester: &'a Requester,
    ) -> Result<(RoomNum, Reader<'a>), ApiError> {
        let reader = self.reader(room_id, requester).await.map_err(ApiError::hidden)?;
        self.engine.visible_event(&reader.room, &reader.viewer, root.as_str()).await?;
        Ok((reader.room.num, reader))
    }
}
