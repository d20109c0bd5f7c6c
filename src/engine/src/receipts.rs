//! Read receipts, public and private. [Receipts](https://spec.matrix.org/v1.19/client-server-api/#receipts).

use std::sync::Arc;

use ruma::UserId;
use serde::{Deserialize, Serialize};
use store::{Json, Outcome, Page, Pos, WakeKeys};

use crate::{
    engine::Engine,
    error::EngineError,
    feed::FeedEntry,
    news::News,
    room::Room,
    tables::{EventNum, RECEIPT_STREAM, RECEIPTS, RECEIPTS_OUT, RoomNum, ServerNum, UserNum},
};

/// Tries to set a receipt while others of the same user land in between.
const ATTEMPTS: usize = 5;

/// The newest receipt of a user of one kind in one thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRow {
    /// The user's id.
    pub user_id: String,
    /// The event up to which was read.
    pub event_id: String,
    /// Its number, 0 where the event is not known here.
    pub num: EventNum,
    /// When, milliseconds.
    pub ts: u64,
    /// Where in the stream the receipt was set.
    pub pos: Pos,
}

/// A receipt and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The user's number.
    pub user: UserNum,
    /// `m.read` or `m.read.private`.
    pub kind: String,
    /// The thread: a root's id, `main`, or empty where the receipt is unthreaded.
    pub thread: String,
    /// The rest.
    pub row: ReceiptRow,
}

/// A receipt to be set.
#[derive(Debug, Clone, Copy)]
pub struct NewReceipt<'a> {
    /// The user's number.
    pub user: UserNum,
    /// The user's id.
    pub user_id: &'a str,
    /// `m.read` or `m.read.private`.
    pub kind: &'a str,
    /// See [`Receipt::thread`].
    pub thread: &'a str,
    /// The event.
    pub event_id: &'a str,
    /// When, milliseconds since the Unix epoch, where another server says so; none for now.
    pub ts: Option<u64>,
}

impl Engine {
    /// Sets a receipt, where it does not go back behind the one there is. Says whether it was set. A public one of a user of ours is
    /// queued, in the same commit, for the other servers that take part in the room.
    ///
    /// # Errors
    /// [`EngineError::UnknownEvent`] where the event is not in the room, and those of the store.
    pub async fn set_receipt(&self, room: &Arc<Room>, new: NewReceipt<'_>) -> Result<bool, EngineError> {
        let num = self.find_event(room.num, new.event_id).await?.ok_or(EngineError::UnknownEvent)?;
        for _ in 1..ATTEMPTS {
            match self.try_receipt(room, new, num).await {
                // The same user set another one in between: look again which of the two is further on.
                Err(EngineError::Conflict) => {}
                other => return other,
            }
        }
        self.try_receipt(room, new, num).await
    }

    async fn try_receipt(&self, room: &Arc<Room>, new: NewReceipt<'_>, num: EventNum) -> Result<bool, EngineError> {
        let key = (room.num, new.user, new.kind.to_owned(), new.thread.to_owned());
        let before = self.db.get(&RECEIPTS, &key).await?.map(|row| row.0);
        if let Some(before) = &before
            && before.num != 0
            && self.event(room.num, before.num).await?.pos() >= self.event(room.num, num).await?.pos()
        {
            return Ok(false);
        }
        let ts = new.ts.unwrap_or_else(|| self.now());
        let private = new.kind == "m.read.private";
        let wake = if private { WakeKeys::one(new.user) } else { WakeKeys::Shared(room.info().local_members.clone()) };
        let (user_id, event_id) = (new.user_id.to_owned(), new.event_id.to_owned());
        let room_here = Arc::clone(room);
        let ours = <&UserId>::try_from(new.user_id).is_ok_and(|user_id| self.is_local(user_id));
        let servers: Arc<[ServerNum]> =
            if ours && !private { Arc::clone(&room.info().servers) } else { Vec::new().into() };
        let (view, user) = (self.view(), new.user);
        let ticket = self.db.enqueue_at(1, |at, mut write| {
            match before {
                Some(before) => {
                    write.delete(&RECEIPT_STREAM, &(room.num, before.pos));
                    for server in servers.iter() {
                        write.delete(&RECEIPTS_OUT, &(*server, before.pos));
                    }
                    write.require(RECEIPTS.equals(&key, &Json(before)));
                }
                None => {
                    write.require(RECEIPTS.absent(&key));
                }
            }
            let place = format!("{}\u{0}{}\u{0}{}", key.1, key.2, key.3);
            write.put(&RECEIPT_STREAM, &(room.num, at), &place);
            view.feed.entry(&mut write, at, || FeedEntry::Receipt(room.num));
            write.put(&RECEIPTS, &key, &Json(ReceiptRow { user_id, event_id, num, ts, pos: at }));
            for server in servers.iter() {
                write.put(&RECEIPTS_OUT, &(*server, at), &room.num);
            }
            write.wake(wake);
            // Before anybody is woken: who looks then has to see that there is something to look at.
            write.on_done(move |outcome| {
                if outcome == Outcome::Done {
                    room_here.pulse.receipts_at(at);
                    view.outgoing.tell(&servers);
                    if ours {
                        view.news.tell(|| News { room: room_here.num, members: None, users: vec![user] });
                    }
                    view.feed.tell();
                }
            });
            write
        });
        ticket.await?;
        Ok(true)
    }

    /// A user's receipt of one kind in one thread.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receipt(
        &self,
        room: RoomNum,
        user: UserNum,
        kind: &str,
        thread: &str,
    ) -> Result<Option<ReceiptRow>, EngineError> {
        let key = (room, user, kind.to_owned(), thread.to_owned());
        Ok(self.db.get(&RECEIPTS, &key).await?.map(|row| row.0))
    }

    /// A user's receipts in a room.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receipts_of(&self, room: RoomNum, user: UserNum) -> Result<Vec<Receipt>, EngineError> {
        let rows = self.db.scan_all(&RECEIPTS, &(room, user)).await?;
        Ok(rows.into_iter().map(|((_, user, kind, thread), row)| Receipt { user, kind, thread, row: row.0 }).collect())
    }

    /// Receipts set after one position and up to another, the newest `limit` of them.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receipts_between(
        &self,
        room: RoomNum,
        after: Pos,
        to: Pos,
        limit: usize,
    ) -> Result<Vec<Receipt>, EngineError> {
        let range = ((room, after.saturating_add(1)), (room, to.saturating_add(1)));
        let mut rows = self.db.scan(&RECEIPT_STREAM, &range.0, &range.1, Page::last(limit)).await?;
        rows.reverse();
        let keys: Vec<_> = rows.iter().filter_map(|(_, place)| key_of(room, place)).collect();
        let found = self.db.multi_get(&RECEIPTS, &keys).await?;
        Ok(keys
            .into_iter()
            .zip(found)
            .filter_map(|((_, user, kind, thread), row)| Some(Receipt { user, kind, thread, row: row?.0 }))
            .collect())
    }
    /// Receipts that are queued for a server, from a position on, in the order in which they were set: where each is queued, its room, and
    /// the receipt; `None` where a newer one has taken its place.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receipts_for(
        &self,
        server: ServerNum,
        from: Pos,
        limit: usize,
    ) -> Result<Vec<(Pos, RoomNum, Option<Receipt>)>, EngineError> {
        let end = (server.saturating_add(1), 0u64);
        let queued = self.db.scan(&RECEIPTS_OUT, &(server, from), &end, Page::first(limit)).await?;
        let places: Vec<(RoomNum, Pos)> = queued.iter().map(|((_, pos), room)| (*room, *pos)).collect();
        let found = self.db.multi_get(&RECEIPT_STREAM, &places).await?;
        let mut out = Vec::with_capacity(queued.len());
        for ((room, pos), place) in places.into_iter().zip(found) {
            let key = place.and_then(|place| key_of(room, &place));
            let row = match &key {
                Some(key) => self.db.get(&RECEIPTS, key).await?,
                None => None,
            };
            let receipt = key.zip(row).map(|((_, user, kind, thread), row)| Receipt { user, kind, thread, row: row.0 });
            out.push((pos, room, receipt.filter(|receipt| receipt.row.pos == pos)));
        }
        Ok(out)
    }
}

/// Whose receipt stands at a place of the stream, of which kind and in which thread.
pub(crate) fn key_of(room: RoomNum, place: &str) -> Option<(RoomNum, UserNum, String, String)> {
    let mut parts = place.split('\u{0}');
    let user = parts.next()?.parse::<UserNum>().ok()?;
    Some((room, user, parts.next()?.to_owned(), parts.next()?.to_owned()))
}
