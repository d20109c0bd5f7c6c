//! Pushers: who wants to be notified where.
//! [`/pushers`](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset).

use std::sync::Arc;

use ruma::{
    DeviceId, OwnedDeviceId,
    api::client::push::{Pusher, PusherKind},
    push::{HttpPusherData, PushFormat},
};
use serde::{Deserialize, Serialize};
use store::{Db, Json, Op, Page};
use url::Url;
use users::{UserNum, UsersError, devices::DeleteHook};

use crate::{
    Notify, NotifyError, Result,
    tables::{PROGRESS, PUSHER_KEYS, PUSHERS, Progress, PusherNum},
};

/// Pushers of a user, at most.
const MAX_PUSHERS: usize = 50;
/// Pushers of others with the same app and pushkey that one takes the place of; more there are hardly ever.
const MAX_OTHERS: usize = 100;
/// `app_id`, in characters.
const MAX_APP_ID: usize = 64;
/// `pushkey`, in bytes.
const MAX_PUSHKEY: usize = 512;
/// Names that people see, in bytes.
const MAX_NAME: usize = 1024;
/// `lang` and `profile_tag`, in bytes.
const MAX_TAG: usize = 255;
/// All of `data` as JSON, in bytes: most of it goes along with every notification.
const MAX_DATA: usize = 4096;
/// The only path that a gateway's URL may have.
const PATH: &str = "/_matrix/push/v1/notify";

/// A pusher as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PusherRow {
    pub(crate) pusher: Pusher,
    /// The device that set it last; it goes when that goes.
    pub(crate) device: OwnedDeviceId,
    /// When it was set last, in Unix milliseconds.
    pub(crate) set_ts: u64,
}

impl PusherRow {
    /// The operations that delete a pusher.
    fn deletion(&self, user: UserNum, num: PusherNum) -> [Op; 3] {
        deletion(user, num, &self.pusher.ids.app_id, &self.pusher.ids.pushkey)
    }

    /// What it sends, and where to.
    pub(crate) fn http(&self) -> Option<(&HttpPusherData, Url)> {
        let PusherKind::Http(data) = &self.pusher.kind else { return None };
        Some((data, Url::parse(&data.url).ok()?))
    }
}

fn deletion(user: UserNum, num: PusherNum, app_id: &str, pushkey: &str) -> [Op; 3] {
    let key = (user, num);
    let by_name = PUSHER_KEYS.delete(&(app_id.to_owned(), pushkey.to_owned(), user));
    [PUSHERS.delete(&key), PROGRESS.delete(&key), by_name]
}

/// Deletes the pushers of a device in the commit that deletes the device.
pub(crate) fn delete_hook(db: &Arc<Db>) -> DeleteHook {
    let db = Arc::clone(db);
    Arc::new(move |user, device| {
        let (db, device) = (Arc::clone(&db), device.to_owned());
        Box::pin(async move {
            let rows = db.scan_all(&PUSHERS, &user).await?;
            let own = rows.into_iter().filter(|(_, Json(row))| row.device == device);
            Ok(own.flat_map(|((_, num), Json(row))| row.deletion(user, num)).collect())
        })
    })
}

impl Notify {
    /// A user's pushers, in the order in which they were made.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, user: UserNum) -> Result<Vec<Pusher>> {
        let rows = self.db.scan_all(&PUSHERS, &user).await?;
        Ok(rows.into_iter().map(|(_, Json(row))| row.pusher).collect())
    }

    /// Makes a pusher of a device, or changes the one with the same app and pushkey. Those of other users with the same are deleted, unless it
    /// is to be one more (`append`).
    ///
    /// # Errors
    /// [`NotifyError::Invalid`], [`NotifyError::TooMany`], [`NotifyError::DeviceGone`], and those of the store.
    pub async fn set(&self, user: UserNum, device: &DeviceId, pusher: Pusher, append: bool) -> Result<()> {
        let url = checked(&pusher)?;
        self.gateway.allows(&url).map_err(|why| invalid("data.url", why))?;
        let held = self.users.devices.hold(user, Some(device)).await.map_err(|error| match error {
            UsersError::DeviceNotFound => NotifyError::DeviceGone,
            other => other.into(),
        })?;
        let (app_id, pushkey) = (pusher.ids.app_id.clone(), pusher.ids.pushkey.clone());
        let key = (app_id, pushkey, user);
        let known = self.db.get(&PUSHER_KEYS, &key).await?;
        let page = Page::first(MAX_PUSHERS);
        if known.is_none() && self.db.scan_prefix(&PUSHERS, &user, page).await?.len() >= MAX_PUSHERS {
            return Err(NotifyError::TooMany(MAX_PUSHERS));
        }
        let others = if append { Vec::new() } else { self.of_others(&key).await? };
        let row = PusherRow { pusher, device: device.to_owned(), set_ts: self.clock.now_ms() };
        let written = self.users.devices.commit_held(held, |pos, write| {
            let num = known.unwrap_or(pos);
            write.put(&PUSHERS, &(user, num), &Json(row)).put(&PUSHER_KEYS, &key, &num);
            if known.is_none() {
                write.put(&PROGRESS, &(user, num), &Json(Progress { pos, ..Progress::default() }));
            }
            write.ops(others);
        });
        let pos = written.await?;
        match known {
            // Perhaps it has a new address, or its gateway is back: no need to wait for its time.
            Some(num) => self.queue.try_now(user, num),
            None => self.queue.add(user, pos, pos),
        }
        Ok(())
    }

    /// Deletes a pusher of a user; one that is not there is no error.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete(&self, user: UserNum, app_id: &str, pushkey: &str) -> Result<()> {
        let held = self.users.devices.hold(user, None).await?;
        let key = (app_id.to_owned(), pushkey.to_owned(), user);
        if let Some(num) = self.db.get(&PUSHER_KEYS, &key).await? {
            let ops = deletion(user, num, app_id, pushkey);
            self.users.devices.commit_held(held, |_, write| _ = write.ops(ops)).await?;
            self.queue.remove(user, num);
        }
        Ok(())
    }

    /// Deletes a pusher whose pushkey its gateway rejected, unless it was set anew since.
    pub(crate) async fn delete_rejected(&self, user: UserNum, num: PusherNum, row: &PusherRow) -> Result<()> {
        let mut write = self.db.write();
        write.require(PUSHERS.equals(&(user, num), &Json(row.clone()))).ops(row.deletion(user, num));
        Ok(write.commit().await?)
    }

    async fn of_others(&self, key: &(String, String, UserNum)) -> Result<Vec<Op>> {
        let (app_id, pushkey, user) = key;
        let names = (app_id.clone(), pushkey.clone());
        let rows = self.db.scan_prefix(&PUSHER_KEYS, &names, Page::first(MAX_OTHERS)).await?;
        let others = rows.into_iter().filter(|((_, _, other), _)| other != user);
        Ok(others.flat_map(|((_, _, other), num)| deletion(other, num, app_id, pushkey)).collect())
    }
}

fn invalid(field: &'static str, why: impl Into<String>) -> NotifyError {
    NotifyError::Invalid { field, why: why.into() }
}

/// Whether a pusher is one that this server can serve; the URL of its gateway.
fn checked(pusher: &Pusher) -> Result<Url> {
    let longest = |field, length: usize, limit: usize| {
        if length <= limit { Ok(()) } else { Err(invalid(field, format!("longer than {limit}"))) }
    };
    let ids = &pusher.ids;
    if ids.app_id.is_empty() || ids.pushkey.is_empty() {
        return Err(invalid(if ids.app_id.is_empty() { "app_id" } else { "pushkey" }, "empty"));
    }
    longest("app_id", ids.app_id.chars().count(), MAX_APP_ID)?;
    longest("pushkey", ids.pushkey.len(), MAX_PUSHKEY)?;
    longest("app_display_name", pusher.app_display_name.len(), MAX_NAME)?;
    longest("device_display_name", pusher.device_display_name.len(), MAX_NAME)?;
    longest("lang", pusher.lang.len(), MAX_TAG)?;
    longest("profile_tag", pusher.profile_tag.as_deref().map_or(0, str::len), MAX_TAG)?;
    let PusherKind::Http(data) = &pusher.kind else {
        return Err(invalid("kind", "this server has pushers of the kind http only"));
    };
    longest("data", serde_json::to_vec(data)?.len(), MAX_DATA)?;
    // A format that is not known here may be one that is to keep something from the gateway.
    if data.format.as_ref().is_some_and(|format| *format != PushFormat::EventIdOnly) {
        return Err(invalid("data.format", "event_id_only, or nothing"));
    }
    let url = Url::parse(&data.url).map_err(|error| invalid("data.url", error.to_string()))?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() != "https" || url.path() != PATH || !plain || url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("data.url", format!("an HTTPS URL with the path {PATH}")));
    }
    Ok(url)
}
