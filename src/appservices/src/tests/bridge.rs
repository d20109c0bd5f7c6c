//! A service as the network shows it.

use std::collections::{HashMap, VecDeque};

use auth::{UpstreamError, UpstreamHttp};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{
    Mutex as AsyncMutex,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// There is no connection.
    Unreachable,
    /// The service has it, and its answer gets lost.
    Lost,
    /// No answer comes.
    Silent,
    /// It answers so.
    Answer(StatusCode, Value),
}

/// A request that reached the service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    /// Method, host, path and query.
    pub(super) target: String,
    pub(super) token: String,
    pub(super) body: Value,
}

impl Seen {
    pub(super) fn txn(&self) -> &str {
        self.target.rsplit('/').next().unwrap()
    }

    /// The ids of the events of a transaction.
    pub(super) fn events(&self) -> Vec<String> {
        let events = self.body["events"].as_array().unwrap();
        events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
    }
}

/// Records what it is sent.
#[derive(Debug)]
pub(super) struct Bridge {
    /// What becomes of the next transactions; of more, they are taken.
    pub(super) transactions: Mutex<VecDeque<Fate>>,
    /// Answers to everything else, by the beginning of method and path; else 404.
    pub(super) answers: Mutex<HashMap<String, Fate>>,
    sent: UnboundedSender<Seen>,
    seen: AsyncMutex<UnboundedReceiver<Seen>>,
    /// The rest of what it was sent.
    pub(super) asked: Mutex<Vec<Seen>>,
}

impl Bridge {
    pub(super) fn new() -> Arc<Self> {
        let (sent, seen) = unbounded_channel();
        Arc::new(Self {
            transactions: Mutex::default(),
            answers: Mutex::default(),
            sent,
            seen: AsyncMutex::new(seen),
            asked: Mutex::default(),
        })
    }

    pub(super) fn then(&self, fates: impl IntoIterator<Item = Fate>) {
        self.transactions.lock().extend(fates);
    }

    pub(super) fn answer(&self, request: &str, fate: Fate) {
        self.answers.lock().insert(request.to_owned(), fate);
    }

    /// The next transaction that reaches a service.
    pub(super) async fn transaction(&self) -> Seen {
        self.seen.lock().await.recv().await.unwrap()
    }

    /// Takes transactions until an event is among them: all events up to then, in order.
    pub(super) async fn until(&self, event_id: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let seen = self.transaction().await;
            all.extend(seen.body["events"].as_array().unwrap().iter().cloned());
            if seen.events().iter().any(|id| id == event_id) {
                return all;
            }
        }
    }

    /// Takes transactions until something ephemeral is among them.
    pub(super) async fn ephemeral(&self) -> Vec<Value> {
        loop {
            if let Value::Array(found) = &self.transaction().await.body["ephemeral"] {
                return found.clone();
            }
        }
    }

    fn fate(&self, seen: &Seen) -> Fate {
        if seen.target.contains("/transactions/") {
            let taken = Fate::Answer(StatusCode::OK, json!({}));
            return self.transactions.lock().pop_front().unwrap_or(taken);
        }
        self.asked.lock().push(seen.clone());
        let answers = self.answers.lock();
        let found =
            answers.iter().filter(|(start, _)| seen.target.starts_with(*start)).max_by_key(|(start, _)| start.len());
        let unknown = Fate::Answer(StatusCode::NOT_FOUND, json!({"errcode": "M_NOT_FOUND"}));
        found.map_or(unknown, |(_, fate)| fate.clone())
    }
}

impl UpstreamHttp for Bridge {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, UpstreamError>> {
        let uri = request.uri();
        let target = format!("{} {}{}", request.method(), uri.host().unwrap(), uri.path_and_query().unwrap());
        let token = request.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned();
        let body = serde_json::from_slice(request.body()).unwrap_or(Value::Null);
        let seen = Seen { target, token, body };
        let fate = self.fate(&seen);
        let is_transaction = seen.target.contains("/transactions/");
        if is_transaction && !matches!(fate, Fate::Unreachable) {
            self.sent.send(seen).unwrap();
        }
        async move {
            match fate {
                Fate::Unreachable | Fate::Lost => Err(UpstreamError::Unreachable("refused".to_owned())),
                Fate::Silent => std::future::pending().await,
                Fate::Answer(status, body) => {
                    let mut response = Response::new(Bytes::from(body.to_string()));
                    *response.status_mut() = status;
                    Ok(response)
                }
            }
        }
        .boxed()
    }
}
