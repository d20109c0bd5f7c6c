//! Proving to third parties who one is. [OpenID](https://spec.matrix.org/v1.19/client-server-api/#openid).

mod request_token;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(request_token::handler)
}
