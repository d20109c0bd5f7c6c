//! `m.typing`. [Typing notifications](https://spec.matrix.org/v1.19/server-server-api/#typing-notifications).

use engine::EngineError;
use ruma::ServerName;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Federation;

/// For how long a user of another server is typing that it does not speak of again, in milliseconds.
const TYPING_FOR: u64 = 30_000;

#[derive(Deserialize)]
struct Content {
    room_id: String,
    user_id: String,
    typing: bool,
}

impl Federation {
    pub(super) async fn take_typing(&self, origin: &ServerName, content: &RawValue) -> Result<(), EngineError> {
        let Ok(Content { room_id, user_id, typing }) = serde_json::from_str(content.get()) else { return Ok(()) };
        let Some(room) = self.room_open_to(origin, &room_id).await? else { return Ok(()) };
        let Some(user) = self.member_of(origin, &room, &user_id).await? else { return Ok(()) };
        if self.engine.typing.set(room.num, user, if typing { TYPING_FOR } else { 0 }) {
            self.wake_room(&room);
        }
        Ok(())
    }
}
