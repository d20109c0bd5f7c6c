//! `POST /_matrix/client/v3/publicRooms`

use axum::extract::State;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::{api::client::directory::get_public_rooms_filtered::v3::Request, directory::RoomNetwork};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let body = request.body;
    if matches!(body.room_network, RoomNetwork::ThirdParty(_)) {
        return Err(MatrixError::invalid_param("third_party_instance_id", "there are no bridges here").into());
    }
    app.published_rooms(body.server.as_deref(), &body.filter, body.since.as_deref(), body.limit).await
}
