//! Compares the index and the folds with what the events say.

use std::collections::BTreeSet;

use engine::{EVENTS, EventNum, RoomNum, Verdict};
use ledger::{Ledger, entry::is_entry_type};

use crate::{
    Expenses,
    error::RouteError,
    folds::entry_of,
    index::{ENTRIES, REDACTIONS},
};

impl Expenses {
    /// What does not fit in a room, in words; nothing where all is well.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn check_room(&self, num: RoomNum) -> Result<Vec<String>, RouteError> {
        let room = self.engine.room_by_num(num).await?;
        let mut findings = Vec::new();
        let (mut listed, mut redactions) = (Vec::new(), Vec::new());
        let (mut entries, mut soft_failed, mut refused) = (Vec::new(), Vec::new(), BTreeSet::new());
        // Not only those in the stream: an entry may have come by itself, or with history.
        for ((_, event_num), row) in self.engine.db.scan_all(&EVENTS, &num).await? {
            if row.is_state() {
                continue;
            }
            if row.verdict() == Verdict::Rejected {
                refused.insert(event_num);
                continue;
            }
            if row.verdict() == Verdict::SoftFailed {
                refused.insert(event_num);
                if is_entry_type(&row.event_type()) {
                    soft_failed.push(entry_of(&row));
                }
                continue;
            }
            if is_entry_type(&row.event_type()) {
                listed.push(event_num);
                entries.push(entry_of(&row));
            }
            if row.event_type() == "m.room.redaction" {
                // An old redaction that was redacted itself no longer says what it was about; its row stays.
                redactions.push((event_num, row.is_redacted()));
            }
        }
        let rows = self.engine.db.scan_all(&ENTRIES, &num).await?;
        listed.sort_unstable();
        // One that came by itself was listed before what it follows showed that it is no part of the room.
        if !rows.into_iter().map(|((_, num), ())| num).filter(|num| !refused.contains(num)).eq(listed) {
            findings.push(format!("room {num}: the index of ledger entries differs from the events"));
        }
        let rows = self.engine.db.scan_all(&REDACTIONS, &num).await?;
        let rows: BTreeSet<EventNum> = rows.into_iter().map(|((_, num), _)| num).collect();
        let all: BTreeSet<EventNum> = redactions.iter().map(|(num, _)| *num).collect();
        let mut lost = redactions.iter().filter(|(num, emptied)| !emptied && !rows.contains(num));
        if lost.next().is_some() || !rows.is_subset(&all) {
            findings.push(format!("room {num}: the index of redactions differs from the events"));
        }
        if room.info().encrypted {
            return Ok(findings);
        }
        if let Some(root) = self.root_of(&room).await? {
            let folded = self.ledger(&room).await?;
            soft_failed.retain(|entry| folded.ledger.entry(&entry.id).is_some());
            entries.extend(soft_failed);
            // Backwards on purpose: the order must not matter.
            let rebuilt = Ledger::fold(&root, entries.into_iter().rev());
            if rebuilt.digest() != folded.ledger.digest() {
                findings.push(format!("room {num}: the ledger differs from a fold of its entries"));
            }
        }
        Ok(findings)
    }
}
