//! The index of entries, written in the events' own commits.

use engine::{EventNum, Projector, RoomNum};
use ledger::entry::is_entry_type;
use room::Pdu;
use store::{Keyspace, Op, Table};

/// Entries of a room, by number. Bytes 112 to 127 of [`Keyspace::Index`] are this crate's.
pub(crate) const ENTRIES: Table<(RoomNum, EventNum), ()> = Table::new(Keyspace::Index, 112, "ledger_entries");
/// Entries that were redacted.
pub(crate) const REDACTED: Table<(RoomNum, EventNum), ()> = Table::new(Keyspace::Index, 113, "ledger_redacted");

/// Lists every entry in the commit of its event. Appends only, so that it needs to see nothing else.
#[derive(Debug, Clone, Copy)]
pub struct LedgerIndex;

impl Projector for LedgerIndex {
    fn project(&self, room: RoomNum, num: EventNum, event: &Pdu) -> Vec<Op> {
        if event.state_key.is_none() && is_entry_type(&event.event_type.to_string()) {
            vec![ENTRIES.put(&(room, num), &())]
        } else {
            Vec::new()
        }
    }

    fn redacted(&self, room: RoomNum, num: EventNum, event_type: &str) -> Vec<Op> {
        if is_entry_type(event_type) { vec![REDACTED.put(&(room, num), &())] } else { Vec::new() }
    }
}
