//! Keys of devices and users. [End-to-End Encryption](https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption).
//! Cross-signing keys are uploaded by way of `auth`: that may have to be confirmed.

mod changes;
mod claim;
mod query;
mod remote;
mod sharers;
mod upload;
mod upload_signatures;

use std::time::Duration;

use axum::Router;
use http_kit::{MatrixError, Requester, RumaRouter};
use ruma::DeviceId;

pub(crate) use sharers::sharers;

use crate::{ApiError, App};

/// Users and devices in one request, at most.
const MAX_ASKED: usize = 5000;
/// How long other servers are waited for, where the client does not say, and at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// Other servers that are asked at one time for one request.
const SERVERS_AT_ONCE: usize = 32;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .ruma(upload::handler)
        .ruma(query::handler)
        .ruma(claim::handler)
        .ruma(changes::handler)
        .ruma(upload_signatures::handler)
}

/// How long a client wants to wait for other servers.
fn patience(timeout: Option<u64>) -> Duration {
    timeout.map_or(PATIENCE, |ms| Duration::from_millis(ms).min(PATIENCE))
}

/// The device that a request comes from.
///
/// # Errors
/// 400 `M_UNKNOWN` where there is none, as for an application service that acts as no device.
pub(crate) fn device_of(requester: &Requester) -> Result<&DeviceId, ApiError> {
    requester.device_id.as_deref().ok_or_else(|| MatrixError::unknown("This needs a device: log in with one").into())
}

fn too_many() -> ApiError {
    MatrixError::too_large(format!("No more than {MAX_ASKED} in one request")).into()
}
