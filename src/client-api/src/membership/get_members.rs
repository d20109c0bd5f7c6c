//! `GET /_matrix/client/v3/rooms/{roomId}/members`

use axum::extract::State;
use engine::{Direction, EventNum, EventRow, HistoryPoint, Rendering, RoomNum, splice::Format};
use http_kit::{RawJson, Ruma};
use ruma::{api::client::membership::get_member_events::v3::Request, events::room::member::MembershipState};

use crate::{
    ApiError, App,
    access::{PATIENCE, Reader},
    page::{PageToken, decode_page},
};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let Ruma { body, requester, .. } = request;
    let reader = app.reader(&body.room_id, &requester).await?;
    let room = reader.room.num;
    let at = body.at.as_deref().map(|at| decode_page(at, "at")).transpose()?;
    let nums = app.members_at(&reader, at).await?;
    let mut members = app.engine.events(room, &nums).await?;
    members.retain(|(_, row)| {
        let membership = membership_of(row);
        body.membership.as_ref().is_none_or(|wanted| *wanted == membership)
            && body.not_membership.as_ref().is_none_or(|unwanted| *unwanted != membership)
    });
    let mut out = String::from("{\"chunk\":[");
    let how = Rendering { format: Format::WithRoomId, device: None, bundle: false };
    app.engine.render(&mut out, &reader.room, &reader.viewer, &members, how).await?;
    out.push_str("]}");
    Ok(RawJson(out.into()))
}

fn membership_of(row: &EventRow) -> MembershipState {
    #[derive(serde::Deserialize)]
    struct Content {
        membership: MembershipState,
    }
    serde_json::from_str::<Content>(row.content()).map_or(MembershipState::Leave, |content| content.membership)
}

impl App {
    /// The membership events at a point, no later than what the reader may see.
    async fn members_at(&self, reader: &Reader<'_>, at: Option<PageToken>) -> Result<Vec<EventNum>, ApiError> {
        let room = reader.room.num;
        self.engine.whole(&reader.room, PATIENCE).await?;
        let point = match at {
            None => None,
            Some(PageToken::Stream(pos)) => Some(self.engine.point_at(room, pos).await?),
            Some(PageToken::History(point)) => Some(point),
        };
        let entries = match point {
            Some(point) if point < reader.end() => self.entries_before(room, point).await?,
            _ if reader.until.is_none() => {
                let members = self.engine.members(room).await?;
                return Ok(members.into_iter().map(|member| member.num).collect());
            }
            _ => self.state_for(reader).await?,
        };
        Ok(entries.into_iter().filter(|(kind, ..)| kind == "m.room.member").map(|(.., num)| num).collect())
    }

    /// The state just before a point of the history.
    async fn entries_before(&self, room: RoomNum, point: HistoryPoint) -> Result<Vec<engine::StateEntry>, ApiError> {
        let page = self.engine.history(room, point, None, 1, Direction::Backward).await?;
        let Some((_, num)) = page.first() else { return Ok(Vec::new()) };
        let row = self.engine.event(room, *num).await?;
        Ok(self.engine.entries_after(room, *num, &row).await?)
    }
}
