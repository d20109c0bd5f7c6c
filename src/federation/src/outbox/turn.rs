//! One transaction to one destination.

use std::{collections::BTreeMap, time::Duration};

use engine::{EngineError, OUTBOX, RECEIPTS_OUT, ServerNum};
use http::Method;
use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use store::{IdKind, Json, Page, Pos};
use users::EDUS_OUT;

use super::{
    Outbox, OutboxError,
    backoff::{self, Next},
    queues::Done,
    stats::add,
    tables::{HEALTH, Health, IN_FLIGHT, InFlight},
};
use crate::{CallError, CallLimits};

/// Events in a transaction, at most.
/// [Transactions](https://spec.matrix.org/v1.19/server-server-api/#transactions).
const MAX_PDUS: usize = 50;
/// Receivers answer when they have taken everything in, which may need requests of their own.
const LIMITS: CallLimits = CallLimits { timeout: Duration::from_secs(60), max_body: 1 << 20 };

/// Bytes of the events of a transaction, about.
const MAX_BYTES: usize = 1 << 20;

/// A transaction about to be sent.
struct Transaction {
    row: InFlight,
    /// Whether the row is in the store: those of what is true for a moment only are not.
    durable: bool,
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
#[derive(Serialize)]
struct Body<'a> {
    origin: &'a ServerName,
    origin_server_ts: u64,
    pdus: &'a [Box<RawValue>],
    edus: &'a [Box<RawValue>],
}

#[derive(Deserialize)]
struct Answer {
    /// What became of each event, where the server says so.
    #[serde(default)]
    pdus: BTreeMap<String, PduResult>,
}

#[derive(Deserialize)]
struct PduResult {
    error: Option<String>,
}

impl Outbox {
    /// Sends the next transaction to a destination: the one that it did not take before, or a new one.
    pub(super) async fn turn(&self, server: ServerNum, due: bool) -> Result<Done, OutboxError> {
        let Some(name) = self.name_of(server).await? else {
            self.forget(server).await?;
            return Ok(Done::Idle);
        };
        let health = self.db.get(&HEALTH, &server).await?.map(|row| row.0);
        if let Some(health) = &health {
            let left = Duration::from_millis(health.retry_at.saturating_sub(self.clock.now_ms()));
            if !due && !left.is_zero() {
                return Ok(Done::Wait { name, time: left.min(backoff::LONGEST) });
            }
            self.queues.trying(server, &name);
            self.collapse(server, &name, health).await?;
        }
        let Some(transaction) = self.next_transaction(server).await? else { return Ok(Done::Idle) };
        match self.send(&name, &transaction.row).await {
            Ok(answer) => {
                self.note_refusals(&name, &transaction.row, &answer);
                add(&self.counters.transactions, 1);
                add(&self.counters.pdus, transaction.row.pdus.len());
                add(&self.counters.edus, transaction.row.edus);
                let more = self.settle(server, &transaction, health.is_some()).await?;
                Ok(Done::Sent { more })
            }
            Err(error) => self.failed(server, name, transaction, health, &error).await,
        }
    }

    pub(super) async fn name_of(&self, server: ServerNum) -> Result<Option<OwnedServerName>, OutboxError> {
        let name = self.engine.ids.name(IdKind::Server, server).await?;
        Ok(name.and_then(|name| OwnedServerName::try_from(&*name).ok()))
    }

    /// Deletes what is queued for a server that has no name.
    async fn forget(&self, server: ServerNum) -> Result<(), OutboxError> {
        tracing::error!(server, "something is queued for a server that is not known");
        let mut write = self.db.write();
        write
            .op(OUTBOX.delete_prefix(&server))
            .op(RECEIPTS_OUT.delete_prefix(&server))
            .op(EDUS_OUT.delete_prefix(&server));
        write.delete(&IN_FLIGHT, &server).delete(&HEALTH, &server);
        Ok(write.commit().await?)
    }

    async fn next_transaction(&self, server: ServerNum) -> Result<Option<Transaction>, OutboxError> {
        if let Some(Json(row)) = self.db.get(&IN_FLIGHT, &server).await? {
            return Ok(Some(Transaction { row, durable: true }));
        }
        if let Some(row) = self.compose(server, (0, 0, 0)).await? {
            let mut write = self.db.write();
            write.put(&IN_FLIGHT, &server, &Json(row.clone()));
            write.commit().await?;
            return Ok(Some(Transaction { row, durable: true }));
        }
        let edus = self.queues.take_edus(server);
        if edus.is_empty() {
            return Ok(None);
        }
        let row = self.transaction(&[], &edus)?;
        Ok(Some(Transaction { row, durable: false }))
    }

    /// What is queued from three positions on, of events, of receipts and about devices, as much as fits, with what is to be told
    /// besides; nothing where there is none of them.
    async fn compose(&self, server: ServerNum, from: (Pos, Pos, Pos)) -> Result<Option<InFlight>, OutboxError> {
        let (positions, pdus) = self.events(server, from.0).await?;
        let receipts = self.receipts(server, from.1).await?;
        let devices = self.device_edus(server, from.2).await?;
        if positions.is_empty() && receipts.edus.is_empty() && devices.edus.is_empty() {
            return Ok(None);
        }
        let mut edus = self.queues.take_edus(server);
        edus.extend(devices.edus);
        edus.extend(receipts.edus);
        let row = self.transaction(&pdus, &edus)?;
        Ok(Some(InFlight { pdus: positions, receipts: receipts.taken, devices: devices.taken, ..row }))
    }

    /// Events that are queued from a position on, with their positions: as many as fit into a transaction.
    async fn events(&self, server: ServerNum, from: Pos) -> Result<(Vec<Pos>, Vec<Box<RawValue>>), OutboxError> {
        let end = (server.saturating_add(1), 0u64);
        let rows = self.db.scan(&OUTBOX, &(server, from), &end, Page::first(MAX_PDUS)).await?;
        let (mut positions, mut pdus, mut bytes) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()), 0);
        for ((_, pos), place) in rows {
            match self.engine.event(place.room, place.num).await {
                Ok(event) => {
                    bytes += event.json().len();
                    if bytes > MAX_BYTES && !pdus.is_empty() {
                        break;
                    }
                    pdus.push(RawValue::from_string(event.json().to_owned())?);
                }
                // The room was purged since.
                Err(EngineError::UnknownEvent) => {}
                Err(error) => return Err(error.into()),
            }
            positions.push(pos);
        }
        Ok((positions, pdus))
    }

    /// A new transaction with this in it.
    fn transaction(&self, pdus: &[Box<RawValue>], edus: &[Box<RawValue>]) -> Result<InFlight, OutboxError> {
        let now = self.clock.now_ms();
        let origin = &self.engine.identity.server_name;
        let body = to_raw_value(&Body { origin, origin_server_ts: now, pdus, edus })?;
        let txn_id = format!("{now:x}-{:016x}", self.random());
        let (pdus, receipts, devices) = (Vec::new(), Vec::new(), Vec::new());
        Ok(InFlight { txn_id, body, pdus, receipts, devices, edus: edus.len() })
    }

    async fn send(&self, to: &ServerName, row: &InFlight) -> Result<Answer, CallError> {
        let target = format!("/_matrix/federation/v1/send/{}", row.txn_id);
        self.client.json_at_once(to, Method::PUT, target, &row.body, LIMITS).await
    }

    /// Events that the other server would not have are its decision: they are not sent again.
    fn note_refusals(&self, to: &ServerName, row: &InFlight, answer: &Answer) {
        for (event_id, result) in answer.pdus.iter().take(row.pdus.len()) {
            if let Some(error) = &result.error {
                add(&self.counters.refused, 1);
                let error = error.get(..error.floor_char_boundary(300)).unwrap_or_default();
                tracing::warn!(%to, event_id, error, "an event was refused");
            }
        }
    }

    /// Deletes what was taken, and that the destination was down. Where there is more, the next transaction takes its place in the
    /// same commit: under load there is one write for each. Says whether there is.
    async fn settle(&self, server: ServerNum, transaction: &Transaction, was_down: bool) -> Result<bool, OutboxError> {
        let mut write = self.db.write();
        let mut next = None;
        if transaction.durable {
            let row = &transaction.row;
            let behind = |taken: &[Pos]| taken.last().map_or(0, |last| last.saturating_add(1));
            next = self.compose(server, (behind(&row.pdus), behind(&row.receipts), behind(&row.devices))).await?;
            write.ops(row.pdus.iter().map(|pos| OUTBOX.delete(&(server, *pos))));
            write.ops(row.receipts.iter().map(|pos| RECEIPTS_OUT.delete(&(server, *pos))));
            write.ops(row.devices.iter().map(|pos| EDUS_OUT.delete(&(server, *pos))));
            match &next {
                Some(next) => write.put(&IN_FLIGHT, &server, &Json(next.clone())),
                None => write.delete(&IN_FLIGHT, &server),
            };
        }
        if was_down {
            write.delete(&HEALTH, &server);
        }
        if transaction.durable || was_down {
            write.commit().await?;
        }
        Ok(next.is_some())
    }

    async fn failed(
        &self,
        server: ServerNum,
        name: OwnedServerName,
        transaction: Transaction,
        health: Option<Health>,
        error: &CallError,
    ) -> Result<Done, OutboxError> {
        add(&self.counters.failures, 1);
        let now = self.clock.now_ms();
        let failures = health.map_or(0, |health| health.failures).saturating_add(1);
        let jitter = u32::try_from(self.random() >> 32).unwrap_or_default();
        let time = match backoff::next(error, failures) {
            Next::Retry(least) => backoff::wait(failures, jitter).max(least),
            Next::GiveUp => {
                tracing::warn!(%name, %error, events = transaction.row.pdus.len(), "a transaction was never taken");
                add(&self.counters.dropped, transaction.row.pdus.len());
                let more = self.settle(server, &transaction, true).await?;
                return Ok(Done::Sent { more });
            }
        };
        tracing::info!(%name, %error, failures, ?time, "a transaction was not taken");
        let wait = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let since = health.map_or(now, |health| health.since);
        let mut write = self.db.write();
        write.put(&HEALTH, &server, &Json(Health { failures, since, retry_at: now.saturating_add(wait) }));
        write.commit().await?;
        Ok(Done::Wait { name, time })
    }
}
