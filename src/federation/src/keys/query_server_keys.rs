//! This server as a notary: `GET /_matrix/key/v2/query/{serverName}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername)) and `POST /_matrix/key/v2/query`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query)).

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::extract::State;
use futures::{StreamExt as _, stream};
use http_kit::{MatrixError, route_error};
use ruma::{
    OwnedServerName,
    api::federation::discovery::{ServerSigningKeys, get_remote_server_keys, get_remote_server_keys_batch},
    serde::Raw,
};

use crate::{Api, inbound::Open};

/// Servers that one request may ask about.
const MAX_SERVERS: usize = 100;
/// When to come back where too much was asked for.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Servers that are asked at a time for one request.
const AT_A_TIME: usize = 8;

pub(super) async fn one(
    State(api): State<Api>,
    request: Open<get_remote_server_keys::v2::Request>,
) -> Result<get_remote_server_keys::v2::Response, RouteError> {
    let wanted = vec![(request.body.server_name, u64::from(request.body.minimum_valid_until_ts.get()))];
    Ok(get_remote_server_keys::v2::Response::new(answers(&api, request.address, wanted).await?))
}

pub(super) async fn batch(
    State(api): State<Api>,
    request: Open<get_remote_server_keys_batch::v2::Request>,
) -> Result<get_remote_server_keys_batch::v2::Response, RouteError> {
    let asked = request.body.server_keys;
    if asked.len() > MAX_SERVERS {
        return Err(RouteError::TooMany);
    }
    let now = api.clock.now_ms();
    let wanted = asked.into_iter().map(|(server, criteria)| {
        let least = criteria.values().filter_map(|criterion| criterion.minimum_valid_until_ts).max();
        (server, least.map_or(now, |least| u64::from(least.get())))
    });
    Ok(get_remote_server_keys_batch::v2::Response::new(answers(&api, request.address, wanted.collect()).await?))
}

/// Servers that cannot be asked and were never are left out, and so are those that whoever asks has asked too much for.
async fn answers(
    api: &Api,
    address: Option<IpAddr>,
    wanted: Vec<(OwnedServerName, u64)>,
) -> Result<Vec<Raw<ServerSigningKeys>>, RouteError> {
    let limited = AtomicBool::new(false);
    let may_ask = || {
        let may = api.check_stranger(address).is_ok();
        limited.fetch_or(!may, Ordering::Relaxed);
        may
    };
    let found: Vec<_> = stream::iter(wanted)
        .map(|(server, least)| async move { api.keys.attested(&server, least, may_ask).await })
        .buffered(AT_A_TIME)
        .filter_map(std::future::ready)
        .collect()
        .await;
    if found.is_empty() && limited.into_inner() { Err(RouteError::TooOften) } else { Ok(found) }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    #[error("Ask about at most {MAX_SERVERS} servers at a time")]
    TooMany,
    #[error("Too many servers that are not known here")]
    TooOften,
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::TooMany => Self::too_large(error.to_string()),
            RouteError::TooOften => Self::limit_exceeded(RETRY_AFTER),
        }
    }
}
route_error!(RouteError);
