//! What is on its way to other servers: rows in the commits of the events themselves.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::RwLock;
use room::Pdu;
use ruma::{OwnedServerName, UserId, events::TimelineEventType};

use crate::{
    engine::Engine,
    error::EngineError,
    room::Room,
    staged::EventPlace,
    state::CurrentRow,
    tables::{EventNum, OUTBOX, ServerNum},
    user_rooms::Membership,
    writer::RoomWriter,
};

/// Told, after a commit that has something for other servers is durable, which servers, by number. Called on the committer's thread:
/// it wakes and returns.
pub type OutgoingWatcher = Arc<dyn Fn(&[ServerNum]) + Send + Sync>;

/// Who is told.
#[derive(Default)]
pub(crate) struct Watching(RwLock<Option<OutgoingWatcher>>);

impl Watching {
    pub(crate) fn tell(&self, servers: &[ServerNum]) {
        if servers.is_empty() {
            return;
        }
        if let Some(watcher) = &*self.0.read() {
            watcher(servers);
        }
    }
}

impl Engine {
    /// Sets who is told of commits that have something for other servers.
    pub fn on_outgoing(&self, watcher: OutgoingWatcher) {
        *self.view().outgoing.0.write() = Some(watcher);
    }

    /// Queues a stored event for more servers than its own commit did, such as those of users whom it is about. It goes behind
    /// what is queued for them already. This server is left out.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn queue_for(&self, servers: &[OwnedServerName], room: &Room, num: EventNum) -> Result<(), EngineError> {
        let mut nums = BTreeSet::new();
        for server in servers.iter().filter(|server| **server != self.identity.server_name) {
            nums.insert(self.server_num(server).await?);
        }
        if nums.is_empty() {
            return Ok(());
        }
        let (nums, place) = (Vec::from_iter(nums), EventPlace { room: room.num, num });
        let view = self.view();
        let ticket = self.db.enqueue_at(1, |pos, mut write| {
            for server in &nums {
                write.put(&OUTBOX, &(*server, pos), &place);
            }
            write.on_done(move |outcome| {
                if outcome == store::Outcome::Done {
                    view.outgoing.tell(&nums);
                }
            });
            write
        });
        ticket.await?;
        Ok(())
    }
}

impl RoomWriter<'_> {
    /// The other servers that take part as of now; `None` in a room that is on this server alone.
    pub(crate) fn others(&self) -> Result<Option<Arc<[ServerNum]>>, EngineError> {
        let servers = &self.head()?.info.servers;
        Ok((!servers.is_empty()).then(|| Arc::clone(servers)))
    }

    /// Addresses the event that was staged last: to the servers that took part before it (`before`) or do now, and to that of a
    /// user whose invitation or knock it ends; not to `origin`, where it came from.
    pub(crate) async fn address(
        &mut self,
        pdu: &Pdu,
        replaces: Option<CurrentRow>,
        before: Option<Arc<[ServerNum]>>,
        origin: Option<ServerNum>,
    ) -> Result<(), EngineError> {
        let after = self.others()?;
        let about = self.turned_away(pdu, replaces).await?;
        let unchanged = match (&before, &after) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            (None, None) => true,
            _ => false,
        };
        let to = if unchanged && about.is_none() && origin.is_none() {
            after
        } else {
            let lists = [before, after];
            let mut all: BTreeSet<ServerNum> = lists.iter().flatten().flat_map(|list| list.iter().copied()).collect();
            all.extend(about);
            if let Some(origin) = origin {
                all.remove(&origin);
            }
            (!all.is_empty()).then(|| all.into_iter().collect())
        };
        if let Some(staged) = self.staged.last_mut() {
            staged.to = to;
        }
        Ok(())
    }

    /// Addresses an event that was received, where it is for this server to pass it on: an event of our own that another server signed
    /// as well, or one that came to be relayed.
    pub(crate) async fn pass_on(
        &mut self,
        pdu: &Pdu,
        replaces: Option<CurrentRow>,
        before: Option<Arc<[ServerNum]>>,
    ) -> Result<(), EngineError> {
        if self.engine.is_local(&pdu.sender) {
            self.address(pdu, replaces, before, None).await
        } else if self.relay {
            let origin = self.engine.server_num(pdu.sender.server_name()).await?;
            self.address(pdu, replaces, before, Some(origin)).await
        } else {
            Ok(())
        }
    }

    /// What the state has in the place of a membership event.
    pub(crate) async fn replaced_member(&self, pdu: &Pdu) -> Result<Option<CurrentRow>, EngineError> {
        match pdu.state_key.as_deref().filter(|_| pdu.event_type == TimelineEventType::RoomMember) {
            Some(state_key) => self.current("m.room.member", state_key).await,
            None => Ok(None),
        }
    }

    /// The server of a user whose invitation or knock an event ends: it may have nobody else in the room.
    async fn turned_away(&self, pdu: &Pdu, replaces: Option<CurrentRow>) -> Result<Option<ServerNum>, EngineError> {
        let waited = replaces.is_some_and(|row| matches!(row.membership, Membership::Invite | Membership::Knock));
        if !waited || pdu.event_type != TimelineEventType::RoomMember {
            return Ok(None);
        }
        let user_id = pdu.state_key.as_deref().and_then(|key| <&UserId>::try_from(key).ok());
        let Some(user_id) = user_id.filter(|user_id| !self.engine.is_local(user_id)) else { return Ok(None) };
        let turned = !matches!(
            pdu.membership().map(|to| Membership::from_state(&to)),
            Some(Membership::Invite | Membership::Join)
        );
        Ok(if turned { Some(self.engine.server_num(user_id.server_name()).await?) } else { None })
    }
}
