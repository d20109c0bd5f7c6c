//! What is written into the ledger: expenses, settlements and what the payee says of them, new versions that cross each other.

use engine::{Engine, Verdict};
use ledger::{
    Entry, Ledger, Source,
    entry::{Body, SETTLEMENT},
};
use rand::RngExt as _;
use ruma::OwnedRoomId;
use serde_json::{Value, json};

use crate::sim::{Post, Sim};

/// Entries read at once.
const ENTRIES: usize = 1000;
/// The newest entries, which most changes are about: so that several people change the same one.
const NEWEST: usize = 3;

/// The ledger as a server has it.
pub(crate) async fn fold(engine: &Engine, room: &OwnedRoomId, root: &str) -> Ledger {
    let room = engine.room(room).await.unwrap();
    let (rows, _) = engine.listed_events(room.num, 0, ENTRIES).await.unwrap();
    let entries = rows.iter().filter(|(_, row)| row.verdict() == Verdict::Accepted).map(|(_, row)| {
        let kind = row.event_type();
        let source = Source {
            event_id: row.event_id(),
            sender: row.sender(),
            kind: &kind,
            origin_server_ts: row.origin_server_ts(),
            redacted: row.is_redacted(),
        };
        Entry::parse_json(&source, row.content())
    });
    Ledger::fold(root, entries)
}

impl Sim {
    pub(crate) async fn write_entry(&mut self) {
        let Some((name, local, engine)) = self.somebody() else { return };
        if engine.room(&self.room).await.is_err() {
            return;
        }
        let user = self.user(local, &name);
        let ledger = fold(&engine, &self.room, &self.root).await;
        let post = match self.rng.random_range(0..10) {
            0..4 => None,
            4 | 5 => Some(self.settlement(&ledger)),
            6 => self.verdict(&ledger, user.as_str()),
            7 | 8 => self.amend(&ledger),
            _ => self.void(&ledger),
        };
        let post = post.unwrap_or_else(|| self.expense(&ledger, user.as_str()));
        self.post(&name, engine, user, post);
    }

    pub(crate) fn expense(&mut self, ledger: &Ledger, payer: &str) -> Post {
        let (uid, other) = (self.uid(), format!("@b:{}", self.some_name()));
        let content = self.expense_of(&uid, payer, &other);
        self.entry(ledger, "com.cliquepay.expense", content)
    }

    fn amount(&mut self) -> String {
        format!("{}.{:02}", self.rng.random_range(1..100), self.rng.random_range(0..100))
    }

    fn expense_of(&mut self, uid: &str, payer: &str, other: &str) -> Value {
        let amount = self.amount();
        json!({
            "uid": uid, "title": "Dinner", "date": "2026-01-01", "currency": "EUR", "amount": amount,
            "paid": [{"who": payer, "amount": amount}],
            "split": {"method": "equal"},
            "owed": [{"who": other, "amount": amount}],
        })
    }

    /// Between any two people, whoever writes it down.
    fn settlement(&mut self, ledger: &Ledger) -> Post {
        let (from, to) = (format!("@b:{}", self.some_name()), format!("@a:{}", self.some_name()));
        let uid = self.uid();
        let content = json!({"uid": uid, "from": from, "to": to, "currency": "EUR", "amount": self.amount()});
        self.entry(ledger, SETTLEMENT, content)
    }

    /// One of the newest entries of some types.
    fn newest(&mut self, ledger: &Ledger, of: impl Fn(&Body) -> bool) -> Option<Entry> {
        let mut entries: Vec<&Entry> = ledger.views().map(|view| view.entry).collect();
        entries.retain(|entry| entry.body.as_ref().is_ok_and(&of));
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.ts, &entry.id)));
        entries.truncate(NEWEST);
        (!entries.is_empty()).then(|| self.any(&entries).clone())
    }

    fn verdict(&mut self, ledger: &Ledger, user: &str) -> Option<Post> {
        let about = self.newest(ledger, |body| body.settlement().is_some())?;
        let over: Vec<String> = ledger.over_verdicts(&about.id, user).iter().map(ToString::to_string).collect();
        let verdict = self.any(&["confirmed", "confirmed", "disputed"]);
        let content = json!({"target": &*about.id, "verdict": verdict, "over": over});
        Some(self.entry(ledger, "com.cliquepay.verdict", content))
    }

    fn amend(&mut self, ledger: &Ledger) -> Option<Post> {
        let original = self.newest(ledger, |body| matches!(body, Body::Expense(_) | Body::Settlement(_)))?;
        let (kind, content) = match original.body.as_ref().ok()? {
            Body::Expense(expense) => {
                let (payer, other) = (expense.paid.first()?.who.to_string(), expense.owed.first()?.who.to_string());
                ("com.cliquepay.expense", self.expense_of(&expense.uid, &payer, &other))
            }
            Body::Settlement(settlement) => {
                let (from, to) = (settlement.from.to_string(), settlement.to.to_string());
                let amount = self.amount();
                let content =
                    json!({"uid": &*settlement.uid, "from": from, "to": to, "currency": "EUR", "amount": amount});
                (SETTLEMENT, content)
            }
            _ => return None,
        };
        let content =
            json!({"target": &*original.id, "over": over(ledger, &original), "type": kind, "content": content});
        Some(self.entry(ledger, "com.cliquepay.amend", content))
    }

    fn void(&mut self, ledger: &Ledger) -> Option<Post> {
        let original = self.newest(ledger, |body| matches!(body, Body::Expense(_) | Body::Settlement(_)))?;
        let content = json!({"target": &*original.id, "over": over(ledger, &original)});
        Some(self.entry(ledger, "com.cliquepay.void", content))
    }

    fn entry(&self, ledger: &Ledger, kind: &'static str, mut content: Value) -> Post {
        content["open"] = self.root.clone().into();
        content["prev"] = ledger.prev("").iter().map(|id| Value::from(&**id)).collect();
        content["m.relates_to"] = json!({"rel_type": "m.reference", "event_id": self.create});
        Post::message(kind, content)
    }
}

/// The versions of an entry that are known where it is changed.
fn over(ledger: &Ledger, original: &Entry) -> Vec<String> {
    ledger.over(&original.id).iter().map(ToString::to_string).collect()
}
