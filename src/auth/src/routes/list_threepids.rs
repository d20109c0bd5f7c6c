//! `GET /_matrix/client/v3/account/3pid`

use http_kit::Ruma;
use ruma::api::client::account::get_3pids::v3::{Request, Response};

use crate::error::RouteError;

/// No account here has an e-mail address or a phone number: there is no way to add one.
pub(super) async fn handler(_: Ruma<Request>) -> Result<Response, RouteError> {
    Ok(Response::new(Vec::new()))
}
