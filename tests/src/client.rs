//! A small Matrix client for the integration tests: what it sends is what the test says, what it gets is JSON.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::http::{Conn, Endpoint, HttpError, Reply, bearer, encode};

/// How long any request may take before it counts as unanswered; long polls add their own timeout.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// Why a request brought no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer: whether the server did it is unknown.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server answered with an error.
    #[error("{path}: {status} {errcode}: {message}")]
    Matrix {
        /// Method and path of the request.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The Matrix error code, empty where the answer has none.
        errcode: String,
        /// The error in words, or the body where it is not a Matrix error.
        message: String,
    },
    /// The answer is not JSON.
    #[error("{path}: not JSON: {error}")]
    Json {
        /// Method and path of the request.
        path: String,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// The answer lacks a field that the specification requires.
    #[error("{path}: no {field} in the answer")]
    Missing {
        /// Method and path of the request.
        path: String,
        /// The field.
        field: &'static str,
    },
}

impl ClientError {
    /// Whether the server may or may not have done it, so that the same request may be sent again.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Http(_))
    }

    /// The Matrix error code, where the server answered with one.
    #[must_use]
    pub fn errcode(&self) -> Option<&str> {
        match self {
            Self::Matrix { errcode, .. } => Some(errcode),
            _ => None,
        }
    }

    /// The HTTP status, where the server answered with an error.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Matrix { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// One user's device on one server. Requests may run at the same time; each takes a kept-alive connection of its own.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    idle: Mutex<Vec<Conn>>,
    token: Option<HeaderValue>,
    user_id: String,
    device_id: String,
}

impl Client {
    /// A client without an account.
    #[must_use]
    pub fn anonymous(endpoint: Endpoint) -> Self {
        Self { endpoint, idle: Mutex::new(Vec::new()), token: None, user_id: String::new(), device_id: String::new() }
    }

    /// Registers `username` by `m.login.dummy` in one request.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn register(endpoint: &Endpoint, username: &str, password: &str) -> Result<Self, ClientError> {
        let body = json!({
            "username": username, "password": password, "auth": {"type": "m.login.dummy"}
        });
        Self::anonymous(endpoint.clone()).enter("/_matrix/client/v3/register", &body).await
    }

    /// Logs in with a password, as a new device.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn login(endpoint: &Endpoint, user: &str, password: &str) -> Result<Self, ClientError> {
        let body = json!({
            "type": "m.login.password", "password": password,
            "identifier": {"type": "m.id.user", "user": user}
        });
        Self::anonymous(endpoint.clone()).enter("/_matrix/client/v3/login", &body).await
    }

    async fn enter(mut self, path: &str, body: &Value) -> Result<Self, ClientError> {
        let answer = self.request(Method::POST, path, Some(body)).await?;
        self.token = Some(bearer(&text(path, &answer, "access_token")?)?);
        self.user_id = text(path, &answer, "user_id")?;
        self.device_id = text(path, &answer, "device_id")?;
        Ok(self)
    }

    /// The user's full id.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// The device's id.
    #[must_use]
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// The server's address.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn take_idle(&self) -> Option<Conn> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(conn) = idle.pop() {
            if !conn.is_closed() {
                return Some(conn);
            }
        }
        None
    }

    /// Sends one request and gives the answer as it came, whatever its status.
    ///
    /// # Errors
    /// [`HttpError`] when no answer came.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        limit: Duration,
    ) -> Result<Reply, HttpError> {
        let exchange = async {
            let mut conn = match self.take_idle() {
                Some(conn) => conn,
                None => Conn::open(&self.endpoint).await?,
            };
            let reply = conn.call(method, path, self.token.as_ref(), body).await?;
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            Ok(reply)
        };
        tokio::time::timeout(limit, exchange).await.map_err(|_| HttpError::Timeout(limit))?
    }

    /// Sends one request and reads the answer's JSON. `path` begins with a slash and holds the query.
    ///
    /// # Errors
    /// [`ClientError`]; any status but 2xx is [`ClientError::Matrix`].
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        self.request_within(method, path, body, REQUEST_LIMIT).await
    }

    async fn request_within(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Value, ClientError> {
        let shown = format!("{method} {path}");
        let body = body.map(|body| Bytes::from(body.to_string()));
        let reply = self.raw(method, path, body, limit).await?;
        let parsed = serde_json::from_slice::<Value>(&reply.body);
        if reply.status.is_success() {
            return parsed.map_err(|error| ClientError::Json { path: shown, error });
        }
        let part = |key| parsed.as_ref().ok().and_then(|body| Some(body.get(key)?.as_str()?.to_owned()));
        Err(ClientError::Matrix {
            path: shown,
            status: reply.status.as_u16(),
            errcode: part("errcode").unwrap_or_default(),
            message: part("error").unwrap_or_else(|| String::from_utf8_lossy(&reply.body).into_owned()),
        })
    }

    /// Creates a room; gives its id.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_room(&self, body: &Value) -> Result<String, ClientError> {
        let path = "/_matrix/client/v3/createRoom";
        let answer = self.request(Method::POST, path, Some(body)).await?;
        text(path, &answer, "room_id")
    }

    async fn membership(&self, room: &str, verb: &str, body: &Value) -> Result<(), ClientError> {
        self.request(Method::POST, &room_path(room, verb), Some(body)).await.map(drop)
    }

    /// Invites `user`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn invite(&self, room: &str, user: &str) -> Result<(), ClientError> {
        self.membership(room, "invite", &json!({"user_id": user})).await
    }

    /// Joins.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn join(&self, room: &str) -> Result<(), ClientError> {
        self.membership(room, "join", &json!({})).await
    }

    /// Leaves, or declines an invitation.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn leave(&self, room: &str) -> Result<(), ClientError> {
        self.membership(room, "leave", &json!({})).await
    }

    /// Kicks `user`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn kick(&self, room: &str, user: &str) -> Result<(), ClientError> {
        self.membership(room, "kick", &json!({"user_id": user, "reason": "test"})).await
    }

    /// Bans `user`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ban(&self, room: &str, user: &str) -> Result<(), ClientError> {
        self.membership(room, "ban", &json!({"user_id": user})).await
    }

    /// Lifts `user`'s ban.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn unban(&self, room: &str, user: &str) -> Result<(), ClientError> {
        self.membership(room, "unban", &json!({"user_id": user})).await
    }

    async fn put_event(&self, path: &str, content: &Value) -> Result<String, ClientError> {
        let answer = self.request(Method::PUT, path, Some(content)).await?;
        text(path, &answer, "event_id")
    }

    /// Sends an event under a transaction id; gives the event's id.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, room: &str, kind: &str, txn: &str, content: &Value) -> Result<String, ClientError> {
        let verb = format!("send/{}/{}", encode(kind), encode(txn));
        self.put_event(&room_path(room, &verb), content).await
    }

    /// Sends a text message under a transaction id; gives the event's id.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send_text(&self, room: &str, txn: &str, text: &str) -> Result<String, ClientError> {
        self.send(room, "m.room.message", txn, &json!({"msgtype": "m.text", "body": text})).await
    }

    /// Sets a piece of state; gives the event's id.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn set_state(&self, room: &str, kind: &str, key: &str, content: &Value) -> Result<String, ClientError> {
        let verb = format!("state/{}/{}", encode(kind), encode(key));
        self.put_event(&room_path(room, &verb), content).await
    }

    /// Redacts an event under a transaction id; gives the redaction's id.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn redact(&self, room: &str, event: &str, txn: &str) -> Result<String, ClientError> {
        let verb = format!("redact/{}/{}", encode(event), encode(txn));
        self.put_event(&room_path(room, &verb), &json!({"reason": "test"})).await
    }

    /// The room's whole current state: an array of events.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn state(&self, room: &str) -> Result<Value, ClientError> {
        self.request(Method::GET, &room_path(room, "state"), None).await
    }

    /// One sync. `query` holds further parameters ready for a URL, without `timeout` and `since`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn sync(&self, since: Option<&str>, timeout: Duration, query: &str) -> Result<Value, ClientError> {
        let mut path = format!("/_matrix/client/v3/sync?timeout={}", timeout.as_millis());
        if let Some(since) = since {
            path = format!("{path}&since={}", encode(since));
        }
        if !query.is_empty() {
            path = format!("{path}&{query}");
        }
        self.request_within(Method::GET, &path, None, REQUEST_LIMIT + timeout).await
    }

    /// One page of a room's events. `direction` is `b` or `f`; `query` as in [`Client::sync`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn messages(
        &self,
        room: &str,
        direction: char,
        from: Option<&str>,
        limit: usize,
        query: &str,
    ) -> Result<Value, ClientError> {
        let mut path = format!("{}?dir={direction}&limit={limit}", room_path(room, "messages"));
        if let Some(from) = from {
            path = format!("{path}&from={}", encode(from));
        }
        if !query.is_empty() {
            path = format!("{path}&{query}");
        }
        self.request(Method::GET, &path, None).await
    }

    /// All of a room's events that this user may see, oldest first, paged backwards.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn all_messages(&self, room: &str, page: usize) -> Result<Vec<Value>, ClientError> {
        let (mut all, mut from) = (Vec::new(), None::<String>);
        loop {
            let answer = self.messages(room, 'b', from.as_deref(), page, "").await?;
            all.extend(answer.get("chunk").and_then(Value::as_array).cloned().unwrap_or_default());
            match answer.get("end").and_then(Value::as_str) {
                Some(end) if from.as_deref() != Some(end) => from = Some(end.to_owned()),
                _ => break,
            }
        }
        all.reverse();
        Ok(all)
    }
}

/// `/_matrix/client/v3/rooms/{room}/{verb}`; the verb is taken as it is.
#[must_use]
pub fn room_path(room: &str, verb: &str) -> String {
    format!("/_matrix/client/v3/rooms/{}/{verb}", encode(room))
}

fn text(path: &str, answer: &Value, field: &'static str) -> Result<String, ClientError> {
    let found = answer.get(field).and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| ClientError::Missing { path: path.to_owned(), field })
}
