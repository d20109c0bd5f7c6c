//! `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid)).

use axum::{
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use bytes::Bytes;
use http::HeaderMap;
use http_kit::{Authenticated, MatrixError, RawJson};
use ruma::OwnedServerName;

use super::upload::{Naming, content, counted, head};
use crate::{Api, MediaError, find::is_media_id};

pub(super) async fn handler(
    State(api): State<Api>,
    Authenticated(requester): Authenticated,
    path: Result<Path<(OwnedServerName, String)>, PathRejection>,
    naming: Result<Query<Naming>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<RawJson, MatrixError> {
    let Path((server, id)) = path.map_err(|error| MatrixError::invalid_param("path", error.body_text()))?;
    if !is_media_id(&id) {
        return Err(MediaError::NotFound.into());
    }
    api.limits.begin_upload(&requester)?;
    let ready = api.ready_for(requester.user, &server, id).await?;
    let content = counted(content(body, api.config.max_upload())?, &api, &requester);
    api.upload(ready, head(naming, &headers)?, content).await?;
    Ok(RawJson(Bytes::from_static(b"{}")))
}
