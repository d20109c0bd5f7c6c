//! The measured phases. Each bounds itself by time and by count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::bytes::{each_message, message};
use super::procfs;
use super::report::{Delivery, Sends, Window};
use super::setup::{Account, Hall, Registrar, call, connect, member, send_path};
use super::stats::Samples;
use super::{LoadError, expect_ok};
use crate::http::Conn;

/// How long a phase waits for deliveries after its last acknowledgement.
const DELIVERY_GRACE: Duration = Duration::from_secs(10);
/// What the server does after the last answer of a phase (push rules, flushes) counts into the phase for so long.
const SETTLE: Duration = Duration::from_millis(500);
/// Between two messages of the unloaded delivery phase, so that the next one finds the poll parked.
const PAUSE: Duration = Duration::from_millis(15);
/// Sends before the unloaded figures are taken.
const WARM_SENDS: usize = 50;

/// When every message of the run was sent, and when it arrived.
#[derive(Debug, Default)]
pub struct Board {
    inner: Mutex<Inner>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    sent: Vec<Instant>,
    delivered: Samples,
    /// Numbers below this belong to an earlier phase.
    phase_begins: usize,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a message is about to be sent; returns its number.
    fn begin(&self, now: Instant) -> usize {
        let mut inner = self.lock();
        inner.sent.push(now);
        inner.sent.len() - 1
    }

    /// Notes all messages in an answer of `/sync`.
    fn arrive(&self, json: &[u8]) {
        let now = Instant::now();
        let mut inner = self.lock();
        each_message(json, |sequence| {
            if sequence >= inner.phase_begins
                && let Some(sent) = inner.sent.get(sequence).copied()
            {
                inner.delivered.push(now.duration_since(sent));
            }
        });
        drop(inner);
        self.arrived.notify_waiters();
    }

    /// Forgets the deliveries so far.
    fn start_phase(&self) {
        let mut inner = self.lock();
        inner.phase_begins = inner.sent.len();
        inner.delivered = Samples::default();
    }

    /// Waits until `count` messages of this phase have arrived, or the grace has passed; takes what arrived.
    async fn await_deliveries(&self, count: usize, grace: Duration) -> Samples {
        let deadline = tokio::time::Instant::now() + grace;
        loop {
            let arrived = self.arrived.notified();
            if self.lock().delivered.len() >= count || tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return self.lock().delivered.clone();
            }
        }
    }
}

/// What all phases share.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The server and the accounts.
    pub registrar: &'a Registrar,
    /// The server's process.
    pub pid: u32,
    /// How long each phase measures.
    pub phase: Duration,
    /// How many messages one sender sends at most in one phase.
    pub cap: usize,
    /// Numbers of messages.
    pub board: Arc<Board>,
}

/// A long poll that runs until it is stopped.
struct Poller(JoinHandle<Result<(), LoadError>>);

impl Poller {
    /// Ends the poll; its own error, where it had one, comes to light here.
    async fn stop(self) -> Result<(), LoadError> {
        if self.0.is_finished() {
            return self.0.await?;
        }
        self.0.abort();
        Ok(())
    }
}

async fn send_one(
    conn: &mut Conn,
    sender: &Account,
    prefix: &str,
    board: &Board,
) -> Result<(usize, Duration), LoadError> {
    let begun = Instant::now();
    let sequence = board.begin(begun);
    let path = format!("{prefix}m{sequence}");
    let body = Bytes::from(message(sequence));
    let reply = conn.call(Method::PUT, &path, Some(&sender.token), Some(body)).await?;
    let took = begun.elapsed();
    expect_ok(&path, reply)?;
    Ok((sequence, took))
}

async fn send_loop(
    mut conn: Conn,
    sender: Account,
    prefix: String,
    board: Arc<Board>,
    until: Instant,
    cap: usize,
) -> Result<Samples, LoadError> {
    let mut samples = Samples::default();
    while Instant::now() < until && samples.len() < cap {
        samples.push(send_one(&mut conn, &sender, &prefix, &board).await?.1);
    }
    Ok(samples)
}

async fn poll_loop(
    mut conn: Conn,
    listener: Account,
    filter: String,
    mut since: String,
    board: Arc<Board>,
) -> Result<(), LoadError> {
    loop {
        let path = format!(
            "/_matrix/client/v3/sync?timeout=30000&filter={}&since={}",
            crate::http::encode(&filter),
            crate::http::encode(&since)
        );
        let reply = call(&mut conn, Method::GET, &path, Some(&listener), None).await?;
        board.arrive(&reply.body);
        since = member("/sync", &reply, "next_batch")?;
    }
}

impl Bench<'_> {
    async fn poller(&self, hall: &Hall) -> Result<Poller, LoadError> {
        let mut conn = connect(self.registrar).await?;
        let path = format!("/_matrix/client/v3/sync?timeout=0&filter={}", crate::http::encode(&hall.filter));
        let reply = call(&mut conn, Method::GET, &path, Some(&hall.listener), None).await?;
        let since = member("/sync", &reply, "next_batch")?;
        let task = poll_loop(conn, hall.listener.clone(), hall.filter.clone(), since, Arc::clone(&self.board));
        Ok(Poller(tokio::spawn(task)))
    }

    /// One sender, nobody syncing.
    ///
    /// # Errors
    /// [`LoadError`] when a request fails.
    pub async fn unloaded_sends(&self, hall: &Hall) -> Result<Sends, LoadError> {
        let sender = hall.senders.first().ok_or_else(|| LoadError::Usage("no sender".to_owned()))?;
        let mut conn = connect(self.registrar).await?;
        let prefix = send_path(&hall.room_id);
        for _ in 0..WARM_SENDS {
            send_one(&mut conn, sender, &prefix, &self.board).await?;
        }
        let begun = Instant::now();
        let until = begun + self.phase;
        let board = Arc::clone(&self.board);
        let samples = send_loop(conn, sender.clone(), prefix, board, until, self.cap).await?;
        Ok(Sends::new(&samples, begun.elapsed()))
    }

    /// One sender and one poll, a message at a time.
    ///
    /// # Errors
    /// [`LoadError`] when a request fails.
    pub async fn unloaded_delivery(&self, hall: &Hall) -> Result<Delivery, LoadError> {
        let sender = hall.senders.first().ok_or_else(|| LoadError::Usage("no sender".to_owned()))?;
        let mut conn = connect(self.registrar).await?;
        let prefix = send_path(&hall.room_id);
        let poller = self.poller(hall).await?;
        for _ in 0..5 {
            send_one(&mut conn, sender, &prefix, &self.board).await?;
            tokio::time::sleep(PAUSE).await;
        }
        self.board.start_phase();
        let until = Instant::now() + self.phase;
        let mut sent = 0;
        while Instant::now() < until && sent < self.cap {
            send_one(&mut conn, sender, &prefix, &self.board).await?;
            sent += 1;
            let arrived = self.board.await_deliveries(sent, DELIVERY_GRACE).await;
            if arrived.len() < sent {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let samples = self.board.await_deliveries(sent, Duration::ZERO).await;
        poller.stop().await?;
        Ok(Delivery::new(&samples, sent))
    }

    async fn run_senders(&self, halls: &[Hall], length: Duration) -> Result<(Samples, Duration), LoadError> {
        let mut ready = Vec::new();
        for hall in halls {
            for sender in &hall.senders {
                ready.push((connect(self.registrar).await?, sender.clone(), send_path(&hall.room_id)));
            }
        }
        let begun = Instant::now();
        let tasks: Vec<_> = ready
            .into_iter()
            .map(|(conn, sender, prefix)| {
                let board = Arc::clone(&self.board);
                tokio::spawn(send_loop(conn, sender, prefix, board, begun + length, self.cap))
            })
            .collect();
        let mut samples = Samples::default();
        for task in tasks {
            samples.extend(task.await??);
        }
        Ok((samples, begun.elapsed()))
    }

    /// All senders over all rooms, with one long-polling member a room or with nobody syncing.
    ///
    /// # Errors
    /// [`LoadError`] when a request fails.
    pub async fn loaded(&self, halls: &[Hall], polling: bool, warmup: Duration) -> Result<Window, LoadError> {
        let mut pollers = Vec::new();
        if polling {
            for hall in halls {
                pollers.push(self.poller(hall).await?);
            }
        }
        self.run_senders(halls, warmup).await?;
        tokio::time::sleep(SETTLE).await;
        self.board.start_phase();
        let (server, own) = (procfs::usage(self.pid)?, procfs::own_cpu()?);
        let (samples, took) = self.run_senders(halls, self.phase).await?;
        let own_cpu = procfs::own_cpu()?.saturating_sub(own);
        let arrived =
            if polling { Some(self.board.await_deliveries(samples.len(), DELIVERY_GRACE).await) } else { None };
        tokio::time::sleep(SETTLE).await;
        let server_cpu = procfs::usage(self.pid)?.cpu.saturating_sub(server.cpu);
        for poller in pollers {
            poller.stop().await?;
        }
        let delivery = arrived.map(|arrived| Delivery::new(&arrived, samples.len()));
        Ok(Window::new(&samples, took, delivery, server_cpu, own_cpu))
    }

    /// Initial syncs of the user with many rooms, each from a new device: the first, then the others' samples.
    ///
    /// # Errors
    /// [`LoadError`] when a request fails.
    pub async fn initial_syncs(&self, heavy: &Account, times: usize) -> Result<(Duration, Samples, usize), LoadError> {
        let mut conn = connect(self.registrar).await?;
        let (mut first, mut warm, mut size) = (Duration::ZERO, Samples::default(), 0);
        for round in 0..times.max(2) {
            let device = self.registrar.new_device(&mut conn, heavy).await?;
            let begun = Instant::now();
            let reply = call(&mut conn, Method::GET, "/_matrix/client/v3/sync?timeout=0", Some(&device), None).await?;
            if round == 0 {
                first = begun.elapsed();
            } else {
                warm.push(begun.elapsed());
            }
            size = reply.body.len();
        }
        Ok((first, warm, size))
    }
}
