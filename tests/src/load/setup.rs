//! Accounts and rooms that the phases use.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderValue, Method};
use serde_json::json;
use sha1::Sha1;

use super::bytes::string_member;
use super::{LoadError, expect_ok};
use crate::http::{Conn, Endpoint, HttpError, Reply, bearer, encode};

/// Rooms under load at once.
pub const LOADED_ROOMS: usize = 16;
/// Senders in each of them.
pub const SENDERS_PER_ROOM: usize = 2;
/// Rooms of the user whose initial sync is timed.
pub const HEAVY_ROOMS: usize = 101;
/// Members of each of those rooms, that user included.
pub const HEAVY_MEMBERS: usize = 4;
/// Messages in each of those rooms.
pub const HEAVY_MESSAGES: usize = 10;

const PASSWORD: &str = "correct horse battery staple";

/// A registered user.
#[derive(Debug, Clone)]
pub struct Account {
    /// The full Matrix id.
    pub user_id: String,
    /// The `Authorization` header's value.
    pub token: HeaderValue,
}

/// The rooms of a user.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many.
    pub rooms: usize,
    /// Members of each, that user included.
    pub members: usize,
    /// Messages in each.
    pub messages: usize,
}

/// Two senders, a listener and the room they share.
#[derive(Debug)]
pub struct Hall {
    /// The room.
    pub room_id: String,
    /// Those who send.
    pub senders: Vec<Account>,
    /// The one who long-polls.
    pub listener: Account,
    /// The id of the listener's filter.
    pub filter: String,
}

/// How accounts are made, and a name that no earlier run on the same server has used.
#[derive(Debug)]
pub struct Registrar {
    endpoint: Endpoint,
    run: String,
    shared_secret: Option<String>,
}

impl Registrar {
    /// A registrar for one run. Without a shared secret it uses open registration by `m.login.dummy`.
    #[must_use]
    pub fn new(endpoint: Endpoint, shared_secret: Option<String>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { endpoint, run: format!("lt{:x}", now.as_millis()), shared_secret }
    }

    /// The server's address.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Registers `name`, made unique for this run.
    ///
    /// # Errors
    /// [`LoadError`] when the server refuses.
    pub async fn account(&self, conn: &mut Conn, name: &str) -> Result<Account, LoadError> {
        let username = format!("{}_{name}", self.run);
        let (path, body) = match &self.shared_secret {
            None => {
                let auth = json!({"type": "m.login.dummy"});
                ("/_matrix/client/v3/register", json!({"username": username, "password": PASSWORD, "auth": auth}))
            }
            Some(secret) => {
                let path = "/_synapse/admin/v1/register";
                let nonce = call(conn, Method::GET, path, None, None).await?;
                let nonce = member(path, &nonce, "nonce")?;
                let mac = registration_mac(secret, &nonce, &username)?;
                let body =
                    json!({"nonce": nonce, "username": username, "password": PASSWORD, "admin": false, "mac": mac});
                (path, body)
            }
        };
        let reply = call(conn, Method::POST, path, None, Some(body.to_string())).await?;
        account_of(path, &reply)
    }

    /// Logs a user in again, as a new device.
    ///
    /// # Errors
    /// [`LoadError`] when the server refuses.
    pub async fn new_device(&self, conn: &mut Conn, account: &Account) -> Result<Account, LoadError> {
        let path = "/_matrix/client/v3/login";
        let identifier = json!({"type": "m.id.user", "user": account.user_id});
        let body = json!({"type": "m.login.password", "identifier": identifier, "password": PASSWORD});
        let reply = call(conn, Method::POST, path, None, Some(body.to_string())).await?;
        account_of(path, &reply)
    }

    /// Makes a room with `senders` senders and one listener.
    ///
    /// # Errors
    /// [`LoadError`] when the server refuses.
    pub async fn hall(&self, conn: &mut Conn, name: &str, senders: usize) -> Result<Hall, LoadError> {
        let mut accounts = Vec::with_capacity(senders);
        for index in 0..senders {
            accounts.push(self.account(conn, &format!("{name}_s{index}")).await?);
        }
        let listener = self.account(conn, &format!("{name}_l")).await?;
        let mut members = accounts.iter();
        let owner = members.next().ok_or_else(|| LoadError::Usage("a room needs a sender".to_owned()))?;
        let room_id = create_room(conn, owner, name).await?;
        for member in members.chain([&listener]) {
            join(conn, member, &room_id).await?;
        }
        let filter = upload_filter(conn, &listener).await?;
        Ok(Hall { room_id, senders: accounts, listener, filter })
    }

    /// Makes the user with [`HEAVY_ROOMS`] rooms.
    ///
    /// # Errors
    /// [`LoadError`] when the server refuses.
    pub async fn heavy(&self, conn: &mut Conn) -> Result<Account, LoadError> {
        let shape = Shape { rooms: HEAVY_ROOMS, members: HEAVY_MEMBERS, messages: HEAVY_MESSAGES };
        self.user_with_rooms(conn, "h", shape).await
    }

    /// Makes a user with many rooms, and the others in them.
    ///
    /// # Errors
    /// [`LoadError`] when the server refuses.
    pub async fn user_with_rooms(&self, conn: &mut Conn, name: &str, shape: Shape) -> Result<Account, LoadError> {
        let mut members = Vec::with_capacity(shape.members);
        for index in 0..shape.members {
            members.push(self.account(conn, &format!("{name}{index}")).await?);
        }
        let (heavy, others) =
            members.split_first().ok_or_else(|| LoadError::Usage("a room needs a member".to_owned()))?;
        for room in 0..shape.rooms {
            let room_id = create_room(conn, heavy, &format!("heavy {room}")).await?;
            for other in others {
                join(conn, other, &room_id).await?;
            }
            let prefix = send_path(&room_id);
            for (index, sender) in members.iter().cycle().take(shape.messages).enumerate() {
                let body = json!({"msgtype": "m.text", "body": format!("line {index} of room {room}")}).to_string();
                call(conn, Method::PUT, &format!("{prefix}{name}{room}_{index}"), Some(sender), Some(body)).await?;
            }
        }
        Ok(heavy.clone())
    }
}

/// The path of a message to a room, up to the transaction id.
#[must_use]
pub fn send_path(room_id: &str) -> String {
    format!("/_matrix/client/v3/rooms/{}/send/m.room.message/", encode(room_id))
}

/// Makes a public room.
///
/// # Errors
/// [`LoadError`] when the server refuses.
pub async fn create_room(conn: &mut Conn, owner: &Account, name: &str) -> Result<String, LoadError> {
    let path = "/_matrix/client/v3/createRoom";
    let body = json!({"preset": "public_chat", "name": name}).to_string();
    let reply = call(conn, Method::POST, path, Some(owner), Some(body)).await?;
    member(path, &reply, "room_id")
}

/// Joins a room.
///
/// # Errors
/// [`LoadError`] when the server refuses.
pub async fn join(conn: &mut Conn, account: &Account, room_id: &str) -> Result<(), LoadError> {
    let path = format!("/_matrix/client/v3/join/{}", encode(room_id));
    call(conn, Method::POST, &path, Some(account), Some("{}".to_owned())).await.map(drop)
}

/// A client's usual filter, with a timeline long enough that no burst between two polls is cut off.
async fn upload_filter(conn: &mut Conn, account: &Account) -> Result<String, LoadError> {
    let path = format!("/_matrix/client/v3/user/{}/filter", encode(&account.user_id));
    let body = json!({"room": {"timeline": {"limit": 500}, "state": {"lazy_load_members": true}}}).to_string();
    let reply = call(conn, Method::POST, &path, Some(account), Some(body)).await?;
    member(&path, &reply, "filter_id")
}

/// One request that must be answered with 200.
///
/// # Errors
/// [`LoadError`] for a broken connection and for any other status.
pub async fn call(
    conn: &mut Conn,
    method: Method,
    path: &str,
    account: Option<&Account>,
    body: Option<String>,
) -> Result<Reply, LoadError> {
    let token = account.map(|account| &account.token);
    let reply = conn.call(method, path, token, body.map(Bytes::from)).await?;
    expect_ok(path, reply)
}

/// A string member of an answer.
///
/// # Errors
/// [`LoadError::Missing`] when it is not there.
pub fn member(path: &str, reply: &Reply, field: &'static str) -> Result<String, LoadError> {
    let found = string_member(&reply.body, field).map(str::to_owned);
    found.ok_or_else(|| LoadError::Missing { path: path.to_owned(), field })
}

fn account_of(path: &str, reply: &Reply) -> Result<Account, LoadError> {
    let token = bearer(&member(path, reply, "access_token")?)?;
    Ok(Account { user_id: member(path, reply, "user_id")?, token })
}

/// HMAC-SHA1 over the fields joined by zero bytes, in lower-case hex, as Synapse's admin API defines it.
fn registration_mac(secret: &str, nonce: &str, username: &str) -> Result<String, LoadError> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())
        .map_err(|error| LoadError::Usage(format!("shared secret: {error}")))?;
    mac.update([nonce, username, PASSWORD, "notadmin"].join("\0").as_bytes());
    Ok(hex::encode(mac.finalize().into_bytes()))
}

/// Opens a connection to the server.
///
/// # Errors
/// [`HttpError`] when nobody listens.
pub async fn connect(registrar: &Registrar) -> Result<Conn, HttpError> {
    Conn::open(registrar.endpoint()).await
}
