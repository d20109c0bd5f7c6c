//! `GET /_matrix/client/v3/joined_rooms`

use axum::extract::State;
use engine::Membership;
use http_kit::Ruma;
use ruma::api::client::membership::joined_rooms::v3::{Request, Response};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let places = app.engine.user_rooms().of(request.requester.user).await?;
    let mut joined = Vec::new();
    for (num, _) in places.iter().filter(|(_, place)| place.membership == Membership::Join) {
        joined.push(app.engine.room_id(*num).await?);
    }
    Ok(Response::new(joined))
}
