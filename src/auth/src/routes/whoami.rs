//! `GET /_matrix/client/v3/account/whoami`

use http_kit::Ruma;
use ruma::api::client::account::whoami::v3::{Request, Response};

use crate::error::RouteError;

pub(super) async fn handler(request: Ruma<Request>) -> Result<Response, RouteError> {
    let mut response = Response::new(request.requester.user_id.clone(), false);
    response.device_id.clone_from(&request.requester.device_id);
    Ok(response)
}
