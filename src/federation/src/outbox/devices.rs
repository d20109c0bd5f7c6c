//! To-device messages and changes of device lists of local users, as they go into a transaction. Each stands in a row since it was
//! sent or made, so that neither a restart nor an outage loses it.
//! [Send-to-device messaging](https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging),
//! [Device Management](https://spec.matrix.org/v1.19/server-server-api/#device-management).

use std::collections::BTreeSet;

use engine::{EngineError, Membership, RoomNum, ServerNum, UserNum};
use ruma::{DeviceId, OwnedUserId};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use store::{Json, Page, Pos};
use users::{
    EDUS_OUT, LIST_UPDATES, UsersError,
    encryption::{ListUpdate, OutgoingEdu},
};

use super::{Outbox, OutboxError};

/// Of the EDUs of a transaction, those of this kind.
pub(super) const MAX_DEVICE_EDUS: usize = 40;
/// Their bytes, about.
const MAX_BYTES: usize = 512 << 10;
/// Changes of lists queued for a destination that is down: of more, the oldest go, which it finds out by what the next one follows on.
const MAX_LIST_UPDATES: usize = 1000;
/// Messages that wait for one that is down: of more, the oldest go.
const MAX_MESSAGES: usize = 50_000;
/// Devices that are announced when their user enters a room.
const MAX_ANNOUNCED: usize = 100;
/// Changes that are looked at in one go.
const PAGE: usize = 100;

/// EDUs of one transaction.
#[derive(Debug, Default)]
pub(super) struct DeviceEdus {
    /// As they go into it.
    pub(super) edus: Vec<Box<RawValue>>,
    /// Where they are queued, and those that need not be told any more.
    pub(super) taken: Vec<Pos>,
}

impl Outbox {
    /// What is queued for a destination from a position on, in its order, as much as fits into a transaction. Rows before the first that
    /// is worth telling are deleted.
    pub(super) async fn device_edus(&self, server: ServerNum, mut from: Pos) -> Result<DeviceEdus, OutboxError> {
        loop {
            let mut out = DeviceEdus::default();
            let mut bytes = 0;
            let end = (server.saturating_add(1), 0u64);
            let rows = self.db.scan(&EDUS_OUT, &(server, from), &end, Page::first(MAX_DEVICE_EDUS)).await?;
            for ((_, pos), Json(row)) in rows {
                if let Some(edu) = self.device_edu(row).await? {
                    bytes += edu.get().len();
                    if bytes > MAX_BYTES && !out.edus.is_empty() {
                        break;
                    }
                    out.edus.push(edu);
                }
                out.taken.push(pos);
            }
            let Some(last) = out.taken.last().copied().filter(|_| out.edus.is_empty()) else { return Ok(out) };
            from = last.saturating_add(1);
            let mut write = self.db.write();
            write.ops(out.taken.iter().map(|pos| EDUS_OUT.delete(&(server, *pos))));
            write.commit().await?;
        }
    }

    async fn device_edu(&self, row: OutgoingEdu) -> Result<Option<Box<RawValue>>, OutboxError> {
        let (kind, content) = match row {
            OutgoingEdu::ToDevice(content) => {
                let text = format!("{{\"content\":{},\"edu_type\":\"m.direct_to_device\"}}", content.get());
                return Ok(Some(RawValue::from_string(text)?));
            }
            OutgoingEdu::Device { user, device, stream, prev } => {
                ("m.device_list_update", self.list_update(user, &device, stream, prev).await?)
            }
            OutgoingEdu::Signing { user } => ("m.signing_key_update", self.signing_update(user).await?),
        };
        let Some(content) = content else { return Ok(None) };
        Ok(Some(to_raw_value(&json!({"content": content, "edu_type": kind}))?))
    }

    /// A device as it is now.
    async fn list_update(
        &self,
        user: UserNum,
        device: &str,
        stream: Pos,
        prev: Option<Pos>,
    ) -> Result<Option<Value>, OutboxError> {
        let Some(user_id) = self.local_user(user).await? else { return Ok(None) };
        let mut content = json!({
            "user_id": user_id, "device_id": device, "stream_id": stream, "prev_id": Vec::from_iter(prev),
        });
        match self.users.devices.get(user, <&DeviceId>::from(device)).await {
            Ok(row) => {
                if let Some(name) = row.display_name {
                    content["device_display_name"] = name.into();
                }
                let mut keys = self.users.keys.of_user(user, &user_id, &[device.to_owned()], None).await?;
                if let Some(mut keys) = keys.devices.remove(device) {
                    keys.remove("unsigned");
                    content["keys"] = keys.into();
                }
            }
            Err(UsersError::DeviceNotFound) => content["deleted"] = true.into(),
            Err(error) => return Err(error.into()),
        }
        Ok(Some(content))
    }

    /// A user's keys as they are now.
    async fn signing_update(&self, user: UserNum) -> Result<Option<Value>, OutboxError> {
        let Some(user_id) = self.local_user(user).await? else { return Ok(None) };
        // No device has this name: the keys of devices are not wanted.
        let keys = self.users.keys.of_user(user, &user_id, &[String::new()], None).await?;
        let mut content = json!({"user_id": user_id});
        for (name, key) in [("master_key", keys.master), ("self_signing_key", keys.self_signing)] {
            if let Some(key) = key {
                content[name] = key.into();
            }
        }
        Ok(Some(content))
    }

    /// Queues changes of lists for the servers that see them, one by one, each in one commit.
    pub(super) async fn fan_out_lists(&self) -> Result<(), OutboxError> {
        loop {
            let updates = self.db.scan_prefix(&LIST_UPDATES, &(), Page::first(PAGE)).await?;
            let last = updates.len() < PAGE;
            for (pos, Json(update)) in updates {
                let (servers, edus) = self.addressed(update).await?;
                let queued = if edus.is_empty() { Vec::new() } else { servers };
                let count = if queued.is_empty() { 0 } else { edus.len() as u64 };
                let ticket = self.db.enqueue_at(count, |first, mut write| {
                    write.delete(&LIST_UPDATES, &pos);
                    for server in &queued {
                        for (at, edu) in (first..).zip(&edus) {
                            write.put(&EDUS_OUT, &(*server, at), &Json(edu.clone()));
                        }
                    }
                    write
                });
                ticket.await?;
                if !queued.is_empty() {
                    self.queues.queued(&queued);
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    /// What is to be told of a change, and to which servers.
    async fn addressed(&self, update: ListUpdate) -> Result<(Vec<ServerNum>, Vec<OutgoingEdu>), OutboxError> {
        Ok(match update {
            ListUpdate::Device { user, device, stream, prev } => {
                (self.servers_of(user).await?, vec![OutgoingEdu::Device { user, device, stream, prev: Some(prev) }])
            }
            ListUpdate::Signing { user } => (self.servers_of(user).await?, vec![OutgoingEdu::Signing { user }]),
            ListUpdate::Announce { user, room } => {
                let servers = self.servers_in(room).await?;
                let stream = self.users.device_lists.stream_id(user).await?;
                let devices = self.users.devices.list(user).await?.into_iter().take(MAX_ANNOUNCED);
                let edus = devices.map(|device| {
                    let device = device.device_id.to_string();
                    OutgoingEdu::Device { user, device, stream, prev: None }
                });
                (servers, edus.collect())
            }
        })
    }

    /// The other servers in a user's rooms.
    pub(super) async fn servers_of(&self, user: UserNum) -> Result<Vec<ServerNum>, OutboxError> {
        let mut servers = BTreeSet::new();
        for (room, place) in self.engine.user_rooms().of(user).await?.iter() {
            if place.membership == Membership::Join {
                servers.extend(self.servers_in(*room).await?);
            }
        }
        Ok(servers.into_iter().collect())
    }

    async fn servers_in(&self, room: RoomNum) -> Result<Vec<ServerNum>, OutboxError> {
        match self.engine.room_by_num(room).await {
            Ok(room) => Ok(room.info().servers.to_vec()),
            Err(EngineError::UnknownRoom) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn local_user(&self, user: UserNum) -> Result<Option<OwnedUserId>, OutboxError> {
        let id = self.engine.ids.name(store::IdKind::User, user).await?;
        let id = id.and_then(|id| OwnedUserId::try_from(&*id).ok());
        Ok(id.filter(|id| self.engine.is_local(id)))
    }

    /// Deletes, of the changes of lists queued for a destination that is down, all but the newest of each device; what is in flight stays.
    pub(super) async fn bound_device_edus(
        &self,
        server: ServerNum,
        in_flight: &BTreeSet<Pos>,
    ) -> Result<(), OutboxError> {
        let rows = self.db.scan_all(&EDUS_OUT, &server).await?;
        let (mut lists, mut messages, mut gone) = (BTreeSet::new(), 0, Vec::new());
        for ((_, pos), Json(row)) in rows.into_iter().rev() {
            if in_flight.contains(&pos) {
                continue;
            }
            let keep = match row {
                OutgoingEdu::ToDevice(_) => {
                    messages += 1;
                    messages <= MAX_MESSAGES
                }
                OutgoingEdu::Device { user, device, .. } => {
                    lists.len() < MAX_LIST_UPDATES && lists.insert((user, Some(device)))
                }
                OutgoingEdu::Signing { user } => lists.len() < MAX_LIST_UPDATES && lists.insert((user, None)),
            };
            if !keep {
                gone.push(pos);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let mut write = self.db.write();
        write.ops(gone.into_iter().map(|pos| EDUS_OUT.delete(&(server, pos))));
        Ok(write.commit().await?)
    }
}
