//! `POST /_matrix/client/v3/publicRooms`

use axum::extract::State;
use http_kit::{RawJson, Ruma};
use ruma::api::client::directory::get_public_rooms_filtered::v3::Request;

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let body = request.body;
    let page = (body.since.as_deref(), body.limit);
    app.published_rooms(body.server.as_deref(), &body.room_network, &body.filter, page).await
}
