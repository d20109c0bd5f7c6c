use std::{borrow::Cow, time::Duration};

use axum::extract::State;
use bytes::Bytes;
use engine::UserNum;
use http_kit::{RawJson, Requester, Ruma};
use ruma::api::client::{
    filter::FilterDefinition,
    sync::sync_events::v3::{Filter, Request},
};
use tokio::time::Instant;

use super::assemble::{Query, Window};
use crate::{ApiError, App, filter::Relations, page::SyncToken};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let inline = request.query("filter").map(Cow::into_owned);
    let Ruma { body, requester, .. } = request;
    let since = body.since.as_deref().filter(|since| !since.is_empty()).map(SyncToken::decode).transpose()?;
    let (filter, relations) = app.filter_of(&requester, body.filter, inline.as_deref().unwrap_or_default()).await?;
    if app.config.presence && app.users.presence.syncing(requester.user, body.set_presence.clone()) {
        app.wake_sharers(requester.user).await?;
    }
    app.confirm_messages(&requester, since).await?;
    let longest = Duration::from_secs(app.config.max_sync_timeout_seconds);
    let timeout = body.timeout.unwrap_or_default().min(longest);
    let query = Query { filter, relations, full_state: body.full_state, state_after: body.use_state_after };
    let json = app.long_poll(&requester, since, &query, timeout).await?;
    Ok(RawJson(Bytes::from(json)))
}

/// How long a long poll gathers: one that is woken earlier than this after it began waits until then, so that in a burst of
/// events a client gets a few responses with several of them instead of one for each. Who waits for longer is answered at once.
const GATHER: Duration = Duration::from_millis(8);

/// Waits until a long poll that was woken has gathered for as long as it should.
pub(super) async fn gather(began: Instant, deadline: Instant) {
    if began.elapsed() < GATHER {
        tokio::time::sleep_until(deadline.min(began + GATHER)).await;
    }
}

impl App {
    /// The filter, which stands `inline` in the request or was uploaded, and what it says of relations.
    async fn filter_of(
        &self,
        requester: &Requester,
        filter: Option<Filter>,
        inline: &str,
    ) -> Result<(FilterDefinition, Relations), ApiError> {
        let id = match filter {
            None => return Ok(Default::default()),
            Some(Filter::FilterDefinition(filter)) => return Ok((filter, Relations::of_timelines(inline)?)),
            Some(Filter::FilterId(id)) => id,
            Some(_) => return Err(http_kit::MatrixError::invalid_param("filter", "neither a filter nor an id").into()),
        };
        // A filter in JSON that does not parse reaches us as an id.
        if id.starts_with('{') {
            return Err(http_kit::MatrixError::invalid_param("filter", "not a valid filter").into());
        }
        let json = match self.users.filters.get(requester.user, &id).await {
            Err(users::UsersError::FilterNotFound) => {
                return Err(http_kit::MatrixError::invalid_param("filter", "no filter has this id").into());
            }
            other => other?,
        };
        let filter = serde_json::from_str(&json)
            .map_err(|_| http_kit::MatrixError::invalid_param("filter", "not a valid filter"))?;
        Ok((filter, Relations::of_timelines(&json)?))
    }

    async fn long_poll(
        &self,
        requester: &Requester,
        since: Option<SyncToken>,
        query: &Query,
        timeout: Duration,
    ) -> Result<String, ApiError> {
        // Registered before the first look, so that nothing that happens in between is missed.
        let waiter = self.engine.db.notifier().register(requester.user);
        let began = Instant::now();
        let deadline = began + timeout;
        loop {
            // On the heap: what a look takes is not to be held while the poll waits, which is nearly always.
            let (json, news, expiry) = Box::pin(async {
                let window = Window::open(self, requester.user, since).await?;
                let (json, news) = self.assemble(requester, &window, query).await?;
                let expiry = self.engine.typing.next_expiry(window.rooms.keys().copied());
                Ok::<_, ApiError>((json, news, expiry))
            })
            .await?;
            let now = Instant::now();
            if news || since.is_none() || query.full_state || now >= deadline || self.is_closing() {
                return Ok(json);
            }
            drop(json);
            let wake_at = expiry.map_or(deadline, |expiry| deadline.min(now + Duration::from_millis(expiry)));
            // Either way we look again: a wake-up may be for another device's account data only.
            let _ = tokio::time::timeout_at(wake_at, waiter.woken()).await;
            gather(began, deadline).await;
        }
    }

    /// Wakes those who share a room with the user: they see the user's presence.
    pub(crate) async fn wake_sharers(&self, user: UserNum) -> Result<(), ApiError> {
        let rooms = self.engine.user_rooms().of(user).await?;
        for (num, place) in rooms.iter() {
            if place.membership == engine::Membership::Join {
                self.wake_room(&*self.engine.room_by_num(*num).await?);
            }
        }
        Ok(())
    }
}
