//! What the ways to ask for a delayed event have in common.

use std::time::Duration;

use http::StatusCode;
use http_kit::{ClientAuth, Group, MatrixError, RawJson, Requester, Ruma};
use ruma::{CanonicalJsonObject, RoomId, api::IncomingRequest, events::TimelineEventType};
use serde_json::{json, value::RawValue};
use users::{
    UsersError,
    delayed::{DelayedService, DelayedTxn, NewDelayed},
};

use crate::{ApiError, App};

/// The query field of `/send` and `/state` that asks for a delay, in milliseconds.
const DELAY: &str = "org.matrix.msc4140.delay";
/// Letters of an id: more than anybody guesses.
const ID_LENGTH: usize = 32;
/// The largest content, in bytes; no event is larger.
const MAX_CONTENT: usize = 65_536;
/// The longest type and state key, in bytes.
const MAX_NAME: usize = 255;

/// A delayed event that is asked for.
pub(crate) struct Later<'a> {
    pub(crate) room_id: &'a RoomId,
    pub(crate) event_type: String,
    pub(crate) state_key: Option<String>,
    pub(crate) content: &'a RawValue,
    pub(crate) delay_ms: u64,
    /// The time that it is to claim.
    pub(crate) ts: Option<u64>,
    /// The request's path, where that has a transaction id.
    pub(crate) path: Option<&'a str>,
    /// The code of the refusal of a delay that is too long.
    pub(crate) too_long: &'static str,
}

/// The delay that a request to `/send` or `/state` asks for.
///
/// # Errors
/// 400 `M_INVALID_PARAM` where it is no number.
pub(crate) fn delay_of<T>(request: &Ruma<T>) -> Result<Option<u64>, MatrixError>
where
    T: IncomingRequest,
    T::Authentication: ClientAuth,
{
    let parse =
        |text: &str| text.parse().map_err(|_| MatrixError::invalid_param(DELAY, "not a number of milliseconds"));
    request.query(DELAY).as_deref().map(parse).transpose()
}

impl App {
    /// Keeps an event until its time comes, and answers its id.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM`, `M_BAD_JSON`, and the code for a delay that is too long; 413 `M_TOO_LARGE`; 403 `M_FORBIDDEN` for rooms that are not known;
    /// 429 `M_LIMIT_EXCEEDED`.
    pub(crate) async fn send_later(&self, requester: &Requester, later: Later<'_>) -> Result<RawJson, ApiError> {
        let scope = requester.transaction_scope().to_owned();
        let txn = later.path.map(|path| DelayedTxn { scope, path: path.to_owned() });
        let made = match &txn {
            Some(txn) => self.users.delayed.made_by(requester.user, txn).await?,
            None => None,
        };
        let id = match made {
            Some(id) => id,
            None => self.schedule(requester, later, txn).await?,
        };
        Ok(RawJson(json!({"delay_id": id}).to_string().into()))
    }

    async fn schedule(
        &self,
        requester: &Requester,
        later: Later<'_>,
        txn: Option<DelayedTxn>,
    ) -> Result<String, ApiError> {
        requester.not_suspended()?;
        self.limits.check(Group::Messages, requester)?;
        self.check_later(&later)?;
        self.known_room(later.room_id).await?;
        let service = requester.appservice.as_ref();
        let new = NewDelayed {
            user: requester.user,
            user_id: requester.user_id.clone(),
            room_id: later.room_id.to_owned(),
            event_type: later.event_type,
            state_key: later.state_key,
            content: later.content.to_owned(),
            delay_ms: later.delay_ms,
            origin_server_ts: later.ts.filter(|_| service.is_some()),
            service: service
                .map(|service| DelayedService { id: service.id.to_string(), rate_limited: service.rate_limited }),
            txn,
        };
        let id = self.random_string(ID_LENGTH);
        match self.users.delayed.schedule(id, new, self.config.delayed_events.max_per_user).await {
            Err(UsersError::TooManyDelayed { next_ts }) => {
                let until = Duration::from_millis(next_ts.saturating_sub(self.engine.now()));
                let error = "As many events as may wait are waiting";
                Err(MatrixError { error: error.into(), ..MatrixError::limit_exceeded(until) }.into())
            }
            other => Ok(other?),
        }
    }

    fn check_later(&self, later: &Later<'_>) -> Result<(), ApiError> {
        let max_delay = self.config.delayed_events.max_delay_ms();
        if later.delay_ms == 0 {
            return Err(MatrixError::invalid_param("delay", "there has to be one").into());
        }
        if later.delay_ms > max_delay {
            let why = "The requested delay exceeds the allowed maximum";
            let error = MatrixError::new(StatusCode::BAD_REQUEST, later.too_long, why);
            let error = error.with("org.matrix.msc4140.errcode", "M_MAX_DELAY_EXCEEDED");
            return Err(error.with("org.matrix.msc4140.max_delay", max_delay).into());
        }
        let content = later.content.get();
        if content.len() > MAX_CONTENT {
            return Err(MatrixError::too_large("The content is larger than any event").into());
        }
        if later.event_type.len() > MAX_NAME || later.state_key.as_ref().is_some_and(|key| key.len() > MAX_NAME) {
            return Err(MatrixError::too_large("The type or the state key is longer than 255 bytes").into());
        }
        serde_json::from_str::<CanonicalJsonObject>(content)
            .map_err(|error| MatrixError::bad_json(format!("content: {error}")))?;
        let event_type = TimelineEventType::from(later.event_type.as_str());
        let invited = later.state_key.as_ref().and_then(|key| self.invited_elsewhere(&event_type, key, content));
        if invited.is_some() {
            // Their server has to sign it when it is sent, and may take its time.
            return Err(MatrixError::unknown("Users of other servers cannot be invited later").into());
        }
        Ok(())
    }
}
