//! `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid)).

use axum::extract::State;
use engine::JoinPermit;
use ruma::api::federation::membership::prepare_join_event::v1::{Request, Response};
use serde_json::json;

use super::{
    Signed,
    membership::{MembershipError, is_theirs, supports},
};
use crate::Api;

pub(super) async fn handler(State(api): State<Api>, request: Signed<Request>) -> Result<Response, MembershipError> {
    let Signed { body, origin, .. } = request;
    is_theirs(&body.user_id, &origin)?;
    let room = api.room_with_us(&body.room_id, &origin).await?;
    supports(&body.ver, &room)?;
    let mut content = json!({"membership": "join"});
    match api.engine.permit_join(&room, &body.user_id).await? {
        JoinPermit::Unneeded => {}
        JoinPermit::VouchedBy(voucher) => {
            if let Some(content) = content.as_object_mut() {
                content.insert("join_authorised_via_users_server".to_owned(), voucher.as_str().into());
            }
        }
        JoinPermit::Unmet => {
            let why = "The user is in none of the rooms whose members may join this one";
            return Err(MembershipError::Forbidden(why.to_owned()));
        }
        JoinPermit::Unknown => return Err(MembershipError::UnableToAuthorise),
        JoinPermit::Ungranted => return Err(MembershipError::UnableToGrant),
    }
    let event = api.membership_template(&room, &body.user_id, &content.to_string()).await?;
    let mut response = Response::new(event);
    response.room_version = Some(room.version.clone());
    Ok(response)
}
