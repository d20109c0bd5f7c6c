//! The index of entries, written in the events' own commits.

use engine::{EventNum, Projector, RoomNum};
use futures::future::BoxFuture;
use ledger::entry::is_entry_type;
use room::Pdu;
use ruma::events::TimelineEventType;
use store::{Db, Keyspace, Op, Page, StoreError, Table};

/// Entries of a room, by number. Bytes 112 to 127 of [`Keyspace::Index`] are this crate's.
pub(crate) const ENTRIES: Table<(RoomNum, EventNum), ()> = Table::new(Keyspace::Index, 112, "ledger_entries");
/// What the redactions of a room are about, by the redaction's number: so that a fold reads only the new ones.
pub(crate) const REDACTIONS: Table<(RoomNum, EventNum), String> = Table::new(Keyspace::Index, 113, "ledger_redactions");

/// When an entry was last judged otherwise than before: which rows count is then to be looked at from the beginning.
pub(crate) const REJUDGED: Table<RoomNum, u64> = Table::new(Keyspace::Index, 114, "ledger_rejudged");

/// Lists every entry and every redaction in the commit of its event. Appends only, so that it needs to see nothing else.
#[derive(Debug, Clone, Copy)]
pub struct LedgerIndex;

impl Projector for LedgerIndex {
    fn project(&self, room: RoomNum, num: EventNum, event: &Pdu) -> Vec<Op> {
        if event.state_key.is_some() {
            return Vec::new();
        }
        match (&event.event_type, &event.redacts) {
            (TimelineEventType::RoomRedaction, Some(target)) => vec![REDACTIONS.put(&(room, num), &target.to_string())],
            (kind, _) if is_entry_type(&kind.to_string()) => vec![ENTRIES.put(&(room, num), &())],
            _ => Vec::new(),
        }
    }

    fn rejudged(&self, room: RoomNum, event: &Pdu, judgement: u64) -> Vec<Op> {
        let is_entry = event.state_key.is_none() && is_entry_type(&event.event_type.to_string());
        if is_entry { vec![REJUDGED.put(&room, &judgement)] } else { Vec::new() }
    }

    fn listed<'a>(
        &'a self,
        db: &'a Db,
        room: RoomNum,
        after: EventNum,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<EventNum>, StoreError>> {
        Box::pin(async move {
            let from = (room, after.saturating_add(1));
            let rows = db.scan(&ENTRIES, &from, &(room, EventNum::MAX), Page::first(limit)).await?;
            Ok(rows.into_iter().map(|((_, num), ())| num).collect())
        })
    }
}
