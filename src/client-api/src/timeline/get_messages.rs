//! `GET /_matrix/client/v3/rooms/{roomId}/messages`

use axum::extract::State;
use engine::{Direction, HistoryPoint};
use http_kit::{RawJson, Ruma};
use ruma::api::client::message::get_message_events::v3::Request;

use super::pages::{EVER, Stretch, is_lazy, limit_of, rendering};
use crate::{
    ApiError, App,
    filter::{Relations, RowFilter},
    page::{encode_point, encode_point_seen},
};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    let relations = Relations::of_events(request.query("filter").as_deref().filter(|filter| !filter.is_empty()))?;
    let Ruma { body, requester, .. } = request;
    let reader = app.reader(&body.room_id, &requester).await?;
    let room = reader.room.num;
    let token = body.from.as_deref();
    let (direction, (from, seen)) = match body.dir {
        ruma::api::Direction::Backward => (Direction::Backward, app.back_from(&reader, token, "from").await?),
        ruma::api::Direction::Forward => {
            (Direction::Forward, (app.point(room, token, "from").await?.unwrap_or(HistoryPoint::START), EVER))
        }
    };
    let to = app.point(room, body.to.as_deref(), "to").await?;
    let encode = |point| if seen == EVER { encode_point(point) } else { encode_point_seen(point, seen) };
    let stretch = Stretch { from, seen, to, direction, limit: limit_of(body.limit) };
    let filter = RowFilter::new(&body.filter).with_relations(relations);
    let page = app.whole_page(&reader, stretch, &filter).await?;

    let start = token.filter(|token| !token.is_empty()).map_or_else(|| encode(from), ToOwned::to_owned);
    let mut out = format!("{{\"start\":\"{start}\",\"chunk\":[");
    app.engine
        .render(&mut out, &reader.room, &reader.viewer, &page.events, rendering(&requester, Some(&reader.ignored)))
        .await?;
    out.push(']');
    if let Some(next) = page.next {
        out.push_str(",\"end\":\"");
        out.push_str(&encode(next));
        out.push('"');
    }
    if is_lazy(&body.filter.lazy_load_options) {
        let members = app.members_of_senders(&reader, &page.events).await?;
        out.push_str(",\"state\":[");
        app.engine.render(&mut out, &reader.room, &reader.viewer, &members, rendering(&requester, None)).await?;
        out.push(']');
    }
    out.push('}');
    Ok(RawJson(out.into()))
}
