//! One turn of one pusher.

use std::{sync::atomic::Ordering, time::Duration};

use ruma::push::{HttpPusherData, PushFormat};
use store::{CommitError, Json, Pos};
use tokio::time::Instant;
use url::Url;

use crate::{
    Notify, NotifyError, Result, Source, body,
    gateway::Outcome,
    pushers::PusherRow,
    queue::{Done, Job},
    source::{Notice, Search},
    tables::{PROGRESS, PUSHERS, Progress},
};

/// Notifications sent in one turn, at most. Of what was missed in a longer time the newest are sent: the rest says the number of unread
/// messages.
const BACKLOG: usize = 20;
/// After so long a turn is over, whatever is left to send: that follows in the next one.
pub(crate) const TURN: Duration = Duration::from_secs(20);
/// The wait after the first failure.
const SHORTEST: Duration = Duration::from_secs(1);
/// The wait after many.
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);
/// How long what could not be sent is kept, in milliseconds. Then the newest alone is tried.
const KEPT_MS: u64 = 24 * 3_600_000;
/// So often a gateway may call a notification wrong before it is passed over.
const REFUSALS: u32 = 5;
/// Where the store cannot be read, the next attempt waits for so long.
pub(crate) const STORE_FAILED: Duration = Duration::from_secs(10);

/// A pusher in the midst of its turn.
struct Turn<'a> {
    job: &'a Job,
    row: PusherRow,
    url: Url,
    /// As the row has it.
    stored: Progress,
    progress: Progress,
}

impl Turn<'_> {
    fn data(&self) -> Option<&HttpPusherData> {
        self.row.http().map(|(data, _)| data)
    }
}

/// What follows from an attempt.
enum Next {
    Go,
    Stop(Done),
}

impl Notify {
    /// Looks at what is new for a pusher up to a position, and sends it.
    pub(crate) async fn turn(&self, source: &dyn Source, job: Job, to: Pos) -> Done {
        match self.try_turn(source, &job, to).await {
            Ok(done) => done,
            // It was set anew meanwhile: from the beginning, with what it is now.
            Err(NotifyError::Commit(CommitError::Conflict)) => {
                Done::Later { from: job.after, rooms: job.rooms, wait: Duration::ZERO, kept: false }
            }
            Err(error) => {
                tracing::error!(%error, user = job.user, "a pusher's notifications cannot be looked for");
                Done::Later { from: job.after, rooms: job.rooms, wait: STORE_FAILED, kept: false }
            }
        }
    }

    async fn try_turn(&self, source: &dyn Source, job: &Job, to: Pos) -> Result<Done> {
        let key = (job.user, job.num);
        let Some(Json(row)) = self.db.get(&PUSHERS, &key).await? else { return Ok(Done::Gone) };
        let Some((data, url)) = row.http() else { return Ok(Done::Gone) };
        self.queue.sends_to(key, url.host_str().unwrap_or_default());
        let stored = self.db.get(&PROGRESS, &key).await?.map(|Json(row)| row).unwrap_or_default();
        let detailed = data.format != Some(PushFormat::EventIdOnly);
        let after = job.after.max(stored.pos);
        // What is older than what is kept is left out; one is enough to see whether the gateway is back.
        let late = stored.since > 0 && self.clock.now_ms().saturating_sub(stored.since) > KEPT_MS;
        let limit = if late { 1 } else { BACKLOG };
        let search = Search { user: job.user, rooms: &job.rooms, after, to, limit, detailed };
        let notices = source.notices(search).await.map_err(NotifyError::Source)?;
        let unread = self.badges.total(source, job.user, &job.rooms, to).await?;
        let progress = Progress { pos: after, ..stored.clone() };
        let mut turn = Turn { job, row, url, stored, progress };
        let begun = Instant::now();
        for notice in &notices {
            // Whoever takes long lets the others have their turns before the rest of this one.
            if begun.elapsed() >= TURN {
                return Ok(again(&turn, Duration::ZERO, false));
            }
            if let Next::Stop(done) = self.send_event(&mut turn, notice, unread).await? {
                return Ok(done);
            }
        }
        if notices.is_empty()
            && unread != turn.stored.badge
            && let Next::Stop(done) = self.send_badge(&mut turn, unread).await?
        {
            return Ok(done);
        }
        if turn.progress.failures > 0 {
            // What could not be sent is read by now: the gateway is not known to be back, but nothing waits for it.
            turn.progress = Progress { pos: to, since: 0, ..turn.progress };
            self.store(&mut turn).await?;
        }
        // Else there is nothing to write where nothing was sent: what was looked at would be looked at again.
        Ok(Done::UpTo(to))
    }

    async fn send_event(&self, turn: &mut Turn<'_>, notice: &Notice, unread: u64) -> Result<Next> {
        if self.stopping.load(Ordering::Acquire) {
            return Ok(Next::Stop(again(turn, Duration::ZERO, false)));
        }
        let Some(data) = turn.data() else { return Ok(Next::Stop(Done::Gone)) };
        let body = body::of_event(&turn.row, data, notice, unread)?;
        match self.post(turn, body).await {
            Outcome::Taken => {
                turn.progress = Progress { pos: notice.pos, badge: unread, ..Progress::default() };
                self.store(turn).await?;
                Ok(Next::Go)
            }
            Outcome::Rejected => self.rejected(turn).await,
            Outcome::Refused(why) => {
                if turn.progress.failures.saturating_add(1) >= REFUSALS {
                    tracing::warn!(app = turn.row.pusher.ids.app_id, %why, "a notification was never taken");
                    turn.progress.pos = notice.pos;
                }
                self.failed(turn, &why, Duration::ZERO).await
            }
            Outcome::Failed(why, wait) => self.failed(turn, &why, wait).await,
        }
    }

    async fn send_badge(&self, turn: &mut Turn<'_>, unread: u64) -> Result<Next> {
        if self.stopping.load(Ordering::Acquire) {
            return Ok(Next::Stop(again(turn, Duration::ZERO, false)));
        }
        let Some(data) = turn.data() else { return Ok(Next::Stop(Done::Gone)) };
        let body = body::of_badge(&turn.row, data, unread)?;
        match self.post(turn, body).await {
            Outcome::Taken => {
                turn.progress = Progress { pos: turn.progress.pos, badge: unread, ..Progress::default() };
                self.store(turn).await?;
                Ok(Next::Go)
            }
            Outcome::Rejected => self.rejected(turn).await,
            Outcome::Refused(why) => self.failed(turn, &why, Duration::ZERO).await,
            Outcome::Failed(why, wait) => self.failed(turn, &why, wait).await,
        }
    }

    async fn post(&self, turn: &Turn<'_>, body: bytes::Bytes) -> Outcome {
        let reply = self.gateway.post(&turn.url, body).await;
        Outcome::of(reply, &turn.row.pusher.ids.pushkey)
    }

    async fn rejected(&self, turn: &Turn<'_>) -> Result<Next> {
        let (app, host) = (&turn.row.pusher.ids.app_id, turn.url.host_str());
        tracing::info!(user = turn.job.user, app, host, "a pusher goes: its gateway rejected the pushkey");
        self.delete_rejected(turn.job.user, turn.job.num, &turn.row).await?;
        Ok(Next::Stop(Done::Gone))
    }

    async fn failed(&self, turn: &mut Turn<'_>, why: &str, least: Duration) -> Result<Next> {
        let now = self.clock.now_ms();
        let progress = &mut turn.progress;
        if progress.since == 0 {
            progress.since = now;
        }
        progress.failures = progress.failures.saturating_add(1);
        let time = wait(progress.failures, self.random()).max(least);
        progress.retry_at = now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let (failures, host) = (progress.failures, turn.url.host_str());
        tracing::info!(host, why, failures, ?time, "a push gateway did not take a notification");
        self.store(turn).await?;
        Ok(Next::Stop(again(turn, time, true)))
    }

    /// Writes how far a pusher has come, where it is still what it was.
    async fn store(&self, turn: &mut Turn<'_>) -> Result<()> {
        let key = (turn.job.user, turn.job.num);
        let mut write = self.db.write();
        write.require(PUSHERS.equals(&key, &Json(turn.row.clone())));
        write.put(&PROGRESS, &key, &Json(turn.progress.clone()));
        write.commit().await?;
        turn.stored = turn.progress.clone();
        Ok(())
    }
}

fn again(turn: &Turn<'_>, wait: Duration, kept: bool) -> Done {
    Done::Later { from: turn.progress.pos, rooms: turn.job.rooms.clone(), wait, kept }
}

/// The wait after the `failures`th failure in a row (from 1): doubling, and moved by up to a quarter either way by `jitter` (any number), so
/// that pushers of a gateway that was down do not come all at once.
fn wait(failures: u32, jitter: u32) -> Duration {
    let doubled = 2u32.saturating_pow(failures.saturating_sub(1).min(16));
    let wait = SHORTEST.saturating_mul(doubled).min(LONGEST);
    wait.mul_f64(0.75 + 0.5 * f64::from(jitter) / f64::from(u32::MAX)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_and_end_at_an_hour() {
        assert_eq!(wait(1, 0), Duration::from_millis(750));
        assert_eq!(wait(1, u32::MAX), Duration::from_millis(1250));
        assert!(wait(5, 0) >= Duration::from_secs(12) && wait(5, u32::MAX) <= Duration::from_secs(20));
        assert_eq!(wait(u32::MAX, u32::MAX), LONGEST);
    }
}
