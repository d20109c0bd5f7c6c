//! `POST /_matrix/client/v1/appservice/{appserviceId}/ping`

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use http_kit::{MatrixError, Ruma};
use ruma::api::client::appservice::request_ping::v1::{Request, Response};
use serde_json::{Map, Value};

use super::RouteError;
use crate::{link::CallError, services::Api};

/// The longest transaction id, in bytes.
const MAX_TXN: usize = 1024;

pub(super) async fn handler(State(api): State<Api>, request: Ruma<Request>) -> Result<Response, RouteError> {
    let asking = request.requester.appservice.as_ref().filter(|service| *service.id == *request.body.appservice_id);
    let service = asking.and_then(|service| api.0.registrations.by_id(&service.id));
    let service = service.ok_or_else(|| MatrixError::forbidden("This is not the token of that application service"))?;
    let mut body = Map::new();
    if let Some(txn_id) = request.body.transaction_id {
        if txn_id.as_str().len() > MAX_TXN {
            return Err(MatrixError::invalid_param("transaction_id", "it is longer than 1024 bytes").into());
        }
        body.insert("transaction_id".to_owned(), txn_id.as_str().into());
    }
    let begun = api.0.clock.now_ms();
    api.0.link.ping(service, Value::Object(body).to_string().into()).await.map_err(refused)?;
    let taken = api.0.clock.now_ms().saturating_sub(begun);
    Ok(Response::new(Duration::from_millis(taken)))
}

fn refused(error: CallError) -> MatrixError {
    let said = error.to_string();
    match error {
        CallError::NoUrl => MatrixError::new(StatusCode::BAD_REQUEST, "M_URL_NOT_SET", said),
        CallError::Timeout => MatrixError::new(StatusCode::GATEWAY_TIMEOUT, "M_CONNECTION_TIMEOUT", said),
        CallError::Unreachable(_) => MatrixError::new(StatusCode::BAD_GATEWAY, "M_CONNECTION_FAILED", said),
        CallError::Status { status, body } => MatrixError::new(StatusCode::BAD_GATEWAY, "M_BAD_STATUS", said)
            .with("status", status.as_u16())
            .with("body", body),
    }
}
