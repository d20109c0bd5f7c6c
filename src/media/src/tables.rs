//! All tables of this crate: bytes 128 to 143 of the keyspace Index.

use serde::{Deserialize, Serialize};
use store::{Json, Keyspace, Table};

/// Media of this server by their ids.
pub(crate) const MEDIA: Table<String, Json<MediaRow>> = Table::new(Keyspace::Index, 128, "media");
/// (owner, id) of what is reserved and not uploaded → when that ends, in Unix milliseconds.
pub(crate) const PENDING: Table<(u64, String), u64> = Table::new(Keyspace::Index, 129, "media_pending");
/// (server, id) of media of other servers that are kept here.
pub(crate) const REMOTE: Table<(String, String), Json<RemoteRow>> = Table::new(Keyspace::Index, 130, "media_remote");
/// (last use in Unix milliseconds, server, id) of the same → its size in bytes.
pub(crate) const REMOTE_USED: Table<(u64, String, String), u64> = Table::new(Keyspace::Index, 131, "media_remote_used");
/// (server, id, variant) → the thumbnail.
pub(crate) const THUMBNAILS: Table<(String, String, String), Json<ThumbnailRow>> =
    Table::new(Keyspace::Index, 132, "media_thumbnails");
/// Objects that no other row names, being written or about to be removed → the run of the server that does so.
pub(crate) const LOOSE: Table<String, u64> = Table::new(Keyspace::Index, 133, "media_loose");

/// A user's number → the bytes of their files; none where they were not counted yet.
pub(crate) const STORED: Table<u64, u64> = Table::new(Keyspace::Index, 134, "media_stored");

/// Content, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    /// The name of the object with the bytes.
    pub(crate) object: String,
    /// In bytes.
    pub(crate) size: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub(crate) sha256: String,
    pub(crate) content_type: String,
    pub(crate) filename: Option<String>,
}

/// One of this server's media.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MediaRow {
    /// The user's number.
    pub(crate) owner: u64,
    /// Unix milliseconds.
    pub(crate) created_ms: u64,
    /// Whether it can be had at the deprecated paths, which ask for no login.
    pub(crate) open: bool,
    pub(crate) state: State,
}

/// What has become of an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It waits for its upload, until then (Unix milliseconds).
    Reserved { expires_ms: u64 },
    /// It is there.
    Complete(File),
    /// It is kept from everybody.
    Quarantined(File),
}

/// One of another server's media.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemoteRow {
    pub(crate) file: File,
    /// Unix milliseconds.
    pub(crate) fetched_ms: u64,
    /// Unix milliseconds; the time of its row in [`REMOTE_USED`].
    pub(crate) used_ms: u64,
    /// As in [`MediaRow`]; decided when it was fetched.
    pub(crate) open: bool,
    /// Whether it is kept from everybody.
    pub(crate) quarantined: bool,
}

/// A thumbnail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ThumbnailRow {
    /// The picture is small enough to be its own thumbnail. This is its real type.
    Original { content_type: String },
    /// It was made.
    Made { object: String, size: u64, content_type: String },
}
