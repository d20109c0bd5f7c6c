//! `GET /_matrix/client/v3/notifications`

use axum::extract::State;
use engine::{Rendering, splice::Format};
use http_kit::{MatrixError, Ruma};
use notify::Rooms;
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::client::push::get_notifications::v3::{Notification, Request, Response},
    push::{Action, SoundTweakValue, Tweak},
    serde::Raw,
};
use serde_json::value::RawValue;
use users::push::Actions;

use crate::{
    ApiError, App,
    notices::{Found, FoundEvent, Range, Walk},
};

/// Notifications in a response, where the client names no limit, and at most.
const USUAL: usize = 20;
const MOST: usize = 100;

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let limit = body.limit.map_or(USUAL, |limit| usize::try_from(limit).unwrap_or(MOST)).clamp(1, MOST);
    let to = match body.from.as_deref() {
        Some(from) => from.parse().map_err(|_| MatrixError::invalid_param("from", "not a token of this endpoint"))?,
        None => app.engine.frontier(),
    };
    let to = app.engine.frontier().min(to);
    let highlights = body.only.as_deref() == Some("highlight");
    let range =
        Range { user: requester.user, rooms: &Rooms::All, after: 0, to, unread_only: false, invitations: false };
    let mut walk = Walk::new(&app, range).await?;
    let mut notifications = Vec::new();
    while notifications.len() < limit
        && let Some(found) = walk.next().await?
    {
        if !highlights || found.actions.highlight {
            notifications.extend(notification(&app, &requester, found).await?);
        }
    }
    let mut response = Response::new(notifications);
    response.next_token = walk.rest().map(|pos| pos.to_string());
    Ok(response)
}

async fn notification(
    app: &App,
    requester: &http_kit::Requester,
    found: Found,
) -> Result<Option<Notification>, ApiError> {
    let FoundEvent::In(room, num, row) = found.event else { return Ok(None) };
    let ts = MilliSecondsSinceUnixEpoch(UInt::try_from(row.origin_server_ts()).unwrap_or(UInt::MAX));
    let viewer = app.engine.viewer(room.num, &requester.user_id, requester.user).await?;
    let device = requester.device_id.as_deref().map(ruma::DeviceId::as_str);
    let rendering = Rendering { format: Format::WithoutRoomId, device, bundle: None };
    let mut json = String::new();
    app.engine.render(&mut json, &room, &viewer, &[(num, row)], rendering).await?;
    let event = RawValue::from_string(json).map_err(MatrixError::internal)?;
    let actions = actions(&found.actions);
    Ok(Some(Notification::new(actions, Raw::from_json(event), found.read, room.id.clone(), ts)))
}

fn actions(found: &Actions) -> Vec<Action> {
    let mut actions = vec![Action::Notify];
    let sound = found.sound.as_deref().map(SoundTweakValue::from);
    actions.extend(sound.map(|sound| Action::SetTweak(Tweak::Sound(sound))));
    if found.highlight {
        actions.push(Action::SetTweak(Tweak::Highlight(true.into())));
    }
    for (name, value) in found.custom.iter().flat_map(|custom| custom.iter()) {
        let value = RawValue::from_string(value.to_string()).ok();
        actions.extend(Tweak::new(name.clone(), value).ok().map(Action::SetTweak));
    }
    actions
}
