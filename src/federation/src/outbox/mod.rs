//! What is on its way to other servers, as rows of the store.
//! [Transactions](https://spec.matrix.org/v1.19/server-server-api/#transactions).
//!
//! The engine writes a row for each event or receipt and destination in its own commit, `users` one for each to-device message. From these, transactions are made: one at a time
//! for each destination, in the order of the rows, written as a row itself before it is sent, so that it is the same however often it
//! has to be sent, also after a restart. What a destination took is deleted in one commit.
//!
//! | module | what it does |
//! | --- | --- |
//! | `queues` | which destinations have something to send, and when |
//! | `turn` | one transaction to one destination |
//! | `backoff` | how long to wait for one that does not answer |
//! | `catch_up` | what is left to send to one that was down for long |
//! | `receipts` | receipts of local users, rows as well |
//! | `devices` | to-device messages and changes of device lists, rows as well |
//! | `edus` | what is to be told to a destination and is not worth a row |
//! | `fan_out` | typing and presence of local users: to whom they go |

mod backoff;
mod catch_up;
mod devices;
mod edus;
mod fan_out;
mod queues;
mod receipts;
mod stats;
mod tables;
#[cfg(test)]
mod tests;
mod turn;

use std::{sync::Arc, time::Duration};

use engine::{Engine, EngineError, ServerNum};
use futures::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use store::{Clock, CommitError, Db, InternError, StoreError};
use tokio::time::Instant;
use users::Users;

pub use self::stats::OutboxStats;
use self::{
    fan_out::Inbox,
    queues::{Done, Job, Queues},
    stats::Counters,
};
use crate::{Client, FederationConfig};

/// Where the store cannot be read, the next attempt waits for so long.
const STORE_FAILED: Duration = Duration::from_secs(10);

/// What can go wrong on this side of a transaction.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboxError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Intern(#[from] InternError),
    #[error(transparent)]
    Users(#[from] users::UsersError),
    #[error("a transaction cannot be put together: {0}")]
    Json(#[from] serde_json::Error),
}

/// Sends what local users do to the servers that take part.
pub struct Outbox {
    engine: Arc<Engine>,
    users: Arc<Users>,
    db: Arc<Db>,
    clock: Arc<dyn Clock>,
    client: Arc<Client>,
    queues: Arc<Queues>,
    inbox: Arc<Inbox>,
    counters: Counters,
    rng: Mutex<StdRng>,
    enabled: bool,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// What an outbox is made of.
pub(crate) struct OutboxParts<'a> {
    pub(crate) engine: Arc<Engine>,
    pub(crate) users: Arc<Users>,
    pub(crate) db: Arc<Db>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) client: Arc<Client>,
    pub(crate) config: &'a FederationConfig,
    /// For transaction ids and jitter.
    pub(crate) seed: u64,
}

impl Outbox {
    /// An outbox that hears of all that it has to send. Nothing is sent before [`Outbox::run`].
    pub(crate) fn new(parts: OutboxParts<'_>) -> Self {
        let OutboxParts { engine, users, db, clock, client, config, seed } = parts;
        let (queues, inbox) = (Arc::<Queues>::default(), Arc::<Inbox>::default());
        if config.enabled {
            let queued = Arc::clone(&queues);
            engine.on_outgoing(Arc::new(move |servers| queued.queued(servers)));
            let heard = Arc::clone(&queues);
            client.on_heard(Box::new(move |server| heard.heard_from(server)));
            inbox.watch(&engine, &users, config.presence, &queues);
        }
        Self {
            engine,
            users,
            db,
            clock,
            client,
            queues,
            inbox,
            counters: Counters::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            enabled: config.enabled,
        }
    }

    /// Sends until `stop` resolves. What is under way then is sent again after the next start.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        if !self.enabled {
            return stop.await;
        }
        tokio::select! {
            biased;
            () = stop => {}
            () = self.drive() => {}
            () = self.fan_out() => {}
        }
    }

    /// Counters since the start, and how many destinations stand where.
    pub fn stats(&self) -> OutboxStats {
        self.counters.snapshot(self.queues.census())
    }

    /// What is in memory of destinations.
    #[cfg(test)]
    fn footprint(&self) -> (usize, usize) {
        self.queues.footprint()
    }

    async fn drive(&self) {
        while let Err(error) = self.find_destinations().await {
            tracing::error!(%error, "the outbox cannot be read");
            tokio::time::sleep(STORE_FAILED).await;
        }
        let mut jobs = FuturesUnordered::new();
        loop {
            while let Some((server, job)) = self.queues.next() {
                jobs.push(async move { (server, self.work(server, job).await) });
            }
            let timer = self.queues.next_timer();
            // In a fixed order, so that a simulation replays; the queues are looked at again whichever it was.
            tokio::select! {
                biased;
                () = sleep_until(timer) => self.queues.fire(),
                Some((server, done)) = jobs.next(), if !jobs.is_empty() => self.queues.done(server, done),
                () = self.queues.wake.notified() => {}
            }
        }
    }

    /// Those that something was queued for before the last stop.
    async fn find_destinations(&self) -> Result<(), StoreError> {
        let mut from: ServerNum = 0;
        while let Some(server) = self.next_queued(from).await? {
            self.queues.queued(&[server]);
            from = server.saturating_add(1);
        }
        Ok(())
    }

    async fn work(&self, server: ServerNum, job: Job) -> Done {
        let result = match job {
            Job::Send { due } => self.turn(server, due).await,
            Job::Collapse => self.collapse_while_down(server).await.map(|()| Done::Collapsed),
        };
        result.unwrap_or_else(|error| {
            tracing::error!(%error, server, "what is queued for a server cannot be sent");
            match job {
                Job::Send { .. } => Done::Later { time: STORE_FAILED },
                Job::Collapse => Done::Collapsed,
            }
        })
    }

    fn random(&self) -> u64 {
        self.rng.lock().next_u64()
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
