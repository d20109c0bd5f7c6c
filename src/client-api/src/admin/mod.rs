//! What administrators of this server may do.
//! [Server administration](https://spec.matrix.org/v1.19/client-server-api/#server-administration), and what the operator needs besides.

mod remove_report;
mod reports;
mod whois;

use axum::{
    Router,
    routing::{delete, get},
};
use http_kit::{Requester, RumaRouter, with_cors};

use crate::{ApiError, App};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .ruma(whois::handler)
        .route("/_cliquepay/admin/v1/reports", with_cors(get(reports::handler)))
        .route("/_cliquepay/admin/v1/reports/{number}", with_cors(delete(remove_report::handler)))
}

/// # Errors
/// 403 `M_FORBIDDEN`.
fn only_admins(requester: &Requester) -> Result<(), ApiError> {
    Ok(requester.only_admins()?)
}
