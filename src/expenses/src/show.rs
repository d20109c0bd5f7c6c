//! Entries and ledgers as `spec/api.md` shows them.

use engine::{Direction, EventRow, RelationFilter, Room};
use ledger::{Ledger, View};
use serde_json::{Value, json};

use crate::{Expenses, error::RouteError, people::People};

impl Expenses {
    /// `Entry`
    pub(crate) async fn entry_json(&self, room: &Room, ledger: &Ledger, event_id: &str) -> Result<Option<Value>, RouteError> {
        let Some(view) = ledger.view(event_id) else { return Ok(None) };
        let Some(num) = self.engine.find_event(room.num, event_id).await? else { return Ok(None) };
        let row = self.engine.event(room.num, num).await?;
        let line = self.line_of(room, &row).await?;
        Ok(Some(entry_json(&view, &row, line)))
    }

    /// The line in words that goes with an entry: the first message of the same sender that refers to it.
    async fn line_of(&self, room: &Room, entry: &EventRow) -> Result<Option<String>, RouteError> {
        let filter = RelationFilter { kind: Some("m.reference"), event_type: Some("m.room.message") };
        let (nums, _) = self
            .engine
            .relations(room.num, entry.event_id(), filter, (None, None), 5, Direction::Forward)
            .await?;
        let lines = self.engine.events(room.num, &nums).await?;
        let line = lines.iter().find(|(_, row)| row.sender_num() == entry.sender_num() && !row.is_redacted());
        Ok(line.map(|(_, row)| row.event_id().to_owned()))
    }

    /// `Ledger`
    pub(crate) async fn ledger_json(&self, room: &Room, ledger: &Ledger, people: &People) -> Result<Value, RouteError> {
        let names = |id: &str| people.name(id);
        let mut pending = Vec::new();
        for event_id in ledger.pending() {
            pending.extend(self.entry_json(room, ledger, &event_id).await?);
        }
        let root = match self.engine.find_event(room.num, ledger.id()).await? {
            Some(num) => {
                let row = self.engine.event(room.num, num).await?;
                serde_json::from_str::<Value>(row.content()).unwrap_or_default()
            }
            None => Value::Null,
        };
        Ok(json!({
            "room_id": room.id,
            "name": self.room_name(room).await?,
            "ledger": &**ledger.id(),
            "open": root,
            "currency": ledger.root().map(|open| open.currency.code()),
            "participants": people.to_json(),
            "members": people.joined(),
            "balances": ledger.balances(),
            "plans": ledger.plans().to_json(&names),
            "pending": pending,
            "heads": ledger.heads(),
            "digest": ledger.digest(),
            "entries": ledger.len(),
            "missing": ledger.missing(),
            "conflicts": ledger.conflicts(),
            "rejects": ledger.rejects(),
        }))
    }
}

fn entry_json(view: &View<'_>, row: &EventRow, line: Option<String>) -> Value {
    let content: Value = serde_json::from_str(row.content()).unwrap_or_default();
    let mut out = json!({
        "event_id": &*view.entry.id,
        "type": view.entry.kind,
        "sender": &*view.entry.sender,
        "origin_server_ts": view.entry.ts,
        "status": view.status.name(),
        "content": content,
        "verdicts": view.verdicts,
    });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            out[key] = value;
        }
    };
    set("reason", view.reason.map(Value::from));
    set("line_event_id", line.map(Value::from));
    set("voided_by", view.voided_by.as_ref().map(|id| Value::from(&**id)));
    set("current", view.current.as_ref().map(|id| Value::from(&**id)));
    set("warnings", (!view.warnings.is_empty()).then(|| json!(view.warnings)));
    out
}
