//! All tables of this crate: bytes 32 to 95 of the keyspace Index, 32 to 63 of Orders.
//!
//! Of these, Index 64, 65, 72 to 75 and 78 to 85 belong to the engine and to federation.

use bytes::{BufMut, Bytes, BytesMut};
use store::{Json, Keyspace, Pos, Table, Value};

use crate::{
    accounts::AccountRow,
    delayed::Delayed,
    devices::{DeviceRow, Seen},
    encryption::{
        BackupRow, FallbackRow, KeyCounts, ListRow, ListUpdate, Object, OutgoingEdu, RemoteDevice, RemoteListRow,
        StreamEntry, Waiting,
    },
    hash::Hash,
    openid::OpenIdRow,
    reports::Report,
    threads::ThreadRow,
    tokens::{LoginTokenRow, TokenRow},
    unread::Counts,
};

/// The interned number of a user: key of every table here, and the user's wake key.
pub type UserNum = u64;

/// The interned number of a room. Numbers begin at 1.
pub type RoomNum = u64;

/// Stands for "no room" where account data is keyed by room.
pub(crate) const GLOBAL: RoomNum = 0;

pub(crate) const ACCOUNTS: Table<UserNum, Json<AccountRow>> = Table::new(Keyspace::Index, 32, "accounts");
/// Lower-case localpart → user.
pub(crate) const LOCALPARTS: Table<String, UserNum> = Table::new(Keyspace::Index, 33, "localparts");
pub(crate) const DEVICES: Table<(UserNum, String), Json<DeviceRow>> = Table::new(Keyspace::Index, 34, "devices");
pub(crate) const DEVICE_SEEN: Table<(UserNum, String), Json<Seen>> = Table::new(Keyspace::Index, 35, "device_seen");
/// SHA-256 of a token → what it opens.
pub(crate) const TOKENS: Table<Hash, Json<TokenRow>> = Table::new(Keyspace::Index, 36, "tokens");
pub(crate) const DEVICE_TOKENS: Table<(UserNum, String, Hash), ()> = Table::new(Keyspace::Index, 37, "device_tokens");
pub(crate) const LOGIN_TOKENS: Table<Hash, Json<LoginTokenRow>> = Table::new(Keyspace::Index, 38, "login_tokens");
/// Login tokens by their end (Unix ms), so that expired ones can be swept.
pub(crate) const LOGIN_TOKEN_ENDS: Table<(u64, Hash), ()> = Table::new(Keyspace::Index, 39, "login_token_ends");
pub(crate) const PROFILES: Table<(UserNum, String), Bytes> = Table::new(Keyspace::Index, 40, "profiles");
/// (user, room or [`GLOBAL`], type) → content and the position it was set at.
pub(crate) const ACCOUNT_DATA: Table<(UserNum, RoomNum, String), AccountDataRow> =
    Table::new(Keyspace::Index, 41, "account_data");
pub(crate) const FILTERS: Table<(UserNum, u64), String> = Table::new(Keyspace::Index, 42, "filters");
/// SHA-256 of a filter's text → its number.
pub(crate) const FILTER_HASHES: Table<(UserNum, Hash), u64> = Table::new(Keyspace::Index, 43, "filter_hashes");
/// OpenID tokens: whose, and until when in Unix milliseconds.
pub(crate) const OPENID_TOKENS: Table<Hash, Json<OpenIdRow>> = Table::new(Keyspace::Index, 70, "openid_tokens");
/// The same by their ends, so that expired ones are found.
pub(crate) const OPENID_ENDS: Table<(u64, Hash), ()> = Table::new(Keyspace::Index, 71, "openid_ends");
pub(crate) const UNREAD: Table<(UserNum, RoomNum), Json<Counts>> = Table::new(Keyspace::Index, 44, "unread");

/// Identity keys of local devices, as they were uploaded.
pub(crate) const DEVICE_KEYS: Table<(UserNum, String), Json<Object>> = Table::new(Keyspace::Index, 45, "device_keys");
/// One-time keys, in the order in which they are given away: (user, device, algorithm, position of the upload, key id).
pub(crate) const ONE_TIME_KEYS: Table<(UserNum, String, String, Pos, String), Json<serde_json::Value>> =
    Table::new(Keyspace::Index, 46, "one_time_keys");
/// (user, device, algorithm)
pub(crate) const FALLBACK_KEYS: Table<(UserNum, String, String), Json<FallbackRow>> =
    Table::new(Keyspace::Index, 47, "fallback_keys");
/// What `/sync` says of a device's one-time and fallback keys.
pub(crate) const KEY_COUNTS: Table<(UserNum, String), Json<KeyCounts>> = Table::new(Keyspace::Index, 48, "key_counts");
/// Cross-signing keys, of remote users those that are known: (user, `master`, `self_signing` or `user_signing`).
pub(crate) const CROSS_SIGNING_KEYS: Table<(UserNum, String), Json<Object>> =
    Table::new(Keyspace::Index, 49, "cross_signing_keys");
/// Signatures by local users: (whose key, its id, who signed, with which key).
pub(crate) const SIGNATURES: Table<(UserNum, String, UserNum, String), String> =
    Table::new(Keyspace::Index, 50, "signatures");
/// Versions of key backups; deleted ones stay as rows, so that no version comes twice.
pub(crate) const BACKUPS: Table<(UserNum, u64), Json<BackupRow>> = Table::new(Keyspace::Index, 51, "backups");
/// (user, version, room, session)
pub(crate) const BACKUP_KEYS: Table<(UserNum, u64, String, String), Bytes> =
    Table::new(Keyspace::Index, 52, "backup_keys");
/// Where the list of a user's devices, or what is known of a key of theirs, changed last.
pub(crate) const DEVICE_LISTS: Table<UserNum, Json<ListRow>> = Table::new(Keyspace::Index, 53, "device_lists");
/// What is known of the devices of remote users.
pub(crate) const REMOTE_LISTS: Table<UserNum, Json<RemoteListRow>> = Table::new(Keyspace::Index, 54, "remote_lists");
pub(crate) const REMOTE_DEVICES: Table<(UserNum, String), Json<RemoteDevice>> =
    Table::new(Keyspace::Index, 55, "remote_devices");
/// To-device messages sent with a transaction id: (user, device, type and id) → where.
pub(crate) const TO_DEVICE_TXNS: Table<(UserNum, String, String), Pos> =
    Table::new(Keyspace::Index, 56, "to_device_txns");
/// To-device messages of other servers that were taken in: (server, message id) → where.
pub(crate) const REMOTE_MESSAGES: Table<(String, String), Pos> = Table::new(Keyspace::Index, 57, "remote_messages");

/// What users reported, by number: the position at which it was.
pub(crate) const REPORTS: Table<Pos, Json<Report>> = Table::new(Keyspace::Index, 60, "reports");
/// The same by reporter.
pub(crate) const REPORTS_OF: Table<(UserNum, Pos), ()> = Table::new(Keyspace::Index, 61, "reports_of");

/// What users said of threads: (user, room, root).
pub(crate) const THREADS: Table<(UserNum, RoomNum, String), Json<ThreadRow>> =
    Table::new(Keyspace::Index, 89, "threads");
/// The same by the position at which it was said.
pub(crate) const THREAD_STREAM: Table<(UserNum, Pos), Json<(RoomNum, String)>> =
    Table::new(Keyspace::Orders, 41, "thread_stream");

/// Events that are to be sent later, and for a while those that were, by the id that their users know.
pub(crate) const DELAYED: Table<String, Json<Delayed>> = Table::new(Keyspace::Index, 86, "delayed");
/// The same by user, whether they wait (0) or not (1), when there is something to do about them, and when they were asked for.
pub(crate) const DELAYED_OF: Table<(UserNum, u8, u64, Pos, String), ()> = Table::new(Keyspace::Index, 87, "delayed_of");
/// Which request made one: (user, device, path).
pub(crate) const DELAYED_TXNS: Table<(UserNum, String, String), String> =
    Table::new(Keyspace::Index, 88, "delayed_txns");
/// When there is something to do about them, in Unix milliseconds, and when they were asked for.
pub(crate) const DELAYED_DUE: Table<(u64, Pos, UserNum, String), ()> = Table::new(Keyspace::Orders, 40, "delayed_due");

/// Changes of device lists. Of those that everybody sees, one row a user: the newest.
pub(crate) const DEVICE_LIST_STREAM: Table<Pos, Json<StreamEntry>> =
    Table::new(Keyspace::Orders, 33, "device_list_stream");
/// To-device messages that a device did not confirm yet.
pub(crate) const INBOX: Table<(UserNum, String, Pos), Bytes> = Table::new(Keyspace::Orders, 34, "inbox");
/// The same by who sent them and how large they are.
pub(crate) const INBOX_SIZES: Table<(UserNum, String, Pos), Json<Waiting>> =
    Table::new(Keyspace::Orders, 48, "inbox_sizes");
pub(crate) const TO_DEVICE_TXN_ORDER: Table<(UserNum, String, Pos), String> =
    Table::new(Keyspace::Orders, 35, "to_device_txn_order");
pub(crate) const REMOTE_MESSAGE_ORDER: Table<(String, Pos), String> =
    Table::new(Keyspace::Orders, 36, "remote_message_order");
/// Changes of local users' device lists of which no server was told yet.
pub const LIST_UPDATES: Table<Pos, Json<ListUpdate>> = Table::new(Keyspace::Orders, 37, "list_updates");
/// To-device messages and changes of device lists on their way to other servers: (the server's number, the position).
pub const EDUS_OUT: Table<(u64, Pos), Json<OutgoingEdu>> = Table::new(Keyspace::Orders, 38, "edus_out");

/// (user, position) → the item that was set there last.
pub(crate) const ACCOUNT_DATA_STREAM: Table<(UserNum, Pos), AccountDataKey> =
    Table::new(Keyspace::Orders, 32, "account_data_stream");

/// Which item of a user's account data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountDataKey {
    pub(crate) room: RoomNum,
    pub(crate) event_type: String,
}

impl Value for AccountDataKey {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(8 + self.event_type.len());
        out.put_u64(self.room);
        out.put_slice(self.event_type.as_bytes());
        out.freeze()
    }
    fn decode(bytes: Bytes) -> Result<Self, String> {
        let (room, event_type) = bytes.split_first_chunk::<8>().ok_or("too short")?;
        let event_type = std::str::from_utf8(event_type).map_err(|error| error.to_string())?;
        Ok(Self { room: u64::from_be_bytes(*room), event_type: event_type.to_owned() })
    }
}

/// One item of account data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountDataRow {
    /// The stream position it was set at.
    pub(crate) pos: Pos,
    /// A removed item stays as a row with `{}`, so that incremental syncs learn of it.
    pub(crate) deleted: bool,
    /// The JSON text of its content.
    pub(crate) content: Bytes,
}

impl Value for AccountDataRow {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(9 + self.content.len());
        out.put_u64(self.pos);
        out.put_u8(u8::from(self.deleted));
        out.put_slice(&self.content);
        out.freeze()
    }
    fn decode(bytes: Bytes) -> Result<Self, String> {
        let (head, _) = bytes.split_first_chunk::<9>().ok_or("too short")?;
        let (pos, deleted) = head.split_first_chunk::<8>().ok_or("too short")?;
        Ok(Self { pos: u64::from_be_bytes(*pos), deleted: deleted == [1], content: bytes.slice(9..) })
    }
}
