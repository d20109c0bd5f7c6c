//! What the extensions say of encryption: messages to the device, whose devices changed, and what is left of one's own keys.

use http_kit::{MatrixError, Requester};
use serde_json::json;

use super::request::Extensions;
use crate::{
    ApiError, App,
    sync::{assemble::Window, device_lists::DeviceLists},
};

/// Messages in one response, at most.
const MAX_MESSAGES: usize = 100;

/// Each as the value of its field; `None` where there is no news.
#[derive(Default)]
pub(super) struct Encryption {
    pub(super) to_device: Option<String>,
    pub(super) e2ee: Option<String>,
}

/// The token up to which the client has its messages.
fn since(asked: &Extensions) -> Result<Option<u64>, MatrixError> {
    let refused = |_| MatrixError::invalid_param("since", "not a token of this extension");
    asked.to_device.since.as_deref().map(str::parse).transpose().map_err(refused)
}

impl App {
    /// Lets go of messages that the client says it has.
    pub(super) async fn confirm_slid_messages(
        &self,
        asked: &Extensions,
        requester: &Requester,
    ) -> Result<(), ApiError> {
        if let (true, Some(since), Some(device)) = (asked.to_device.enabled, since(asked)?, &requester.device_id) {
            self.users.to_device.confirm(requester.user, device, since).await?;
        }
        Ok(())
    }

    pub(super) async fn slide_encryption(
        &self,
        asked: &Extensions,
        window: &Window,
        requester: &Requester,
    ) -> Result<Encryption, ApiError> {
        let mut out = Encryption::default();
        if asked.to_device.enabled {
            out.to_device = self.slide_messages(asked, window, requester).await?;
        }
        if asked.e2ee.enabled {
            out.e2ee = self.slide_keys(window, requester).await?;
        }
        Ok(out)
    }

    /// Messages behind the token that the client gives, which it has up to there.
    async fn slide_messages(
        &self,
        asked: &Extensions,
        window: &Window,
        requester: &Requester,
    ) -> Result<Option<String>, ApiError> {
        let Some(device) = requester.device_id.as_deref() else { return Ok(None) };
        let since = since(asked)?;
        let limit = asked.to_device.limit.unwrap_or(MAX_MESSAGES).clamp(1, MAX_MESSAGES);
        let to = window.to.pos;
        let inbox = self.users.to_device.read(requester.user, device, since.unwrap_or_default(), to, limit).await?;
        if inbox.events.is_empty() && since.is_some() {
            return Ok(None);
        }
        let events: Vec<_> = inbox.events.iter().map(|event| String::from_utf8_lossy(event)).collect();
        let next = inbox.cut_at.unwrap_or(to);
        Ok(Some(format!("{{\"next_batch\":\"{next}\",\"events\":[{}]}}", events.join(","))))
    }

    async fn slide_keys(&self, window: &Window, requester: &Requester) -> Result<Option<String>, ApiError> {
        let since = window.since.map(|since| since.pos);
        let lists = match since {
            Some(since) => self.device_lists(requester.user, since, window.to.pos, &window.rooms).await?,
            None => DeviceLists::default(),
        };
        let counts = match requester.device_id.as_deref() {
            Some(device) => Some(self.users.keys.counts(requester.user, device).await?),
            None => None,
        };
        let moved = counts.as_ref().is_some_and(|counts| since.is_none_or(|since| counts.pos > since));
        if lists.is_empty() && !moved {
            return Ok(None);
        }
        let mut e2ee = json!({"device_lists": {"changed": lists.changed, "left": lists.left}});
        if let Some(counts) = counts {
            e2ee["device_one_time_keys_count"] = json!(counts.counts);
            e2ee["device_unused_fallback_key_types"] = json!(counts.unused_fallback);
        }
        Ok(Some(e2ee.to_string()))
    }
}
