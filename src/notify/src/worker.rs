//! Gives pushers their turns.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use store::{Json, Page};
use tokio::time::{Instant, MissedTickBehavior};
use users::UserNum;

use crate::{
    Notify, Result, Source,
    queue::Done,
    tables::{LOOKED_UP_TO, PROGRESS, PusherNum},
    turn::{LONGEST, STORE_FAILED},
};

/// Turns at a time.
const AT_ONCE: usize = 64;
/// Rows read in one go at the start.
const PAGE: usize = 1000;
/// What was heard of is visible after so long at most, as a rule: only the views in memory are to be brought up to date.
const SOON: Duration = Duration::from_millis(1);
/// How often it is written down up to where everything was looked at.
const MARK_EVERY: Duration = Duration::from_secs(60);
/// How long notifications that are on their way may take when the server stops. What is not answered then is sent again after the start.
const GRACE: Duration = Duration::from_secs(5);

type Key = (UserNum, PusherNum);

impl Notify {
    /// Sends notifications until `stop` resolves.
    pub async fn run(self: Arc<Self>, source: Arc<dyn Source>, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        tokio::select! {
            biased;
            () = &mut stop => return,
            () = self.load() => {}
        }
        let mut turns = FuturesUnordered::new();
        let mut marks = tokio::time::interval(MARK_EVERY);
        marks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut more = false;
            while turns.len() < AT_ONCE {
                // In this order: see `Queue::next`.
                let to = self.db.frontier();
                more = self.queue.spread(to);
                let Some(job) = self.queue.next() else { break };
                let (notify, source, key) = (&*self, &*source, (job.user, job.num));
                turns.push(async move { (key, notify.turn(source, job, to).await) });
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some((key, done)) = turns.next(), if !turns.is_empty() => self.done(key, done),
                () = tokio::time::sleep(SOON), if more => {}
                () = sleep_until(self.queue.next_timer()) => self.queue.fire(),
                _ = marks.tick() => self.mark().await,
                () = self.queue.wake.notified() => {}
            }
        }
        self.stopping.store(true, Ordering::Release);
        let rest = async {
            while let Some((key, done)) = turns.next().await {
                self.done(key, done);
            }
        };
        let _ = tokio::time::timeout(GRACE, rest).await;
        self.mark().await;
    }

    fn done(&self, key: Key, done: Done) {
        self.queue.done(key, done);
    }

    async fn load(&self) {
        while let Err(error) = self.try_load().await {
            tracing::error!(%error, "pushers cannot be read");
            tokio::time::sleep(STORE_FAILED).await;
        }
    }

    /// Finds the pushers that there are, and how far they have come.
    async fn try_load(&self) -> Result<()> {
        let looked = self.db.get(&LOOKED_UP_TO, &()).await?.unwrap_or_default();
        let frontier = self.db.frontier();
        let mut from: Key = (0, 0);
        loop {
            let rows = self.db.scan(&PROGRESS, &from, &(UserNum::MAX, PusherNum::MAX), Page::first(PAGE)).await?;
            for ((user, num), Json(progress)) in &rows {
                if progress.failures > 0 {
                    let wait = Duration::from_millis(progress.retry_at.saturating_sub(self.clock.now_ms()));
                    self.queue.add_waiting(*user, *num, progress.pos, wait.min(LONGEST));
                } else if progress.pos.max(looked) < frontier {
                    self.queue.add(*user, *num, progress.pos.max(looked));
                } else {
                    self.queue.add_idle(*user, *num, frontier);
                }
            }
            match rows.last() {
                Some(((user, num), _)) if rows.len() == PAGE => from = (*user, num.saturating_add(1)),
                _ => return Ok(()),
            }
        }
    }

    /// Writes down up to where everything was looked at, so that a start does not look at old things again.
    async fn mark(&self) {
        let frontier = self.db.frontier();
        let Some(looked) = self.queue.looked_up_to(frontier) else { return };
        let mut write = self.db.write();
        write.put(&LOOKED_UP_TO, &(), &looked);
        if let Err(error) = write.commit().await {
            tracing::warn!(%error, "how far pushers have come was not written");
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
