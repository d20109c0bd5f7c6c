//! All tables of this crate: bytes 32 to 95 of the keyspace Index, 32 to 63 of Orders.
//!
//! Index 64 to 69, 72 to 95 (of which 72 and 73 are the engine's) and Orders 40 to 63 are kept free for end-to-end encryption keys, device lists and to-device messages.

use bytes::{BufMut, Bytes, BytesMut};
use store::{Json, Keyspace, Pos, Table, Value};

use crate::{
    accounts::AccountRow,
    devices::{DeviceRow, Seen},
    hash::Hash,
    openid::OpenIdRow,
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
