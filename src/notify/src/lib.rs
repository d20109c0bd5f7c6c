//! Pushers, and what they send: notifications to the push gateways of people's apps.
//! [Push notifications](https://spec.matrix.org/v1.19/client-server-api/#push-notifications),
//! [Push Gateway API](https://spec.matrix.org/v1.19/push-gateway-api/).
//!
//! Whoever sends an event waits for none of this. The engine's commits say, in memory, in which rooms something happened. A pusher has a
//! durable position in the stream; in those rooms, what lies behind it is looked at with the user's push rules when the pusher's turn comes,
//! and sent in order. After a crash the same is found again from the positions: an event may be sent twice, which gateways tell by its id.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`pushers`] | pushers as rows: set, listed, deleted with their device |
//! | `queue` | in memory: which pushers have something to look at, and when |
//! | `worker` | turns, as many at a time as are allowed |
//! | `turn` | one turn of one pusher: what is new, sent; what became of it |
//! | [`gateway`] | the seam to the network, and what a gateway's answer means |
//! | [`source`] | the seam to rooms: what notifies whom, and what is unread |
//! | `badge` | the number of unread messages of a user |
//! | `body` | the JSON that gateways get |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod badge;
mod body;
mod config;
mod error;
pub mod gateway;
pub mod pushers;
mod queue;
pub mod source;
mod tables;
#[cfg(test)]
mod tests;
mod turn;
mod worker;

use std::sync::{Arc, atomic::AtomicBool};

use parking_lot::Mutex;
use rand::{Rng, rngs::StdRng};
use store::{Clock, Db};
use users::{UserNum, Users};

pub use crate::{
    config::PushConfig,
    error::{NotifyError, Result},
    gateway::{Gateway, GatewayError, GatewayReply, NoGateway},
    queue::Rooms,
    source::{Detail, Notice, Search, Source, SourceError},
};

use crate::{badge::Badges, queue::Queue};

/// The interned number of a room.
pub type RoomNum = users::RoomNum;

/// What notifications are made of.
pub struct NotifyParts {
    /// The database.
    pub db: Arc<Db>,
    /// Local users, whose devices pushers belong to.
    pub users: Arc<Users>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for the spread of retries.
    pub rng: StdRng,
    /// The network.
    pub gateway: Arc<dyn Gateway>,
}

/// Pushers and what is on its way to their gateways.
pub struct Notify {
    db: Arc<Db>,
    users: Arc<Users>,
    clock: Arc<dyn Clock>,
    rng: Mutex<StdRng>,
    gateway: Arc<dyn Gateway>,
    queue: Queue,
    badges: Badges,
    stopping: AtomicBool,
}

impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}

impl Notify {
    /// Pushers over a database; from now on they go when their device goes. Nothing is sent before [`Notify::run`].
    pub fn new(parts: NotifyParts) -> Arc<Self> {
        let NotifyParts { db, users, clock, rng, gateway } = parts;
        users.devices.on_delete(pushers::delete_hook(&db));
        Arc::new(Self {
            db,
            users,
            clock,
            rng: Mutex::new(rng),
            gateway,
            queue: Queue::default(),
            badges: Badges::default(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Something happened in a room that its members on this server, or other users, may have to be told of. Returns at once; to be called
    /// when the commit is durable and before readers see it.
    pub fn heard(&self, room: RoomNum, members: Option<Arc<[UserNum]>>, users: &[UserNum]) {
        self.queue.heard(room, self.db.frontier(), members, users);
    }

    fn random(&self) -> u32 {
        self.rng.lock().next_u32()
    }
}
