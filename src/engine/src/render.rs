//! Events as a particular user gets them: many at once, with everything that belongs into `unsigned`.

use std::collections::HashSet;

use ruma::OwnedUserId;

use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    row::EventRow,
    splice::{Format, Unsigned, write_client_event},
    tables::EventNum,
    timeline::Viewer,
    writer::DELAYED,
};

/// How events are shown.
#[derive(Debug, Clone, Copy)]
pub struct Rendering<'a> {
    /// With or without `room_id`.
    pub format: Format,
    /// The reader's device, which alone gets its own transaction ids.
    pub device: Option<&'a str>,
    /// With relations bundled, but for those of these users, whom the reader ignores; `None`: without.
    pub bundle: Option<&'a HashSet<OwnedUserId>>,
}

impl Engine {
    /// Appends events, each as a JSON object, separated by commas; nothing where there are none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn render(
        &self,
        out: &mut String,
        room: &Room,
        viewer: &Viewer<'_>,
        events: &[(EventNum, EventRow)],
        how: Rendering<'_>,
    ) -> Result<(), EngineError> {
        let mut bundles = match how.bundle {
            Some(ignored) => self.bundles(room, viewer, events, ignored).await?,
            None => Vec::new(),
        };
        bundles.resize(events.len(), None);
        let now = self.now();
        for (index, ((_, row), relations)) in events.iter().zip(bundles).enumerate() {
            if index > 0 {
                out.push(',');
            }
            let replaced = match row.replaces() {
                0 => None,
                num => self.event(room.num, num).await.ok(),
            };
            let own = row.sender_num() == viewer.num;
            let own_device = own && how.device.is_some_and(|device| !device.is_empty() && device == row.device());
            let unsigned = Unsigned {
                now,
                own_device,
                own_delayed: own && row.device() == DELAYED,
                membership: Some(self.membership_seen(room.num, viewer, row).await?.as_str()),
                relations,
                redacted_because: self.redaction_of(room, row).await?,
                invite_state: None,
            };
            write_client_event(out, row, room.id.as_str(), how.format, &unsigned, replaced.as_ref());
        }
        Ok(())
    }

    /// An event as who is no user of the room gets it, such as an application service: a JSON object with the room's id, and with
    /// `invite_state`, a JSON array, where it is an invitation to be shown with what is said of the room.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn render_alone(
        &self,
        room: &Room,
        row: &EventRow,
        invite_state: Option<String>,
    ) -> Result<String, EngineError> {
        let replaced = match row.replaces() {
            0 => None,
            num => self.event(room.num, num).await.ok(),
        };
        let redacted_because = self.redaction_of(room, row).await?;
        let unsigned = Unsigned { now: self.now(), redacted_because, invite_state, ..Unsigned::default() };
        let mut out = String::new();
        write_client_event(&mut out, row, room.id.as_str(), Format::WithRoomId, &unsigned, replaced.as_ref());
        Ok(out)
    }

    async fn redaction_of(&self, room: &Room, row: &EventRow) -> Result<Option<String>, EngineError> {
        let Some(by) = row.redacted_by() else { return Ok(None) };
        let Some(num) = self.find_event(room.num, by).await? else { return Ok(None) };
        let redaction = self.event(room.num, num).await?;
        let mut out = String::new();
        let unsigned = Unsigned { now: self.now(), ..Unsigned::default() };
        write_client_event(&mut out, &redaction, room.id.as_str(), Format::WithRoomId, &unsigned, None);
        Ok(Some(out))
    }
}
