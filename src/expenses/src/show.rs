//! Entries and ledgers as `spec/api.md` shows them.

use std::sync::Arc;

use engine::{Direction, EventRow, RelationFilter, Room};
use ledger::{Ledger, View};
use serde_json::{Value, json};

use crate::{Expenses, error::RouteError, folds::Folded, people::People};

/// References to an entry that are looked through for its line. The line comes with the entry, so it is among the first.
const REFERENCES: usize = 5;

/// An entry as the fold sees it, without what only its event says.
pub(crate) struct Judged {
    event_id: String,
    json: Value,
}

impl Judged {
    /// What the fold says about an entry, if it is one of the ledger's.
    pub(crate) fn of(ledger: &Ledger, event_id: &str) -> Option<Self> {
        let view = ledger.view(event_id)?;
        Some(Self { event_id: event_id.to_owned(), json: view_json(&view) })
    }
}

impl Expenses {
    /// `Entry`, of an entry of the room's ledger as it is now.
    pub(crate) async fn entry(&self, room: &Room, event_id: &str) -> Result<Option<Value>, RouteError> {
        let judged = Judged::of(&self.ledger(room).await?.ledger, event_id);
        match judged {
            Some(judged) => self.entry_json(room, judged).await,
            None => Ok(None),
        }
    }

    /// `Entry`
    pub(crate) async fn entry_json(&self, room: &Room, judged: Judged) -> Result<Option<Value>, RouteError> {
        let Some(num) = self.engine.find_event(room.num, &judged.event_id).await? else { return Ok(None) };
        let row = self.engine.event(room.num, num).await?;
        let mut out = judged.json;
        out["content"] = serde_json::from_str(row.content()).unwrap_or_default();
        if let Some(line) = self.line_of(room, &row).await? {
            out["line_event_id"] = line.into();
        }
        Ok(Some(out))
    }

    /// The line in words that goes with an entry: the first message of the same sender that refers to it.
    async fn line_of(&self, room: &Room, entry: &EventRow) -> Result<Option<String>, RouteError> {
        let filter = RelationFilter { kind: Some("m.reference"), event_type: Some("m.room.message") };
        let (nums, _) = self
            .engine
            .relations(room.num, entry.event_id(), filter, (None, None), REFERENCES, Direction::Forward)
            .await?;
        let lines = self.engine.events(room.num, &nums).await?;
        let line = lines.iter().find(|(_, row)| row.sender_num() == entry.sender_num() && !row.is_redacted());
        Ok(line.map(|(_, row)| row.event_id().to_owned()))
    }

    /// `Ledger`
    pub(crate) async fn ledger_json(
        &self,
        room: &Room,
        folded: Arc<Folded>,
        people: &People,
    ) -> Result<Value, RouteError> {
        let names = |id: &str| people.name(id);
        let plans = self.plans(&folded).await?;
        let ledger = &folded.ledger;
        let (root, waiting) = (ledger.id().to_string(), ledger.pending());
        let waiting: Vec<Judged> = waiting.iter().filter_map(|id| Judged::of(ledger, id)).collect();
        let mut out = json!({
            "room_id": room.id,
            "ledger": &root,
            "currency": ledger.root().map(|open| open.currency.code()),
            "participants": people.to_json(),
            "members": people.joined(),
            "balances": ledger.balances(),
            "plans": plans.to_json(&names),
            "heads": ledger.heads(),
            "digest": ledger.digest(),
            "entries": ledger.len(),
            "missing": ledger.missing(),
            "complete": self.is_complete(room.num, ledger),
            "conflicts": ledger.conflicts(),
            "rejects": ledger.rejects(),
        });
        drop(folded);
        let mut pending = Vec::with_capacity(waiting.len());
        for judged in waiting {
            pending.extend(self.entry_json(room, judged).await?);
        }
        out["pending"] = pending.into();
        out["name"] = self.room_name(room).await?.into();
        out["open"] = self.content_of(room, &root).await?;
        Ok(out)
    }

    /// The content of an event, `null` where it is not here.
    async fn content_of(&self, room: &Room, event_id: &str) -> Result<Value, RouteError> {
        let Some(num) = self.engine.find_event(room.num, event_id).await? else { return Ok(Value::Null) };
        let row = self.engine.event(room.num, num).await?;
        Ok(serde_json::from_str(row.content()).unwrap_or_default())
    }
}

fn view_json(view: &View<'_>) -> Value {
    let mut out = json!({
        "event_id": &*view.entry.id,
        "type": view.entry.kind,
        "sender": &*view.entry.sender,
        "origin_server_ts": view.entry.ts,
        "status": view.status.name(),
        "verdicts": view.verdicts,
    });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            out[key] = value;
        }
    };
    set("reason", view.reason.map(Value::from));
    set("voided_by", view.voided_by.as_ref().map(|id| Value::from(&**id)));
    set("current", view.current.as_ref().map(|id| Value::from(&**id)));
    set("warnings", (!view.warnings.is_empty()).then(|| json!(view.warnings)));
    out
}
