//! What a sync says about encryption: messages to the device, whose devices changed, and what is left of one's own keys.
//! [Extensions to /sync](https://spec.matrix.org/v1.19/client-server-api/#e2e-extensions-to-sync).

use std::collections::BTreeSet;

use http_kit::Requester;
use serde_json::json;
use users::encryption::{Inbox, KeyCounts};

use super::{assemble::Window, device_lists::DeviceLists};
use crate::{ApiError, App, page::SyncToken};

/// Messages in one response, at most.
const MAX_MESSAGES: usize = 100;

pub(super) struct EncryptionNews {
    lists: DeviceLists,
    inbox: Inbox,
    counts: Option<KeyCounts>,
    counts_moved: bool,
}

impl EncryptionNews {
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.inbox.events.is_empty() && !self.counts_moved
    }

    /// The token of the response: where messages are left over, it says so.
    pub(super) fn token(&self, to: SyncToken) -> SyncToken {
        SyncToken { to_device: self.inbox.cut_at, ..to }
    }

    /// Appends the fields.
    pub(super) fn write(&self, out: &mut String) {
        let DeviceLists { changed, left } = &self.lists;
        let lists = if self.lists.is_empty() { json!({}) } else { json!({"changed": changed, "left": left}) };
        out.push_str(&format!(",\"device_lists\":{lists}"));
        let (none, nothing) = (BTreeSet::new(), std::collections::BTreeMap::new());
        let (counts, fallback) =
            self.counts.as_ref().map_or((&nothing, &none), |counts| (&counts.counts, &counts.unused_fallback));
        out.push_str(&format!(",\"device_one_time_keys_count\":{}", json!(counts)));
        out.push_str(&format!(",\"device_unused_fallback_key_types\":{}", json!(fallback)));
        out.push_str(",\"to_device\":{\"events\":[");
        for (nth, event) in self.inbox.events.iter().enumerate() {
            if nth > 0 {
                out.push(',');
            }
            out.push_str(&String::from_utf8_lossy(event));
        }
        out.push_str("]}");
    }
}

impl App {
    pub(super) async fn encryption_news(
        &self,
        requester: &Requester,
        window: &Window,
    ) -> Result<EncryptionNews, ApiError> {
        let (user, to) = (requester.user, window.to.pos);
        let lists = match window.since {
            Some(since) => self.device_lists(user, since.pos, to, &window.rooms).await?,
            None => DeviceLists::default(),
        };
        let Some(device) = requester.device_id.as_deref() else {
            return Ok(EncryptionNews { lists, inbox: Inbox::default(), counts: None, counts_moved: false });
        };
        let after = window.since.map_or(0, |since| since.messages());
        let inbox = self.users.to_device.read(user, device, after, to, MAX_MESSAGES).await?;
        let counts = self.users.keys.counts(user, device).await?;
        let counts_moved = window.since.is_some_and(|since| counts.pos > since.pos);
        Ok(EncryptionNews { lists, inbox, counts: Some(counts), counts_moved })
    }

    /// A client that comes back with a token has what came with it.
    pub(super) async fn confirm_messages(
        &self,
        requester: &Requester,
        since: Option<SyncToken>,
    ) -> Result<(), ApiError> {
        if let (Some(device), Some(since)) = (requester.device_id.as_deref(), since) {
            self.users.to_device.confirm(requester.user, device, since.messages()).await?;
        }
        Ok(())
    }
}
