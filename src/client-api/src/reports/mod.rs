//! Reports to the operator. [Reporting content](https://spec.matrix.org/v1.19/client-server-api/#reporting-content).

mod report_event;
mod report_room;
mod report_user;

use axum::Router;
use http_kit::{Requester, RumaRouter};
use users::reports::Reported;

use crate::{ApiError, App};

/// How much of a reason stands in the log, in bytes.
const LOGGED: usize = 200;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(report_event::handler).ruma(report_room::handler).ruma(report_user::handler)
}

impl App {
    /// Keeps a report, and tells the operator in the log.
    async fn report(&self, requester: &Requester, reported: Reported, reason: &str) -> Result<(), ApiError> {
        let reporter = requester.user_id.clone();
        let number = self.users.reports.add(requester.user, reporter, reported.clone(), reason).await?;
        let start = reason.get(..reason.floor_char_boundary(LOGGED)).unwrap_or_default();
        tracing::warn!(number, reporter = %requester.user_id, ?reported, reason = ?start, "something was reported");
        Ok(())
    }
}
