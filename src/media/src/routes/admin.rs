//! What administrators may do with files: keep one from everybody, give it free again, remove it. The paths and answers are those of Synapse's
//! [admin API](https://element-hq.github.io/synapse/latest/admin_api/media_admin_api.html), which tools know:
//! `POST /_synapse/admin/v1/media/{quarantine|unquarantine}/{serverName}/{mediaId}` and
//! `DELETE /_synapse/admin/v1/media/{serverName}/{mediaId}`.

use axum::{
    Router,
    extract::{Path, State},
    routing::{delete, post},
};
use bytes::Bytes;
use http_kit::{Authenticated, MatrixError, RawJson, Requester};
use ruma::OwnedServerName;
use serde_json::json;

use crate::{Api, MediaError};

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/_synapse/admin/v1/media/quarantine/{server}/{id}", post(quarantine))
        .route("/_synapse/admin/v1/media/unquarantine/{server}/{id}", post(unquarantine))
        .route("/_synapse/admin/v1/media/{server}/{id}", delete(remove))
}

fn allowed(requester: &Requester) -> Result<(), MatrixError> {
    if requester.admin { Ok(()) } else { Err(MatrixError::forbidden("Only administrators may do this")) }
}

fn named(server: &str) -> Result<OwnedServerName, MediaError> {
    OwnedServerName::try_from(server).map_err(|_| MediaError::NotFound)
}

async fn set(
    api: Api,
    requester: &Requester,
    (server, id): (String, String),
    closed: bool,
) -> Result<RawJson, MatrixError> {
    allowed(requester)?;
    api.quarantine(&named(&server)?, &id, closed).await?;
    Ok(RawJson(Bytes::from_static(b"{}")))
}

async fn quarantine(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    Path(file): Path<(String, String)>,
) -> Result<RawJson, MatrixError> {
    set(api, &requester, file, true).await
}

async fn unquarantine(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    Path(file): Path<(String, String)>,
) -> Result<RawJson, MatrixError> {
    set(api, &requester, file, false).await
}

async fn remove(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    Path((server, id)): Path<(String, String)>,
) -> Result<RawJson, MatrixError> {
    allowed(&requester)?;
    api.remove(&named(&server)?, &id).await?;
    Ok(RawJson(json!({"deleted_media": [id], "total": 1}).to_string().into()))
}
