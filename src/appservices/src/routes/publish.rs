//! `PUT /_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}`

use axum::extract::State;
use engine::EngineError;
use http_kit::{MatrixError, Ruma};
use ruma::api::client::{
    appservice::set_room_visibility::v3::{Request, Response},
    room::Visibility,
};

use super::RouteError;
use crate::{published::PublishError, services::Api};

/// The longest id of a network, in bytes.
const MAX_NETWORK: usize = 255;

pub(super) async fn handler(State(api): State<Api>, request: Ruma<Request>) -> Result<Response, RouteError> {
    let Ruma { body, requester, .. } = request;
    let service = requester.appservice.as_ref().ok_or_else(|| MatrixError::forbidden("This is for services only"))?;
    if body.network_id.len() > MAX_NETWORK {
        return Err(MatrixError::invalid_param("networkId", "it is longer than 255 bytes").into());
    }
    let public = match body.visibility {
        Visibility::Public => true,
        Visibility::Private => false,
        _ => return Err(MatrixError::invalid_param("visibility", "it is neither public nor private").into()),
    };
    let room = match api.0.engine.room(&body.room_id).await {
        Ok(room) => room,
        Err(EngineError::UnknownRoom) => return Err(MatrixError::not_found("There is no such room here").into()),
        Err(error) => return Err(MatrixError::internal(error).into()),
    };
    match api.0.publish(&service.id, &body.network_id, room.num, public).await {
        Ok(()) => Ok(Response::new()),
        Err(PublishError::Full) => Err(MatrixError::forbidden("There are too many rooms in your directories").into()),
        Err(error) => Err(MatrixError::internal(error).into()),
    }
}
