//! Is an event of another server genuine? What costs nothing is looked at before any key is fetched.
//! [Checks on receipt](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu), steps 1 to 3.

use std::collections::{BTreeMap, BTreeSet};

use room::{
    RoomVersionRules,
    check::{CheckError, ReceivedEvent, UnverifiedEvent},
};
use ruma::{MilliSecondsSinceUnixEpoch, OwnedServerName, UInt};
use serde_json::value::RawValue;

use crate::{Federation, keys::Keys, pdus::PduError};

/// Events that are checked on a worker thread and not where others wait, from this many on.
const LARGE: usize = 32;
/// Events that one worker thread checks in one go.
const BATCH: usize = 256;
/// How far ahead of ours another server's clock may be, in milliseconds, for its keys to be asked for once more. Without an end, any
/// event "of the future" would cost a request.
const CLOCK_SKEW: u64 = 3_600_000;

pub(crate) type Parsed = Result<UnverifiedEvent, CheckError>;
pub(crate) type Checked = Result<ReceivedEvent, PduError>;

impl Federation {
    /// Checks size, form, signatures and hash of one event, `json` being the text it came as.
    ///
    /// # Errors
    /// [`PduError::Check`]
    pub async fn check_pdu(&self, json: &RawValue, rules: &RoomVersionRules) -> Result<ReceivedEvent, PduError> {
        let event = UnverifiedEvent::parse(json.get(), rules)?;
        let keys = self.keys_of(std::slice::from_ref(&event).iter()).await;
        Ok(verify(event, rules, &keys)?)
    }

    /// The same for several events, in their order. The keys of all are fetched together; their number is bounded by the caller.
    pub async fn check_pdus(&self, events: Vec<Box<RawValue>>, rules: &RoomVersionRules) -> Vec<Checked> {
        let parsed = parse_pdus(events, rules).await;
        self.verify_pdus(parsed, rules).await
    }

    /// The second half of [`Federation::check_pdus`]: signatures and hashes of events whose form is proper.
    pub(crate) async fn verify_pdus(&self, parsed: Vec<Parsed>, rules: &RoomVersionRules) -> Vec<Checked> {
        let keys = self.keys_of(parsed.iter().filter_map(|event| event.as_ref().ok())).await;
        let verify = move |event: Parsed, rules: &RoomVersionRules| verify(event?, rules, &keys);
        let checked = in_batches(parsed, rules, verify).await;
        checked.into_iter().map(|event| event.map_err(PduError::from)).collect()
    }

    /// Fetches the keys that some events need.
    async fn keys_of(&self, events: impl Iterator<Item = &UnverifiedEvent>) -> Keys {
        let mut wanted: BTreeMap<OwnedServerName, BTreeSet<String>> = BTreeMap::new();
        let mut valid_at = None;
        for event in events {
            for (server, key_ids) in event.wanted_keys() {
                wanted.entry(server.clone()).or_default().extend(key_ids.iter().cloned());
            }
            valid_at = valid_at.max(event.valid_at());
        }
        let latest = UInt::new_saturating(self.clock.now_ms().saturating_add(CLOCK_SKEW));
        let valid_at = valid_at.map(|at| at.min(MilliSecondsSinceUnixEpoch(latest)));
        let wanted: Vec<(OwnedServerName, Vec<String>)> =
            wanted.into_iter().map(|(server, ids)| (server, ids.into_iter().collect())).collect();
        self.keys.fetch(&wanted, valid_at).await
    }
}

/// The first half of [`Federation::check_pdus`]: size and form, which need no key.
pub(crate) async fn parse_pdus(events: Vec<Box<RawValue>>, rules: &RoomVersionRules) -> Vec<Parsed> {
    in_batches(events, rules, |event, rules| UnverifiedEvent::parse(event.get(), rules)).await
}

fn verify(event: UnverifiedEvent, rules: &RoomVersionRules, keys: &Keys) -> Result<ReceivedEvent, CheckError> {
    event.verify(rules, |server, key_id, valid_at| keys.get(server, key_id, valid_at))
}

/// Does the same work for every item, in their order: on worker threads where there is much of it.
async fn in_batches<T, R>(
    items: Vec<T>,
    rules: &RoomVersionRules,
    work: impl Fn(T, &RoomVersionRules) -> Result<R, CheckError> + Send + Sync + 'static,
) -> Vec<Result<R, CheckError>>
where
    T: Send + 'static,
    R: Send + 'static,
{
    if items.len() < LARGE {
        return items.into_iter().map(|item| work(item, rules)).collect();
    }
    let (work, rules) = (std::sync::Arc::new(work), std::sync::Arc::new(rules.clone()));
    let mut out = Vec::with_capacity(items.len());
    let mut items = items.into_iter();
    loop {
        let batch: Vec<T> = items.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return out;
        }
        let (size, work, rules) = (batch.len(), std::sync::Arc::clone(&work), std::sync::Arc::clone(&rules));
        let done = tokio::task::spawn_blocking(move || batch.into_iter().map(|item| work(item, &rules)).collect());
        match done.await {
            Ok(done) => out.extend::<Vec<_>>(done),
            // The thread pool is shutting down, and so is the server.
            Err(error) => out.extend((0..size).map(|_| Err(CheckError::Format(error.to_string())))),
        }
    }
}
