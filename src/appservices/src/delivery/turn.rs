//! One transaction to one service.

use std::time::Duration;

use auth::appservices::Registration;
use http_kit::retry_wait;
use store::{Json, Pos};

use super::{DeliveryError, LONGEST, Place, SHORTEST, Turn};
use crate::{
    link::CallError,
    services::Services,
    tables::{CURSORS, IN_FLIGHT, InFlight},
};

/// So far a service may have looked ahead in the feed, without anything for it, before its row says so.
const LOOKED_AHEAD: Pos = 256;

/// A transaction about to be sent.
struct Transaction {
    row: InFlight,
    /// Whether the row is in the store: that of what is true for a moment only is not.
    durable: bool,
}

impl Services {
    /// Sends the next transaction to a service: the one that it did not take before, or a new one.
    pub(super) async fn turn(
        &self,
        index: usize,
        service: &Registration,
        place: &mut Place,
    ) -> Result<Turn, DeliveryError> {
        let next = match self.db.get(&IN_FLIGHT, &service.id.to_string()).await? {
            Some(Json(row)) => Some(Transaction { row, durable: true }),
            None => match self.next(index, service, place).await? {
                (next, false) => next,
                // There is more to look at, and nothing to send yet.
                (None, true) => return Ok(Turn::Again),
                (next, true) => next,
            },
        };
        let Some(transaction) = next else {
            self.trim_feed().await?;
            return Ok(Turn::Idle);
        };
        match self.link.transaction(service, &transaction.row.txn_id, transaction.row.body.get()).await {
            Ok(()) => {
                if place.failures > 0 {
                    tracing::info!(service = %service.id, failures = place.failures, "an application service is back");
                }
                place.failures = 0;
                if transaction.durable {
                    self.move_on((index, service), place, transaction.row.upto).await?;
                }
                Ok(Turn::Again)
            }
            Err(error) => Ok(Turn::Wait(self.failed(service, place, &transaction.row, &error))),
        }
    }

    /// What is to be sent next, and whether the feed goes on behind it.
    async fn next(
        &self,
        index: usize,
        service: &Registration,
        place: &mut Place,
    ) -> Result<(Option<Transaction>, bool), DeliveryError> {
        let mut draft = self.compose((index, service), place.seen).await?;
        let durable = !draft.is_empty();
        if let Some(mailbox) = self.mailboxes.get(index).filter(|_| service.receive_ephemeral) {
            self.add_notes((index, service), mailbox, &mut draft).await?;
        }
        if draft.is_empty() {
            place.seen = draft.upto;
            if place.seen >= place.told.saturating_add(LOOKED_AHEAD) {
                self.move_on((index, service), place, place.seen).await?;
            }
            return Ok((None, draft.more));
        }
        let row = self.transaction(service, &draft)?;
        if durable {
            let mut write = self.db.write();
            write.put(&IN_FLIGHT, &service.id.to_string(), &Json(row.clone()));
            write.commit().await?;
        }
        // Not before: what was looked at and is in no row yet has to be looked at again.
        place.seen = draft.upto;
        Ok((Some(Transaction { row, durable }), draft.more))
    }

    /// The service was told everything up to a position: its place is there, in the commit that lets go of what told it.
    async fn move_on(
        &self,
        (index, service): (usize, &Registration),
        place: &mut Place,
        to: Pos,
    ) -> Result<(), DeliveryError> {
        let id = service.id.to_string();
        let mut write = self.db.write();
        write.put(&CURSORS, &id, &to).delete(&IN_FLIGHT, &id);
        write.commit().await?;
        (place.told, place.seen) = (to, to.max(place.seen));
        self.trim.told(index, to);
        Ok(())
    }

    /// Deletes rows of the feed that every service is past.
    async fn trim_feed(&self) -> Result<(), DeliveryError> {
        let told = self.registrations.all().iter().filter(|service| service.url.is_some()).count();
        if let Some(pos) = self.trim.due(told) {
            while self.engine.trim_feed(pos).await? {}
            self.trim.trimmed(pos);
        }
        Ok(())
    }

    fn failed(&self, service: &Registration, place: &mut Place, row: &InFlight, error: &CallError) -> Duration {
        place.failures = place.failures.saturating_add(1);
        let jitter = u32::try_from(self.random() >> 32).unwrap_or_default();
        let time = retry_wait(place.failures, jitter, SHORTEST, LONGEST);
        tracing::info!(
            service = %service.id, %error, failures = place.failures, events = row.events, ?time,
            "an application service did not take a transaction"
        );
        time
    }
}
