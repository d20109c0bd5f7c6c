//! `DELETE /_cliquepay/admin/v1/reports/{number}`: a report that is done with.

use axum::extract::{Path, State, rejection::PathRejection};
use bytes::Bytes;
use http_kit::{Authenticated, MatrixError, RawJson};
use store::Pos;

use super::only_admins;
use crate::{ApiError, App};

pub(super) async fn handler(
    State(app): State<App>,
    Authenticated(requester): Authenticated,
    number: Result<Path<Pos>, PathRejection>,
) -> Result<RawJson, ApiError> {
    only_admins(&requester)?;
    let Path(number) = number.map_err(|_| MatrixError::invalid_param("number", "not a number"))?;
    if !app.users.reports.remove(number).await? {
        return Err(MatrixError::not_found("There is no such report").into());
    }
    Ok(RawJson(Bytes::from_static(b"{}")))
}
