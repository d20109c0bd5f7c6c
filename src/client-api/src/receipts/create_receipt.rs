//! `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`

use axum::extract::State;
use http_kit::{MatrixError, Ruma, WithJson};
use ruma::{
    RoomId,
    api::client::receipt::create_receipt::v3::{Request, Response},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{FULLY_READ, thread::MAIN};
use crate::{ApiError, App};

#[derive(Deserialize)]
pub(super) struct Body {
    /// Any JSON, `null` too: what is wrong with it is told by its own code.
    #[serde(default, deserialize_with = "whatever")]
    thread_id: Option<Value>,
}

fn whatever<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

pub(super) async fn handler(
    State(app): State<App>,
    request: Ruma<WithJson<Request, Body>>,
) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let [room_id, kind, event_id] = body.path.as_slice() else {
        return Err(MatrixError::unrecognized("No such path").into());
    };
    let room_id = <&RoomId>::try_from(room_id.as_str()).map_err(|error| MatrixError::invalid_param("roomId", error))?;
    let (room, _) = app.room_joined_by(room_id, &requester).await?;
    let thread = thread_id(body.json.thread_id)?;
    match kind.as_str() {
        "m.read" | "m.read.private" => {
            if let Some(thread) = &thread
                && !app.fits_thread(&room, event_id, thread).await?
            {
                return Err(MatrixError::invalid_param("thread_id", "the event is not in this thread").into());
            }
            app.receipt(&room, &requester, kind, thread.as_deref().unwrap_or_default(), event_id).await?;
        }
        FULLY_READ if thread.is_some() => {
            return Err(MatrixError::invalid_param("thread_id", "m.fully_read knows no threads").into());
        }
        FULLY_READ => app.fully_read(&room, &requester, event_id).await?,
        _ => return Err(MatrixError::invalid_param("receiptType", "not a type of receipt").into()),
    }
    app.seen_active(requester.user).await?;
    Ok(Response::new())
}

fn thread_id(thread: Option<Value>) -> Result<Option<String>, ApiError> {
    match thread {
        None => Ok(None),
        Some(Value::String(thread)) if thread == MAIN || (thread.starts_with('$') && thread.len() <= 255) => {
            Ok(Some(thread))
        }
        Some(_) => Err(MatrixError::invalid_param("thread_id", "neither main nor the id of an event").into()),
    }
}
