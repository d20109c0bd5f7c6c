//! Who is online. [Presence](https://spec.matrix.org/v1.19/client-server-api/#presence).

mod get;
mod set;

use axum::Router;
use engine::{Membership, UserNum};
use http_kit::RumaRouter;
use ruma::UserId;

use crate::{ApiError, App};

pub(crate) fn router() -> Router<App> {
    Router::new().ruma(get::handler).ruma(set::handler)
}

impl App {
    /// Whether a local user and somebody of any server are in a room together.
    pub(crate) async fn shares_a_room_with(
        &self,
        one: UserNum,
        other: UserNum,
        other_id: &UserId,
    ) -> Result<bool, ApiError> {
        if self.engine.is_local(other_id) {
            return self.share_a_room(one, other).await;
        }
        for (room, place) in self.engine.user_rooms().of(one).await?.iter() {
            if place.membership == Membership::Join
                && self.engine.membership(*room, other_id.as_str()).await? == Some(Membership::Join)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether two local users are in a room together.
    pub(crate) async fn share_a_room(&self, one: UserNum, other: UserNum) -> Result<bool, ApiError> {
        let (one, other) = (self.engine.user_rooms().of(one).await?, self.engine.user_rooms().of(other).await?);
        let is_in = |place: &engine::UserRoom| place.membership == Membership::Join;
        Ok(one.iter().any(|(room, place)| is_in(place) && other.get(room).is_some_and(is_in)))
    }
}
