//! Folds of rooms' ledgers, kept in memory and brought up to date from the index when somebody asks.
//!
//! Readers get a snapshot and hold no lock while they use it. A fold is changed in place where nobody holds a snapshot, and
//! copied where somebody does: so use snapshots for computing, not while waiting.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use engine::{EventNum, EventRow, Room, RoomNum, Verdict};
use ledger::{Entry, Ledger, Plans, Source, entry::is_entry_type, ids::is_event_id};
use store::{Page, Pos};
use tokio::sync::Mutex;

use crate::{
    Expenses, POINTER,
    error::RouteError,
    index::{ENTRIES, REDACTIONS, REJUDGED},
    kept::{Weighed, Weighted, bounded},
};

/// Folds kept in memory, about.
const KEPT: usize = 10_000;
/// Entries kept in memory, over all folds: one takes about a kilobyte.
const KEPT_ENTRIES: u64 = 200_000;
/// What a fold weighs beside its entries.
const BASE_WEIGHT: u64 = 4;
/// No fold weighs more than this share of all, or the largest ones could never be kept.
const LARGEST: u64 = KEPT_ENTRIES / 2;
/// Rows read at once.
const PAGE: usize = 1000;
/// Cited events that are not among the entries that are looked for each time, at most.
const MISSING: usize = 1000;
/// From so many balances or entries on, plans and digest are computed on a thread of their own.
const MANY_BALANCES: usize = 12;
const MANY_ENTRIES: usize = 2000;

/// A ledger with what it was folded from.
#[derive(Debug, Clone)]
pub(crate) struct Folded {
    pub(crate) ledger: Ledger,
    plans: OnceLock<Arc<Plans>>,
    /// The room's newest position when everything up to there had been folded.
    seen: Option<Pos>,
    /// The last entry and the last redaction that were looked at.
    entry: EventNum,
    redaction: EventNum,
    /// Entries looked at, those of other ledgers included.
    looked_at: u64,
    /// When an entry was last judged otherwise than before: see [`REJUDGED`].
    judged: Option<u64>,
    /// Whether there are entries that are in it because others cite them.
    vouched: bool,
}

impl Folded {
    fn new(root: &str, judged: Option<u64>) -> Self {
        Self {
            ledger: Ledger::new(root),
            plans: OnceLock::new(),
            seen: None,
            entry: 0,
            redaction: 0,
            looked_at: 0,
            judged,
            vouched: false,
        }
    }

    /// The same ledger with nothing in it yet.
    fn anew(&self, judged: Option<u64>) -> Arc<Self> {
        Arc::new(Self::new(self.ledger.id(), judged))
    }

    fn plans(&self) -> Arc<Plans> {
        Arc::clone(self.plans.get_or_init(|| Arc::new(self.ledger.plans())))
    }

    fn weight(&self) -> u64 {
        (BASE_WEIGHT + self.looked_at).min(LARGEST)
    }
}

/// A fold as the cache keeps it. The weight is a copy: the cache wants it to stay what it was.
#[derive(Debug, Clone)]
struct Kept {
    fold: Arc<Mutex<Arc<Folded>>>,
    weight: u64,
}

impl Weighed for Kept {
    fn weight(&self) -> u64 {
        self.weight
    }
}

type Key = (RoomNum, String);

/// The folds in memory.
pub(crate) struct Folds {
    kept: Weighted<Key, Kept>,
}

impl Default for Folds {
    fn default() -> Self {
        Self { kept: bounded(KEPT, KEPT_ENTRIES) }
    }
}

impl Expenses {
    /// The root of the room's ledger, as its state says.
    pub(crate) async fn root_of(&self, room: &Room) -> Result<Option<String>, RouteError> {
        if !room.names_events_by_hash() {
            return Ok(None);
        }
        let row = self.engine.current_event(room.num, POINTER, "").await?;
        Ok(row.and_then(|row| root_in(row.content())))
    }

    /// The room's ledger with all that is durable now.
    pub(crate) async fn ledger(&self, room: &Room) -> Result<Arc<Folded>, RouteError> {
        if room.info().encrypted {
            return Err(RouteError::Encrypted);
        }
        let root = self.root_of(room).await?.ok_or(RouteError::NoLedger)?;
        let key = (room.num, root);
        let new = || {
            let folded = Folded::new(&key.1, None);
            let weight = folded.weight();
            Ok::<_, RouteError>(Kept { fold: Arc::new(Mutex::new(Arc::new(folded))), weight })
        };
        let kept = self.folds.kept.get_or_insert_with(&key, new)?;
        let mut folded = kept.fold.lock().await;
        // Read before the rows are: whatever comes meanwhile is looked for next time.
        let newest = room.pulse.timeline();
        if folded.seen != Some(newest) {
            self.catch_up(room.num, &mut folded).await?;
            Arc::make_mut(&mut folded).seen = Some(newest);
            let weight = folded.weight();
            if weight != kept.weight {
                self.folds.kept.insert(key, Kept { fold: Arc::clone(&kept.fold), weight });
            }
        }
        Ok(Arc::clone(&folded))
    }

    /// Folds what came since the last time; or everything, where what was folded before may count no more: a fold that goes on and one
    /// that begins anew are the same at all times.
    async fn catch_up(&self, room: RoomNum, folded: &mut Arc<Folded>) -> Result<(), RouteError> {
        let judged = self.engine.db.get(&REJUDGED, &room).await?;
        if folded.judged != judged {
            *folded = folded.anew(judged);
        }
        self.fold_entries(room, folded).await?;
        if self.fold_redactions(room, folded).await? && folded.vouched {
            // Who vouched for others may be gone.
            *folded = folded.anew(judged);
            self.fold_entries(room, folded).await?;
            self.fold_redactions(room, folded).await?;
        }
        self.admit_cited(room, folded).await
    }

    /// Page by page: whoever goes away in between leaves a fold that others go on with.
    async fn fold_entries(&self, room: RoomNum, folded: &mut Arc<Folded>) -> Result<(), RouteError> {
        loop {
            let from = (room, folded.entry.saturating_add(1));
            let rows = self.engine.db.scan(&ENTRIES, &from, &(room, EventNum::MAX), Page::first(PAGE)).await?;
            let nums: Vec<EventNum> = rows.iter().map(|((_, num), ())| *num).collect();
            let Some(last) = nums.last() else { return Ok(()) };
            let events = self.engine.events(room, &nums).await?;
            let new = Arc::make_mut(folded);
            new.plans = OnceLock::new();
            // One that came by itself may have been judged otherwise once what it follows was here.
            let accepted = events.iter().filter(|(_, row)| row.verdict() == Verdict::Accepted);
            new.ledger.extend(accepted.map(|(_, row)| entry_of(row)));
            new.entry = *last;
            new.looked_at += nums.len() as u64;
            if nums.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Says whether any entry was emptied.
    async fn fold_redactions(&self, room: RoomNum, folded: &mut Arc<Folded>) -> Result<bool, RouteError> {
        let mut some = false;
        loop {
            let from = (room, folded.redaction.saturating_add(1));
            let rows = self.engine.db.scan(&REDACTIONS, &from, &(room, EventNum::MAX), Page::first(PAGE)).await?;
            let Some(((_, last), _)) = rows.last() else { return Ok(some) };
            let emptied = self.emptied(room, &folded.ledger, rows.iter().map(|(_, target)| target.as_str())).await?;
            let new = Arc::make_mut(folded);
            for event_id in &emptied {
                new.plans = OnceLock::new();
                new.ledger.redact(event_id);
            }
            some |= !emptied.is_empty();
            new.redaction = *last;
            if rows.len() < PAGE {
                return Ok(some);
            }
        }
    }

    /// A soft-failed entry is admitted once an admitted entry of another sender cites it: who took part when it came vouches for it.
    async fn admit_cited(&self, room: RoomNum, folded: &mut Arc<Folded>) -> Result<(), RouteError> {
        let mut looked_at = BTreeSet::new();
        loop {
            let mut missing = folded.ledger.missing();
            missing.retain(|missing| looked_at.len() < MISSING && looked_at.insert(missing.event_id.clone()));
            let mut admitted = Vec::new();
            for missing in missing {
                let Some(num) = self.engine.find_event(room, &missing.event_id).await? else { continue };
                let row = self.engine.event(room, num).await?;
                let cited_by = missing.cited_by.iter().filter_map(|id| folded.ledger.entry(id));
                // That the room's own state names the root is as good.
                let is_root = missing.event_id == *folded.ledger.id();
                let is_vouched = is_root || cited_by.into_iter().any(|entry| &*entry.sender != row.sender());
                if row.verdict() == Verdict::SoftFailed && is_entry_type(&row.event_type()) && is_vouched {
                    admitted.push(entry_of(&row));
                }
            }
            if admitted.is_empty() {
                return Ok(());
            }
            let new = Arc::make_mut(folded);
            new.plans = OnceLock::new();
            new.vouched = true;
            new.looked_at += admitted.len() as u64;
            new.ledger.extend(admitted);
        }
    }

    /// Those of the ids whose entries are here and were emptied: a redaction may have been about something else, or refused.
    async fn emptied<'a>(
        &self,
        room: RoomNum,
        ledger: &Ledger,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<&'a str>, RouteError> {
        let mut out = Vec::new();
        for id in ids.filter(|id| ledger.entry(id).is_some()) {
            if let Some(num) = self.engine.find_event(room, id).await?
                && self.engine.event(room, num).await?.is_redacted()
            {
                out.push(id);
            }
        }
        Ok(out)
    }

    /// The plans of a ledger, computed once, and its digest with them. Where there is much to compute, that happens out of the
    /// way of other requests.
    pub(crate) async fn plans(&self, folded: &Arc<Folded>) -> Result<Arc<Plans>, RouteError> {
        if folded.plans.get().is_some()
            || folded.ledger.len() < MANY_ENTRIES && folded.ledger.balances().len() < MANY_BALANCES
        {
            return Ok(folded.plans());
        }
        let theirs = Arc::clone(folded);
        let computed = tokio::task::spawn_blocking(move || {
            theirs.ledger.digest();
            theirs.plans()
        });
        Ok(computed.await?)
    }
}

/// The root that the content of a room's pointer names.
pub(crate) fn root_in(content: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Content {
        ledger: String,
    }
    let content = serde_json::from_str::<Content>(content).ok()?;
    is_event_id(&content.ledger).then_some(content.ledger)
}

/// An event as the fold reads it.
pub(crate) fn entry_of(row: &EventRow) -> Entry {
    let kind = row.event_type();
    let source = Source {
        event_id: row.event_id(),
        sender: row.sender(),
        kind: &kind,
        origin_server_ts: row.origin_server_ts(),
        redacted: row.is_redacted(),
    };
    Entry::parse_json(&source, row.content())
}
