//! The end of a writer's work: one commit, and what it changes in memory once it is durable.

use std::sync::{Arc, atomic::Ordering};

use store::{Op, Outcome, Precondition, Ticket, Value, WakeKeys};

use super::RoomWriter;
use crate::{
    error::EngineError,
    head::Head,
    news::News,
    room::Room,
    row::EventRow,
    staged::{Root, Staged, UserChange},
    tables::{EventNum, FILLED, HEADS, ROOTS, ServerNum, UserNum},
};

impl RoomWriter<'_> {
    /// Queues what was staged and gives back a ticket; the lock is released.
    ///
    /// # Errors
    /// Where nothing can be queued.
    pub fn enqueue(mut self) -> Result<Ticket, EngineError> {
        let mut head = self.head.take().ok_or(EngineError::Conflict)?;
        let previous = head.encoded.take();
        head.row.seq += 1;
        let encoded = head.row.encode();
        let heads_key = HEADS.key(&self.room.num);
        self.preconditions.push(match previous {
            Some(previous) => Precondition::Equals(HEADS.keyspace, heads_key.clone(), previous),
            None => Precondition::Absent(HEADS.keyspace, heads_key.clone()),
        });
        self.ops.push(Op::Put(HEADS.keyspace, heads_key, encoded.clone()));
        head.encoded = Some(encoded);

        self.queued = self.ops.len() + self.staged.len();
        let (ops, preconditions) = (std::mem::take(&mut self.ops), std::mem::take(&mut self.preconditions));
        let (mut staged, changes) = (std::mem::take(&mut self.staged), std::mem::take(&mut self.user_changes));
        let rewritten = std::mem::take(&mut self.rewritten);
        let promoted = std::mem::take(&mut self.promoted);
        let kept = std::mem::take(&mut self.kept);
        if !(rewritten.is_empty() && promoted.is_empty()) {
            self.engine.view().rewriting();
        }
        let info = self.state_changed.then(|| Arc::new(head.info.clone()));
        let wake = wake_keys(&head, &changes);
        let outgoing = destinations(&staged);
        let room = Arc::clone(self.room);
        let (engine, overlay) = (self.engine, &mut head.overlay);
        let (filled, reordered) = (self.filled.take(), self.reordered);
        // Whoever follows the room looks again where its newest position has moved on.
        let view = engine.view();
        let positions = (staged.len() as u64 + u64::from(filled.is_some())).max(u64::from(self.aside));
        let ticket = self.engine.db.enqueue_at(positions, |first, mut write| {
            write.ops(ops);
            for precondition in preconditions {
                write.require(precondition);
            }
            let mut pos = first;
            for event in &mut staged {
                event.write(&room, pos, &mut write, overlay);
                if event.row.in_stream() {
                    view.feed.event(&mut write, pos, room.num, event.num);
                }
                pos += 1;
            }
            if let Some((begun, root)) = filled {
                write.op(FILLED.put(&(room.num, begun), &pos)).op(ROOTS.put(&(room.num, pos), &Root(root)));
                pos += 1;
            }
            let users: Vec<_> = changes.iter().map(|change| change.write(&room, first, &mut write, overlay)).collect();
            overlay.queued(pos.saturating_sub(1).max(first));
            write.wake(wake);
            let landed = Landed {
                last: first.saturating_add(positions).saturating_sub(1),
                queued: pos.saturating_sub(1).max(first),
                info,
                users,
                events: staged.iter().map(|event| (event.num, event.row.clone())).collect(),
                rewritten,
                outgoing,
                promoted,
                filled: filled.is_some(),
                reordered,
            };
            write.on_done(move |outcome| {
                landed.publish(&view, &room, outcome);
                drop(kept);
            });
            write
        });
        *self.guard = Some(head);
        Ok(ticket)
    }

    /// Queues what was staged, releases the lock, and waits until it is durable. Where the room has a policy server, that is asked
    /// about each event before, and the lock is not held meanwhile.
    ///
    /// # Errors
    /// [`EngineError::Policy`] where the policy server does not approve, [`EngineError::Forbidden`] where the room changed meanwhile,
    /// [`EngineError::Conflict`] where the commit was dropped, [`EngineError::Write`] where its outcome is unknown.
    pub async fn commit(self) -> Result<(), EngineError> {
        if let Some(policy) = self.to_be_asked().await? {
            return Box::pin(self.commit_approved(policy)).await;
        }
        self.enqueue()?.await?;
        Ok(())
    }
}

/// Who waits for news of this commit: the room's local members, before and after, and those it is about.
fn wake_keys(head: &Head, changes: &[UserChange]) -> WakeKeys {
    let mut wake = WakeKeys::Shared(Arc::clone(&head.info.local_members));
    for change in changes {
        wake = wake.and(change.user);
    }
    wake
}

/// The servers that the commit has something for.
fn destinations(staged: &[Staged]) -> Vec<ServerNum> {
    let mut servers: Vec<ServerNum> =
        staged.iter().filter_map(|event| event.to.as_deref()).flatten().copied().collect();
    servers.sort_unstable();
    servers.dedup();
    servers
}

/// What a commit changes in memory once it is durable.
struct Landed {
    last: u64,
    /// Where the overlay has the commit's rows.
    queued: u64,
    info: Option<Arc<crate::room::RoomInfo>>,
    users: Vec<(UserNum, crate::user_rooms::UserRoom)>,
    events: Vec<(EventNum, EventRow)>,
    rewritten: Vec<(EventNum, EventRow)>,
    outgoing: Vec<ServerNum>,
    promoted: Vec<EventNum>,
    filled: bool,
    reordered: bool,
}

impl Landed {
    fn publish(self, view: &crate::engine::View, room: &Room, outcome: Outcome) {
        let rewrote = !(self.rewritten.is_empty() && self.promoted.is_empty());
        if outcome == Outcome::Done {
            let landed = view.following.nums([&self.events, &self.rewritten]);
            for (num, row) in self.rewritten {
                view.emptied(room.num, num);
                view.event(room.num, num, row);
            }
            for num in self.promoted {
                view.emptied(room.num, num);
            }
            let grown = self.events.iter().any(|(_, row)| row.in_stream()) || self.filled;
            let accepted = || self.events.iter().filter(|(_, row)| row.in_stream());
            if let Some(depth) = accepted().map(|(_, row)| row.depth()).max() {
                room.pulse.deepest_at(depth);
            }
            room.landed(accepted().map(|(num, row)| (row.pos(), *num)));
            for (num, row) in self.events {
                view.event(room.num, num, row);
            }
            // The rows are in the store: a room that nobody writes to for a while holds no copies of them.
            if let Ok(mut writer) = room.writer.try_lock()
                && let Some(head) = writer.as_mut()
            {
                head.overlay.prune(self.queued);
            }
            if let Some(info) = self.info {
                let whole = room.info().partial && !info.partial;
                room.publish(info);
                if whole {
                    room.made_whole.notify_waiters();
                }
            }
            if self.reordered {
                room.tail_from(self.last);
            }
            if self.filled {
                room.pulse.filled_at(self.last);
            }
            let users: Vec<UserNum> = self.users.iter().map(|(user, _)| *user).collect();
            for (user, row) in self.users {
                view.user_room(user, room.num, row);
            }
            room.pulse.timeline_at(self.last);
            view.outgoing.tell(&self.outgoing);
            view.following.tell(room.num, &landed, self.last);
            if grown || !users.is_empty() {
                let members = grown.then(|| Arc::clone(&room.info().local_members));
                view.news.tell(|| News { room: room.num, members, users });
            }
            view.feed.tell();
        } else {
            room.broken.store(true, Ordering::Release);
        }
        if rewrote {
            view.rewritten();
        }
    }
}
