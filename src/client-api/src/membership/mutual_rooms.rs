//! `GET /_matrix/client/v1/mutual_rooms`. [Mutual rooms](https://spec.matrix.org/v1.19/client-server-api/#mutual-rooms).

use axum::extract::State;
use engine::{Membership, RoomNum};
use http_kit::{Group, MatrixError, Requester, Ruma};
use ruma::{
    OwnedRoomId, UInt, UserId,
    api::client::membership::get_mutual_rooms::{
        unstable,
        v1::{Request, Response},
    },
};

use crate::{ApiError, App};

/// Rooms in an answer, at most.
const PAGE: usize = 500;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.limits.check(Group::Search, &requester)?;
    let shared = app.shared_rooms(&requester, &body.user_id).await?;
    let (joined, next) = app.page_of_rooms(&shared, body.from.as_deref()).await?;
    let mut response = Response::new(UInt::new_saturating(shared.len() as u64), joined);
    response.next_batch = next;
    Ok(response)
}

/// The same under the name that it had before it was in the specification (MSC2666).
pub(super) async fn before(
    State(app): State<App>,
    request: Ruma<unstable::Request>,
) -> Result<unstable::Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    app.limits.check(Group::Search, &requester)?;
    let shared = app.shared_rooms(&requester, &body.user_id).await?;
    let (joined, next) = app.page_of_rooms(&shared, body.from.as_deref()).await?;
    let mut response = unstable::Response::new(joined);
    response.next_batch = next;
    Ok(response)
}

impl App {
    /// The rooms that the requester and another user are in, in the order of their numbers.
    async fn shared_rooms(&self, requester: &Requester, other: &UserId) -> Result<Vec<RoomNum>, ApiError> {
        if *other == requester.user_id {
            return Err(MatrixError::invalid_param("user_id", "this is you").into());
        }
        let mut shared = Vec::new();
        for (room, place) in self.engine.user_rooms().of(requester.user).await?.iter() {
            if place.membership == Membership::Join
                && self.engine.membership(*room, other.as_str()).await? == Some(Membership::Join)
            {
                shared.push(*room);
            }
        }
        Ok(shared)
    }

    /// The rooms behind a token, and the token of the next ones: the last room's number, so that no token ever grows old.
    async fn page_of_rooms(
        &self,
        rooms: &[RoomNum],
        from: Option<&str>,
    ) -> Result<(Vec<OwnedRoomId>, Option<String>), ApiError> {
        let after: RoomNum = match from {
            None => 0,
            Some(token) => token.parse().map_err(|_| MatrixError::invalid_param("from", "not a token of this"))?,
        };
        let behind = rooms.iter().skip_while(|room| **room <= after);
        let (mut ids, mut last) = (Vec::new(), after);
        for room in behind.clone().take(PAGE) {
            ids.push(self.engine.room_id(*room).await?);
            last = *room;
        }
        let more = behind.count() > PAGE;
        Ok((ids, more.then(|| last.to_string())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::PAGE;
    use crate::testing::TestApp;

    #[tokio::test]
    async fn rooms_that_both_are_in_are_told() {
        let test = TestApp::new(&["alice", "bob", "carol"]).await;
        let both = test.public_room(&["alice", "bob"]).await;
        let all = test.public_room(&["carol", "bob", "alice"]).await;
        test.public_room(&["alice", "carol"]).await;
        test.room("bob", json!({"invite": ["@alice:hs"]})).await;
        let left = test.public_room(&["alice", "bob"]).await;
        test.post("bob", &format!("/v3/rooms/{left}/leave"), json!({})).await.ok();
        let with = async |who: &str| test.get("alice", &format!("/v1/mutual_rooms?user_id={who}")).await;
        assert_eq!(with("@bob:hs").await.ok(), json!({"joined": [both, all], "count": 2}));
        for nobody in ["@nobody:hs", "@x:elsewhere"] {
            assert_eq!(with(nobody).await.ok(), json!({"joined": [], "count": 0}));
        }
        let before = "/unstable/uk.half-shot.msc2666/user/mutual_rooms?user_id=@bob:hs";
        assert_eq!(test.get("alice", before).await.ok(), json!({"joined": [both, all]}));
        with("@alice:hs").await.refused(400, "M_INVALID_PARAM");
        with("bob").await.refused(400, "M_INVALID_PARAM");
        with("@bob:hs&from=here").await.refused(400, "M_INVALID_PARAM");
        test.get("alice", "/v1/mutual_rooms").await.refused(400, "M_MISSING_PARAM");
        test.get("", "/v1/mutual_rooms?user_id=@bob:hs").await.refused(401, "M_MISSING_TOKEN");
    }

    #[tokio::test]
    async fn many_rooms_come_in_pages() {
        let test = TestApp::new(&["alice", "bob"]).await;
        let first = test.public_room(&["alice", "bob"]).await;
        let num = test.app.engine.room(first.as_str().try_into().unwrap()).await.unwrap().num;
        let rooms: Vec<_> = std::iter::repeat_n(num, PAGE).chain([num + 1, num + 2]).collect();
        for room in ["!second:hs", "!third:hs"] {
            test.app.engine.ids.number(store::IdKind::Room, room).await.unwrap();
        }
        let (ids, next) = test.app.page_of_rooms(&rooms, None).await.unwrap();
        assert_eq!((ids.len(), ids[0].as_str()), (PAGE, first.as_str()));
        let (ids, next) = test.app.page_of_rooms(&rooms, next.as_deref()).await.unwrap();
        assert_eq!((ids, next), (vec!["!second:hs".try_into().unwrap(), "!third:hs".try_into().unwrap()], None));
    }
}
