//! Joining rooms with conditions. [Restricted rooms](https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms).

use std::time::Duration;

use engine::{EngineError, JoinPermit, Room};
use http::StatusCode;
use http_kit::{MatrixError, Requester};
use ruma::OwnedUserId;

use super::change::refused;
use crate::{ApiError, App};

/// How long a join waits for a room's members, which most rooms have by then, before another server is asked.
const MOMENT: Duration = Duration::from_secs(1);

/// Whether a join can be made on this server alone.
pub(super) enum JoinHere {
    /// It can; the user vouches for it where somebody has to.
    Yes(Option<OwnedUserId>),
    /// Another server in the room may be able to: the answer where none is.
    Elsewhere(ApiError),
}

impl App {
    /// Who vouches for a join: nobody where none is needed.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN` where the user meets no condition.
    pub(super) async fn authorise_join(&self, room: &Room, requester: &Requester) -> Result<JoinHere, ApiError> {
        let elsewhere = |errcode: &'static str, why: &'static str| {
            Ok(JoinHere::Elsewhere(MatrixError::new(StatusCode::BAD_REQUEST, errcode, why).into()))
        };
        // Whether the user is banned, say, is not known yet; who let this server in knows.
        match self.engine.knows_member(room, requester.user_id.as_str(), MOMENT).await {
            Err(error @ EngineError::Partial) => return Ok(JoinHere::Elsewhere(error.into())),
            known => known?,
        }
        let unmet = || refused("You are in none of the rooms whose members may join this one");
        match self.engine.permit_join(room, &requester.user_id).await? {
            JoinPermit::Unneeded => Ok(JoinHere::Yes(None)),
            JoinPermit::VouchedBy(user_id) => Ok(JoinHere::Yes(Some(user_id))),
            JoinPermit::Unmet => Err(unmet()),
            JoinPermit::Unknown => Ok(JoinHere::Elsewhere(unmet())),
            JoinPermit::Ungranted => {
                elsewhere("M_UNABLE_TO_GRANT_JOIN", "Nobody on this server who is in the room may invite others")
            }
        }
    }
}
