//! Older history for the Client-Server API, by way of federation.

use std::{future::Future, pin::Pin, sync::Arc};

use client_api::OlderHistory;
use engine::{HistoryPoint, Room};
use federation::Federation;

/// Asks the servers that take part in a room.
pub struct FromOthers(pub Arc<Federation>);

impl OlderHistory for FromOthers {
    fn fetch<'a>(
        &'a self,
        room: &'a Arc<Room>,
        between: (HistoryPoint, HistoryPoint),
        limit: usize,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            match self.0.backfill(room, between, limit).await {
                Ok(taken) => taken > 0,
                Err(error) => {
                    tracing::warn!(room = %room.id, %error, "older history could not be fetched");
                    false
                }
            }
        })
    }
}
