//! `GET /_matrix/client/v3/rooms/{roomId}/members`

use axum::extract::State;
use engine::{Direction, EventNum, EventRow, HistoryPoint, Rendering, RoomNum, splice::Format, state_tree::NodeId};
use http_kit::{RawJson, Ruma};
use ruma::{api::client::membership::get_member_events::v3::Request, events::room::member::MembershipState};
use store::Pos;

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
        match (&body.membership, &body.not_membership) {
            // Either of them lets a member pass.
            (Some(wanted), Some(unwanted)) => *wanted == membership || *unwanted != membership,
            (Some(wanted), None) => *wanted == membership,
            (None, Some(unwanted)) => *unwanted != membership,
            (None, None) => true,
        }
    });
    let mut out = String::from("{\"chunk\":[");
    let how = Rendering { format: Format::WithRoomId, device: None, bundle: None };
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
        let reads = |pos| reader.until.as_ref().is_none_or(|(_, row)| pos < row.pos());
        let entries = match at {
            Some(PageToken::Stream(pos) | PageToken::Before(pos, _)) if reads(pos) => {
                self.entries_seen(room, pos).await?
            }
            Some(PageToken::History(point, _)) if point < reader.end() => self.entries_before(room, point).await?,
            _ if reader.until.is_none() => {
                let members = self.engine.members(room).await?;
                return Ok(members.into_iter().map(|member| member.num).collect());
            }
            _ => self.state_for(reader).await?,
        };
        Ok(entries.into_iter().filter(|(kind, ..)| kind == "m.room.member").map(|(.., num)| num).collect())
    }

    /// The state after the last event up to a position of the stream. Before all that is here of a room that is the state in which its first event here was
    /// sent; a room that begins here had nobody then, and begins with its creator.
    async fn entries_seen(&self, room: RoomNum, pos: Pos) -> Result<Vec<engine::StateEntry>, ApiError> {
        if let Some((_, last)) = self.engine.stream(room, 0, pos, 1, Direction::Backward).await?.first() {
            let row = self.engine.event(room, *last).await?;
            return Ok(self.engine.entries_after(room, *last, &row).await?);
        }
        let first = self.engine.stream(room, pos, self.engine.frontier(), 2, Direction::Forward).await?;
        let (Some((_, first)), Some((_, second))) = (first.first(), first.last()) else { return Ok(Vec::new()) };
        let before = self.engine.event(room, *first).await?.state_before();
        if before != NodeId::EMPTY {
            return Ok(self.engine.entries_at(room, before).await?);
        }
        let row = self.engine.event(room, *second).await?;
        Ok(self.engine.entries_after(room, *second, &row).await?)
    }

    /// The state just before a point of the history.
    async fn entries_before(&self, room: RoomNum, point: HistoryPoint) -> Result<Vec<engine::StateEntry>, ApiError> {
        let page = self.engine.history(room, point, None, 1, Direction::Backward).await?;
        let Some((_, num)) = page.first() else { return Ok(Vec::new()) };
        let row = self.engine.event(room, *num).await?;
        Ok(self.engine.entries_after(room, *num, &row).await?)
    }
}
