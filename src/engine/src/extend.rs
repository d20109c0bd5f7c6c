//! Where a room's graph ends once an event from another server is part of it.

use std::{collections::BTreeSet, sync::Arc};

use ::room::Pdu;
use ruma::OwnedEventId;

use crate::{
    error::EngineError, head::Extremity, receive::Landing, resolution::slot_of, row::StateFrom, writer::RoomWriter,
};

/// Events that are not part of the room and are followed back to such as are, at most.
pub(crate) const MAX_BEHIND: usize = 100;

impl RoomWriter<'_> {
    /// The room's graph ends in an accepted event, unless an event that came before follows it.
    pub(crate) async fn extend(
        &mut self,
        pdu: &Arc<Pdu>,
        end: Extremity,
        landing: &Landing,
        followed: bool,
    ) -> Result<(), EngineError> {
        let num = end.num;
        let behind = self.behind(pdu).await?;
        let row = &mut self.head_mut()?.row;
        row.extremities.retain(|end| landing.from != StateFrom::Anew && !behind.contains(&end.event_id));
        if !followed || row.extremities.is_empty() {
            row.extremities.push(end);
        }
        let in_line = row.root == landing.before && matches!(row.extremities.as_slice(), [end] if end.num == num);
        match slot_of(pdu) {
            // One branch goes on, as with an event of our own.
            None if in_line => Ok(()),
            Some((kind, key)) if in_line => {
                let replaces = self.current(&kind, &key).await?;
                self.change_state(pdu, num, replaces, kind, key).await
            }
            _ => self.settle().await,
        }
    }

    /// The events that an event follows: directly, or through such as are not part of the room, which are no ends of its graph.
    async fn behind(&self, pdu: &Pdu) -> Result<BTreeSet<OwnedEventId>, EngineError> {
        let mut behind: BTreeSet<OwnedEventId> = pdu.prev_events.iter().cloned().collect();
        let mut open: Vec<OwnedEventId> = behind.iter().cloned().collect();
        for _ in 0..MAX_BEHIND {
            let Some(id) = open.pop() else { break };
            if self.head()?.row.extremities.iter().any(|end| end.event_id == id) {
                continue;
            }
            let Some(num) = self.find(&id).await? else { continue };
            let row = self.event_row(num).await?;
            if row.outlier() || row.in_room() {
                continue;
            }
            for prev in &self.pdu(num).await?.prev_events {
                if behind.insert(prev.clone()) {
                    open.push(prev.clone());
                }
            }
        }
        Ok(behind)
    }
}
