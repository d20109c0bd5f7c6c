//! The committer: one thread that turns a queue of commits into synced groups, gives stream positions, and publishes
//! the frontier up to which readers may look.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread::JoinHandle,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};
use tracing::error;

use crate::{
    error::{CommitError, StoreError},
    notifier::{Notifier, WakeKeys},
    schema,
    stats::{StoreStats, add},
    traits::{Commit, Op, Outcome, Pos, Store},
};

/// Bounds of a group.
#[derive(Debug, Clone, Copy)]
pub struct CommitterOptions {
    /// Commits in a group, at most.
    pub max_commits: usize,
    /// Bytes of keys and values in a group, at most (a larger single commit is a group of its own).
    pub max_bytes: usize,
}

impl Default for CommitterOptions {
    fn default() -> Self {
        Self { max_commits: 256, max_bytes: 1024 * 1024 }
    }
}

/// What a caller learns of its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The last position the commit was given, or the frontier where it asked for none.
    pub pos: Pos,
}

type OnDone = Box<dyn FnOnce(Outcome) + Send>;

/// A commit with what hangs on it.
#[derive(Default)]
pub(crate) struct Write {
    pub(crate) commit: Commit,
    pub(crate) wake: WakeKeys,
    pub(crate) on_done: Option<OnDone>,
}

struct Pending {
    write: Write,
    pos: Pos,
    answer: oneshot::Sender<Result<Committed, CommitError>>,
}

/// Resolves when the commit is durable and visible, or was dropped.
#[derive(Debug)]
pub struct Ticket {
    answer: oneshot::Receiver<Result<Committed, CommitError>>,
}

impl Future for Ticket {
    type Output = Result<Committed, CommitError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer)
            .poll(cx)
            .map(|answer| answer.unwrap_or_else(|_| Err(CommitError::Unknown("the committer is gone".to_owned()))))
    }
}

#[derive(Default)]
struct Queue {
    pending: VecDeque<Pending>,
    next_pos: Pos,
    stopping: bool,
    failed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// Where a [`Stepper`] stands in for the thread: told of what is queued.
    stepped: Option<Arc<Notify>>,
    frontier: AtomicU64,
}

impl Shared {
    fn new(last_pos: Pos, stepped: Option<Arc<Notify>>) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue { next_pos: last_pos + 1, ..Queue::default() }),
            ready: Condvar::new(),
            stepped,
            frontier: AtomicU64::new(last_pos),
        })
    }
}

type OnFatal = Box<dyn Fn(&StoreError) + Send + Sync>;

pub(crate) struct Committer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    pub(crate) fn start(
        store: Arc<dyn Store>,
        notifier: Arc<Notifier>,
        stats: Arc<StoreStats>,
        options: CommitterOptions,
        last_pos: Pos,
        on_fatal: OnFatal,
    ) -> std::io::Result<Self> {
        let shared = Shared::new(last_pos, None);
        let worker = Worker { shared: Arc::clone(&shared), store, notifier, stats, options, on_fatal };
        let thread = std::thread::Builder::new().name("committer".to_owned()).spawn(move || worker.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// A committer without a thread: what is queued lands when the [`Stepper`] is told so.
    pub(crate) fn stepped(
        store: Arc<dyn Store>,
        notifier: Arc<Notifier>,
        stats: Arc<StoreStats>,
        last_pos: Pos,
    ) -> (Self, Stepper) {
        let queued = Arc::new(Notify::new());
        let shared = Shared::new(last_pos, Some(Arc::clone(&queued)));
        let options = CommitterOptions::default();
        let on_fatal = Box::new(|_: &StoreError| {});
        let worker = Worker { shared: Arc::clone(&shared), store, notifier, stats, options, on_fatal };
        (Self { shared, thread: Mutex::new(None) }, Stepper { worker, queued })
    }

    pub(crate) fn frontier(&self) -> Pos {
        self.shared.frontier.load(Ordering::Acquire)
    }

    /// Gives `positions` stream positions and queues what `build` makes of the first of them.
    pub(crate) fn enqueue(&self, positions: u64, build: impl FnOnce(Pos) -> Write) -> Ticket {
        let (answer, ticket) = oneshot::channel();
        let mut queue = self.shared.queue.lock();
        if queue.failed || queue.stopping {
            drop(queue);
            let _ = answer.send(Err(CommitError::Stopped));
            return Ticket { answer: ticket };
        }
        let first = queue.next_pos;
        queue.next_pos += positions;
        let pos = queue.next_pos - 1;
        let write = build(first);
        queue.pending.push_back(Pending { write, pos, answer });
        let wake = queue.pending.len() == 1;
        drop(queue);
        if wake {
            self.shared.ready.notify_one();
            if let Some(stepped) = &self.shared.stepped {
                stepped.notify_one();
            }
        }
        Ticket { answer: ticket }
    }

    /// Lets the queue drain, then ends the thread.
    pub(crate) fn shutdown(&self) {
        self.shared.queue.lock().stopping = true;
        self.shared.ready.notify_one();
        if let Some(thread) = self.thread.lock().take()
            // What hangs on a commit may hold the last handle to the database: the thread does not wait for itself.
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Lands queued commits when it is told to, in place of the committer's thread: for simulations, which decide when a write becomes
/// durable. What was not durable when it is dropped is lost, as in a crash.
pub struct Stepper {
    worker: Worker,
    queued: Arc<Notify>,
}

impl std::fmt::Debug for Stepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stepper").finish_non_exhaustive()
    }
}

impl Stepper {
    /// Returns when something was queued since the last step.
    pub async fn queued(&self) {
        self.queued.notified().await;
    }

    /// Lands everything that is queued now, and answers its callers. False where the store has failed.
    pub fn step(&mut self) -> bool {
        while !self.worker.shared.queue.lock().pending.is_empty() {
            let Some(group) = self.worker.next_group() else { break };
            if !self.worker.commit(group) {
                return false;
            }
        }
        true
    }
}

impl Drop for Stepper {
    fn drop(&mut self) {
        let mut queue = self.worker.shared.queue.lock();
        queue.failed = true;
        let lost = std::mem::take(&mut queue.pending);
        drop(queue);
        drop(lost);
    }
}

struct Worker {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    notifier: Arc<Notifier>,
    stats: Arc<StoreStats>,
    options: CommitterOptions,
    on_fatal: OnFatal,
}

impl Worker {
    fn run(self) {
        while let Some(group) = self.next_group() {
            // A panic below (a bug) must not leave everybody waiting for a thread that is gone.
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.commit(group))) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => {
                    self.fail(&StoreError::Backend("the committer panicked".to_owned()), std::iter::empty());
                    return;
                }
            }
        }
    }

    fn next_group(&self) -> Option<Vec<Pending>> {
        let mut queue = self.shared.queue.lock();
        while queue.pending.is_empty() {
            if queue.stopping {
                return None;
            }
            self.shared.ready.wait(&mut queue);
        }
        let mut group = Vec::with_capacity(queue.pending.len().min(self.options.max_commits));
        let mut bytes = 0;
        while let Some(pending) = queue.pending.front() {
            let size: usize = pending.write.commit.ops.iter().map(Op::size).sum();
            if group.len() >= self.options.max_commits || (!group.is_empty() && bytes + size > self.options.max_bytes) {
                break;
            }
            bytes += size;
            group.extend(queue.pending.pop_front());
        }
        Some(group)
    }

    /// Writes a group and answers its callers; false where the store has failed.
    fn commit(&self, group: Vec<Pending>) -> bool {
        let last_pos = group.last().map_or(0, |pending| pending.pos);
        let mut commits = Vec::with_capacity(group.len() + 1);
        let mut rest = Vec::with_capacity(group.len());
        for pending in group {
            let Write { commit, wake, on_done } = pending.write;
            commits.push(commit);
            rest.push((pending.pos, wake, on_done, pending.answer));
        }
        commits.push(schema::record_position(last_pos));
        let bytes: usize = commits.iter().flat_map(|commit| &commit.ops).map(Op::size).sum();
        let outcomes = match self.store.commit_group(&commits) {
            Ok(outcomes) => outcomes,
            Err(failure) => {
                self.fail(&failure, rest.into_iter().map(|(_, _, _, answer)| answer));
                return false;
            }
        };
        add(&self.stats.groups, 1);
        add(&self.stats.bytes_written, bytes as u64);

        let mut answers = Vec::with_capacity(rest.len());
        let mut woken = Vec::new();
        // The lists stay alive until the end of the group, so that an address is one list.
        let (mut shared, mut wakes) = (std::collections::HashSet::new(), Vec::new());
        for ((pos, wake, on_done, answer), outcome) in rest.into_iter().zip(outcomes) {
            if let Some(on_done) = on_done {
                on_done(outcome);
            }
            match outcome {
                Outcome::Done => {
                    add(&self.stats.commits, 1);
                    match &wake {
                        // A busy room's list comes once a group, however many of its events are in it.
                        WakeKeys::Shared(keys) | WakeKeys::Both(_, keys)
                            if !shared.insert(Arc::as_ptr(keys).cast::<u64>().addr()) =>
                        {
                            wake.for_each_own(|key| woken.push(key));
                        }
                        _ => wake.for_each(|key| woken.push(key)),
                    }
                    wakes.push(wake);
                    answers.push((answer, Ok(Committed { pos })));
                }
                Outcome::Conflict => {
                    add(&self.stats.conflicts, 1);
                    answers.push((answer, Err(CommitError::Conflict)));
                }
            }
        }
        // Readers may look once the in-memory views (on_done) and the rows agree; the order here is the contract.
        self.shared.frontier.store(last_pos, Ordering::Release);
        for (answer, result) in answers {
            let _ = answer.send(result);
        }
        if !self.notifier.is_idle() {
            woken.sort_unstable();
            woken.dedup();
            for key in woken {
                self.notifier.wake(key);
            }
        }
        true
    }

    fn fail(&self, failure: &StoreError, group: impl Iterator<Item = oneshot::Sender<Result<Committed, CommitError>>>) {
        error!(%failure, "a commit failed: its outcome is unknown, no more writes are taken");
        let waiting = {
            let mut queue = self.shared.queue.lock();
            queue.failed = true;
            std::mem::take(&mut queue.pending)
        };
        for answer in group {
            let _ = answer.send(Err(CommitError::Unknown(failure.to_string())));
        }
        for pending in waiting {
            let _ = pending.answer.send(Err(CommitError::Stopped));
        }
        (self.on_fatal)(failure);
    }
}
