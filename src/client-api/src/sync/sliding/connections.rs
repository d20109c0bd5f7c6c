//! What each connection was told.

use std::{collections::HashMap, sync::Arc};

use engine::{RoomNum, UserNum};
use quick_cache::sync::Cache;
use store::Pos;
use tokio::sync::Mutex;

use super::required::Required;
use crate::page::SyncToken;

/// Connections that are remembered, at most.
const KEPT: usize = 20_000;

/// A user's device, and what it calls the connection.
type Name = (UserNum, String, String);

/// What a client was told of a room.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// All that happened up to here.
    pub(super) upto: Pos,
    pub(super) timeline_limit: usize,
    pub(super) required: Arc<Required>,
}

/// What a client knows behind a response.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) token: SyncToken,
    pub(super) rooms: HashMap<RoomNum, Sent>,
}

/// A connection: what is known behind the last response, and behind the one before, in case that the last one was lost.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Counts the responses.
    number: u64,
    last: Option<Arc<Known>>,
    before: Option<Arc<Known>>,
}

impl Connection {
    /// What the client knows that was given `pos`; `None` where that is not remembered.
    pub(super) fn at(&self, pos: u64) -> Option<Arc<Known>> {
        match self.number.checked_sub(pos)? {
            0 => self.last.clone(),
            1 => self.before.clone(),
            _ => None,
        }
    }

    /// A response goes out behind `since`: its number.
    pub(super) fn sent(&mut self, since: Option<Arc<Known>>, known: Known) -> u64 {
        self.number += 1;
        (self.before, self.last) = (since, Some(Arc::new(known)));
        self.number
    }
}

/// All connections.
pub(in crate::sync) struct Connections(Cache<Name, Arc<Mutex<Connection>>>);

impl Default for Connections {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl Connections {
    /// A connection, which one request uses at a time.
    pub(super) fn get(&self, user: UserNum, device: &str, name: &str) -> Arc<Mutex<Connection>> {
        let key = (user, device.to_owned(), name.to_owned());
        match self.0.get(&key) {
            Some(connection) => connection,
            None => {
                let connection = Arc::<Mutex<Connection>>::default();
                self.0.insert(key, Arc::clone(&connection));
                connection
            }
        }
    }
}
