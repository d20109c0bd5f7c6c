//! `POST /_matrix/client/v3/publicRooms`

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::{
    UInt,
    api::client::directory::get_public_rooms_filtered::v3::{Request, Response},
    directory::RoomNetwork,
};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let body = request.body;
    app.only_this_server(body.server.as_deref())?;
    if matches!(body.room_network, RoomNetwork::ThirdParty(_)) {
        return Err(MatrixError::invalid_param("third_party_instance_id", "there are no bridges here").into());
    }
    let listing = app.published_rooms(&body.filter, body.since.as_deref(), body.limit).await?;
    let mut response = Response::new();
    response.chunk = listing.chunk;
    response.next_batch = listing.next_batch;
    response.prev_batch = listing.prev_batch;
    response.total_room_count_estimate = Some(UInt::new_saturating(listing.total as u64));
    Ok(response)
}
