//! Messages from device to device.
//! [Send-to-Device messaging](https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging).

mod send;

use axum::Router;
use http_kit::RumaRouter;

use crate::App;

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(send::handler)
}
