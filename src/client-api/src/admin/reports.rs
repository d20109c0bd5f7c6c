//! `GET /_cliquepay/admin/v1/reports`: what users reported, newest first.

use axum::extract::{Query, State, rejection::QueryRejection};
use bytes::Bytes;
use http_kit::{Authenticated, MatrixError, RawJson};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::Pos;
use users::reports::{Report, Reported};

use super::only_admins;
use crate::{ApiError, App};

/// Reports in an answer, where no limit is named, and at most.
const USUAL: usize = 50;
const MOST: usize = 200;

/// The query.
#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    /// Only those with smaller numbers.
    before: Option<Pos>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Answer {
    reports: Vec<Shown>,
    /// `before` of the next page; none at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Pos>,
}

#[derive(Serialize)]
struct Shown {
    number: Pos,
    #[serde(flatten)]
    report: Report,
    /// The event as it is now, where it was an event and is still here.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
}

pub(super) async fn handler(
    State(app): State<App>,
    Authenticated(requester): Authenticated,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<RawJson, ApiError> {
    only_admins(&requester)?;
    let Query(paging) = paging.map_err(|error| MatrixError::invalid_param("query", error.body_text()))?;
    let limit = paging.limit.unwrap_or(USUAL).clamp(1, MOST);
    let listed = app.users.reports.list(paging.before.unwrap_or(Pos::MAX), limit).await?;
    let next = listed.last().filter(|_| listed.len() == limit).map(|(number, _)| *number);
    let mut reports = Vec::with_capacity(listed.len());
    for (number, report) in listed {
        let event = app.reported_event(&report).await?;
        reports.push(Shown { number, report, event });
    }
    let answer = serde_json::to_vec(&Answer { reports, next }).map_err(MatrixError::internal)?;
    Ok(RawJson(Bytes::from(answer)))
}

impl App {
    async fn reported_event(&self, report: &Report) -> Result<Option<Box<RawValue>>, ApiError> {
        let Reported::Event { event_id, .. } = &report.reported else { return Ok(None) };
        let Some((room, num)) = self.engine.find_event_anywhere(event_id.as_str()).await? else { return Ok(None) };
        let row = self.engine.event(room, num).await?;
        Ok(RawValue::from_string(row.json().to_owned()).ok())
    }
}
