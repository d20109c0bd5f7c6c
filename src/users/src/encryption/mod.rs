//! End-to-end encryption, as far as a server has to do with it: keys of devices and users, their signatures, backups of room keys,
//! messages from device to device, and who has to look at whose devices again.
//! [End-to-End Encryption](https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption).
//!
//! Signed objects are kept as they were uploaded, with all of their fields: what was signed must not change. Signatures that came
//! later stand in rows of their own and are added when somebody asks, each for those who may see it.

mod backup;
mod cross_signing;
mod inbox;
mod keys;
mod lists;
mod objects;
mod remote;
mod rows;
mod signatures;
mod waiting;

pub use self::{
    backup::{Backup, BackupState, Backups, SessionKey},
    cross_signing::{CrossSigning, CrossSigningKeys},
    inbox::{Addressed, Inbox, Messages, ToDevice, Transaction},
    keys::{Keys, Upload, UserKeys, Viewer},
    lists::{DeviceLists, OutgoingWatcher, Sharers},
    remote::{DeviceUpdate, RemoteDevices, RemoteList},
    rows::{KeyCounts, ListUpdate, OutgoingEdu, RemoteDevice},
    signatures::Failures,
};
pub(crate) use self::{
    keys::{deletion_of_account, deletion_of_device, key_id_of},
    rows::{BackupRow, FallbackRow, ListRow, RemoteListRow, StreamEntry},
    waiting::Waiting,
};

/// A JSON object with whatever fields it has.
pub type Object = serde_json::Map<String, serde_json::Value>;

/// An id's length in bytes, at most.
const MAX_ID: usize = 255;
/// A key's length as JSON, in bytes, at most.
const MAX_KEY: usize = 64 * 1024;

#[cfg(test)]
mod tests;
