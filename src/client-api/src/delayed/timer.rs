//! Sends delayed events when they are due.

use std::{collections::HashMap, future::Future, pin::pin, time::Duration};

use futures::{StreamExt as _, stream};
use http::StatusCode;
use users::{UsersError, delayed::Outcome};

use crate::{ApiError, App};

/// Read in one go.
const PAGE: usize = 256;
/// Users whose events are sent at the same time. Those of one user go one after the other.
const AT_ONCE: usize = 16;
/// How long one waits that could not be sent for a reason of the server's, or because its user sends too much, in milliseconds.
const RETRY_MS: u64 = 10_000;
/// The longest sleep: what time it is can change meanwhile.
const LONGEST: Duration = Duration::from_secs(60);

impl App {
    /// Sends delayed events when they are due, those that became it while the server was down first, until `stopped`.
    pub async fn send_delayed(self, stopped: impl Future<Output = ()> + Send) {
        let mut stopped = pin!(stopped);
        loop {
            let wait = match self.send_due().await {
                Ok(Some(due)) => Duration::from_millis(due.saturating_sub(self.engine.now())).min(LONGEST),
                Ok(None) => LONGEST,
                Err(error) => {
                    tracing::warn!(error = %error.0.error, "delayed events could not be looked at");
                    Duration::from_millis(RETRY_MS)
                }
            };
            tokio::select! {
                () = &mut stopped => return,
                () = self.users.delayed.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Sends what is due, and says when the next event is, in Unix milliseconds.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn send_due(&self) -> Result<Option<u64>, ApiError> {
        loop {
            let now = self.engine.now();
            let due = self.users.delayed.due(now, PAGE).await?;
            if due.is_empty() {
                return Ok(self.users.delayed.next_due().await?);
            }
            let mut by_user: HashMap<u64, Vec<String>> = HashMap::new();
            for (user, id) in due {
                by_user.entry(user).or_default().push(id);
            }
            let results = stream::iter(by_user.into_values())
                .map(|ids| self.send_in_order(ids, now))
                .buffer_unordered(AT_ONCE)
                .collect::<Vec<_>>();
            results.await.into_iter().collect::<Result<(), ApiError>>()?;
        }
    }

    async fn send_in_order(&self, ids: Vec<String>, now: u64) -> Result<(), ApiError> {
        for id in ids {
            self.when_due(&id, now).await?;
        }
        Ok(())
    }

    /// One that is due is not due any more after this.
    async fn when_due(&self, id: &str, now: u64) -> Result<(), ApiError> {
        let held = match self.users.delayed.hold(id).await {
            Err(UsersError::DelayedNotFound) => return Ok(()),
            other => other?,
        };
        if held.event.due_ts > now {
            return Ok(());
        }
        if held.event.finalised.is_some() {
            return Ok(self.users.delayed.forget(held).await?);
        }
        match self.deliver(&held).await {
            Ok(()) => Ok(()),
            // What is too much now is not lost for that: it may be what ends somebody's part in a call.
            Err(error) if error.0.status.is_server_error() || error.0.status == StatusCode::TOO_MANY_REQUESTS => {
                Ok(self.users.delayed.postpone(held, now.saturating_add(RETRY_MS)).await?)
            }
            Err(error) => Ok(self.users.delayed.finalise(held, Outcome::Failed(error.0.to_json())).await?),
        }
    }
}
