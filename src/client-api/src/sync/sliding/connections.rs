//! What each connection was told.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::Arc,
};

use engine::{RoomNum, UserNum};
use parking_lot::Mutex as ShortLock;
use quick_cache::sync::Cache;
use store::Pos;
use tokio::sync::Mutex;

use super::required::Required;
use crate::page::SyncToken;

/// Devices whose connections are remembered, at most.
const KEPT: usize = 20_000;
/// Connections of one device, at most. Apps have two or three.
const OF_A_DEVICE: usize = 8;

/// A user's device.
type Device = (UserNum, String);
/// Connections and what the device calls them, the one used last at the end.
type OfDevice = Arc<ShortLock<VecDeque<(String, Arc<Mutex<Connection>>)>>>;

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

/// What is known behind a response, and the response's number.
pub(super) type Answered = (u64, Arc<Known>);

/// A connection: what is known behind the last response, and behind the one that it follows, in case that the last one was lost,
/// be it again and again.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Counts the responses.
    number: u64,
    last: Option<Answered>,
    before: Option<Answered>,
}

impl Connection {
    /// What the client knows that was given `pos`; `None` where that is not remembered.
    pub(super) fn at(&self, pos: u64) -> Option<Answered> {
        [&self.last, &self.before].into_iter().flatten().find(|(number, _)| *number == pos).cloned()
    }

    /// A response goes out behind `since`: its number.
    pub(super) fn sent(&mut self, since: Option<Answered>, known: Known) -> u64 {
        self.number += 1;
        (self.before, self.last) = (since, Some((self.number, Arc::new(known))));
        self.number
    }
}

/// All connections.
pub(in crate::sync) struct Connections(Cache<Device, OfDevice>);

impl Default for Connections {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl Connections {
    /// A connection, which one request uses at a time. Of a device that has too many, the one that was not used for longest is forgotten.
    pub(super) fn get(&self, user: UserNum, device: &str, name: &str) -> Arc<Mutex<Connection>> {
        let key = (user, device.to_owned());
        // In one step: apps begin several connections at once.
        let Ok(of_device) = self.0.get_or_insert_with(&key, || Ok::<_, Infallible>(OfDevice::default()));
        let mut of_device = of_device.lock();
        let known = of_device.iter().position(|(one, _)| one == name).and_then(|index| of_device.remove(index));
        let (name, connection) = known.unwrap_or_else(|| (name.to_owned(), Arc::default()));
        if of_device.len() == OF_A_DEVICE {
            of_device.pop_front();
        }
        of_device.push_back((name, Arc::clone(&connection)));
        connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(pos: Pos) -> Known {
        let token = SyncToken {
            pos,
            typing_epoch: 0,
            typing: 0,
            presence: users::presence::PresencePos::default(),
            misled_since: None,
            to_device: None,
        };
        Known { token, rooms: HashMap::new() }
    }

    #[test]
    fn a_response_may_be_lost_more_than_once() {
        let mut connection = Connection::default();
        let first = connection.sent(None, known(10));
        for pos in [20, 30, 40] {
            let since = connection.at(first).unwrap();
            assert_eq!(since.1.token.pos, 10);
            let next = connection.sent(Some(since), known(pos));
            assert_eq!(connection.at(next).unwrap().1.token.pos, pos);
            assert_eq!(connection.at(next - 1).is_some(), next - 1 == first, "{pos}");
        }
        let last = connection.at(4).unwrap();
        connection.sent(Some(last), known(50));
        assert!(connection.at(first).is_none() && connection.at(4).is_some());
    }

    #[test]
    fn a_device_with_too_many_connections_forgets_its_own_and_nobody_elses() {
        let connections = Connections::default();
        let of_other = connections.get(2, "PHONE", "room-list");
        let first = connections.get(1, "PHONE", "0");
        let second = connections.get(1, "PHONE", "1");
        for name in 2..OF_A_DEVICE {
            connections.get(1, "PHONE", &name.to_string());
        }
        assert!(Arc::ptr_eq(&first, &connections.get(1, "PHONE", "0")));
        connections.get(1, "PHONE", "one more");
        assert!(Arc::ptr_eq(&first, &connections.get(1, "PHONE", "0")), "it was used");
        assert!(!Arc::ptr_eq(&second, &connections.get(1, "PHONE", "1")), "it was not");
        assert!(Arc::ptr_eq(&of_other, &connections.get(2, "PHONE", "room-list")));
    }
}
