//! Writing entries: from a draft to the content that is signed, and to the line in words.

mod words;

use serde_json::{Map, Value, json};

pub(crate) use words::name_of;
pub use words::{money_words, words};

use crate::entry::{
    AMEND, Body, EXPENSE, Entry, Invalid, MAX_CONTENT, OPEN, Obj, SETTLEMENT, Source, VERDICT, VOID, canonical_len,
    is_date, read_items, read_split,
};
use crate::fold::{Ledger, Status};
use crate::ids::{is_uid, speaker};
use crate::money::Currency;
use crate::split::{self, Method};

/// A draft: an entry's type, and its content without what is filled in here (`spec/api.md`, "NewEntry").
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// The event type.
    pub kind: &'a str,
    /// The draft of its content.
    pub content: &'a Value,
}

/// What a draft is completed from.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The event id of the room's `m.room.create`, which every entry refers to.
    pub create: &'a str,
    /// Who writes the entry.
    pub sender: &'a str,
    /// The uid to use where the draft has none; matches `^[A-Za-z0-9_-]{1,64}$`, and is random.
    pub uid: &'a str,
    /// Today, `YYYY-MM-DD` in UTC.
    pub today: &'a str,
    /// The ledger that it goes into; `None` for a root.
    pub ledger: Option<&'a Ledger>,
}

/// A complete entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The content to be signed and sent.
    pub content: Value,
    /// The same, typed.
    pub body: Body,
}

/// Why a draft makes no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// The draft breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It would be valid, but the sender may not say it.
    #[error("{0}")]
    Forbidden(String),
    /// The entry that it is about is not in the ledger. The path of the field that names it.
    #[error("{0}: there is no such entry in this ledger")]
    Unknown(&'static str),
}

type Draft = Map<String, Value>;

/// Completes a draft. What comes back is valid, and would have its effect if it were added to the ledger as it is now.
pub fn compose(new: &NewEntry<'_>, context: &Context<'_>) -> Result<Composed, ComposeError> {
    if !is_uid(context.uid) || !is_date(context.today) {
        return Err(Invalid::new("", "the context's uid or date is malformed").into());
    }
    canonical_len(new.content)?;
    let Some(draft) = new.content.as_object() else {
        return Err(Invalid::new("", "must be an object").into());
    };
    let mut draft: Draft = draft.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    draft.insert("m.relates_to".to_owned(), json!({ "rel_type": "m.reference", "event_id": context.create }));
    let Some(ledger) = context.ledger else {
        if new.kind != OPEN {
            return Err(Invalid::new("open", "there is no ledger to write to").into());
        }
        draft.entry("version").or_insert(json!(crate::entry::VERSION));
        return finish(new.kind, draft, context);
    };
    if new.kind == OPEN {
        return Err(Invalid::new("type", "the room has a ledger already").into());
    }
    draft.insert("open".to_owned(), json!(&**ledger.id()));
    draft.insert("prev".to_owned(), json!(ledger.prev(context.sender)));
    match new.kind {
        EXPENSE => fill_expense(&mut draft, context, "")?,
        SETTLEMENT => fill_settlement(&mut draft, context)?,
        AMEND => fill_amend(&mut draft, context, ledger)?,
        VOID => fill_over(&mut draft, context, ledger, true)?,
        VERDICT => fill_verdict(&mut draft, context, ledger)?,
        crate::entry::RECURRENCE => default(&mut draft, "uid", json!(context.uid)),
        _ => {}
    }
    let composed = finish(new.kind, draft, context)?;
    check_effect(&composed, new.kind, context, ledger)?;
    Ok(composed)
}

/// Reads back what was composed, as every reader will.
fn finish(kind: &str, mut draft: Draft, context: &Context<'_>) -> Result<Composed, ComposeError> {
    let source = Source { event_id: "$new", sender: context.sender, kind, origin_server_ts: 0, redacted: false };
    let mut content = Value::Object(draft.clone());
    if canonical_len(&content)? > MAX_CONTENT && equal(&draft) {
        // An equal split among the people who owe says nothing that `owed` does not: leave out the repetition.
        if let Some(Value::Object(split)) = draft.get_mut("split") {
            split.remove("inputs");
        }
        content = Value::Object(draft);
    }
    let body = Entry::parse(&source, &content).body?;
    Ok(Composed { content, body })
}

fn equal(draft: &Draft) -> bool {
    draft.get("split").and_then(|s| s.get("method")).and_then(Value::as_str) == Some(Method::Equal.name())
}

fn default(draft: &mut Draft, name: &str, value: Value) {
    draft.entry(name).or_insert(value);
}

/// Fills uid, date, paid and owed. `path` is where the expense stands in the draft.
fn fill_expense(draft: &mut Draft, context: &Context<'_>, path: &str) -> Result<(), ComposeError> {
    default(draft, "uid", json!(context.uid));
    default(draft, "date", json!(context.today));
    let value = Value::Object(draft.clone());
    let obj = Obj::new(&value, path)?;
    let (currency, amount) = obj.money()?;
    known_unit(&currency, context, &obj.at("currency"))?;
    default(draft, "paid", json!([{ "who": context.sender, "amount": currency.format(amount) }]));
    if draft.contains_key("owed") {
        return Ok(());
    }
    let (method, inputs) = read_split(&obj, &currency)?;
    let items = read_items(&obj, &currency)?;
    let refunded = obj.get("refund_of").map(|_| obj.uid("refund_of")).transpose()?;
    let seed = match refunded {
        Some(uid) => uid,
        None => obj.uid("uid")?,
    };
    let shares = split::shares(method, amount, &inputs, &items, &seed)
        .map_err(|e| Invalid::new(crate::entry::join(path, &e.field), e.reason))?;
    let owed: Vec<Value> =
        shares.iter().map(|(who, share)| json!({ "who": &**who, "amount": currency.format(*share) })).collect();
    draft.insert("owed".to_owned(), Value::Array(owed));
    Ok(())
}

/// Custom units must be declared by the root, with these decimals.
fn known_unit(currency: &Currency, context: &Context<'_>, field: &str) -> Result<(), Invalid> {
    let known = !currency.is_custom() || context.ledger.and_then(Ledger::root).is_some_and(|o| o.knows(currency));
    if known {
        return Ok(());
    }
    Err(Invalid::new(field, format!("this ledger declares no {currency} with {} decimals", currency.decimals())))
}

fn fill_settlement(draft: &mut Draft, context: &Context<'_>) -> Result<(), ComposeError> {
    default(draft, "uid", json!(context.uid));
    default(draft, "date", json!(context.today));
    let value = Value::Object(draft.clone());
    let obj = Obj::new(&value, "")?;
    let (currency, _) = obj.money()?;
    known_unit(&currency, context, "currency")?;
    if let Some(clears) = obj.get("clears") {
        known_unit(&Obj::new(clears, "clears")?.money()?.0, context, "clears.currency")?;
    }
    let (from, to) = (obj.person("from")?, obj.person("to")?);
    if speaker(&from) != context.sender && speaker(&to) != context.sender {
        return Err(Invalid::new("from", "one of from and to must be the sender").into());
    }
    Ok(())
}

/// Finds the entry that a change is about, from any of its versions, and lists the versions that it replaces.
fn fill_over(draft: &mut Draft, context: &Context<'_>, ledger: &Ledger, void: bool) -> Result<(), ComposeError> {
    let value = Value::Object(draft.clone());
    let target = Obj::new(&value, "")?.event_id("target")?;
    let original = ledger.original(&target).ok_or(ComposeError::Unknown("target"))?;
    if let Some(reason) = ledger.may_not_change(context.sender, void, &original.id) {
        return Err(ComposeError::Forbidden(reason.to_owned()));
    }
    let current = ledger.view(&original.id).and_then(|v| v.current).and_then(|id| ledger.entry(&id));
    if void && current.is_some_and(|e| matches!(e.valid(), Some(Body::Void(_)))) {
        return Err(Invalid::new("target", "is void already").into());
    }
    draft.insert("target".to_owned(), json!(&*original.id));
    let over = ledger.over(&original.id);
    default(draft, "over", json!(over));
    Ok(())
}

fn fill_amend(draft: &mut Draft, context: &Context<'_>, ledger: &Ledger) -> Result<(), ComposeError> {
    fill_over(draft, context, ledger, false)?;
    let target = draft.get("target").and_then(Value::as_str).unwrap_or_default();
    let original = ledger.original(target).ok_or(ComposeError::Unknown("target"))?;
    let uid = match original.valid() {
        Some(Body::Expense(e)) => e.uid.clone(),
        Some(Body::Settlement(s)) => s.uid.clone(),
        _ => return Err(ComposeError::Unknown("target")),
    };
    let (kind, author) = (original.kind.clone(), original.sender.clone());
    default(draft, "type", json!(kind));
    if let Some(Value::Object(content)) = draft.get_mut("content") {
        default(content, "uid", json!(&*uid));
        if kind == EXPENSE {
            // Whoever amends, the one who paid by default is the one who wrote it.
            let context = Context { sender: &author, ..*context };
            fill_expense(content, &context, "content")?;
        }
    }
    Ok(())
}

fn fill_verdict(draft: &mut Draft, context: &Context<'_>, ledger: &Ledger) -> Result<(), ComposeError> {
    let value = Value::Object(draft.clone());
    let target = Obj::new(&value, "")?.event_id("target")?;
    let view = ledger.view(&target).ok_or(ComposeError::Unknown("target"))?;
    if view.status.is_reject() || view.status == Status::Redacted {
        return Err(Invalid::new("target", "does not count").into());
    }
    default(draft, "over", json!(ledger.over_verdicts(&target, context.sender)));
    Ok(())
}

/// Tries the entry on a copy of what it is about: the fold itself says whether it would have its effect.
fn check_effect(composed: &Composed, kind: &str, context: &Context<'_>, ledger: &Ledger) -> Result<(), ComposeError> {
    let source = Source { event_id: "$new", sender: context.sender, kind, origin_server_ts: 0, redacted: false };
    let entry = Entry::parse(&source, &composed.content);
    if !ledger.repeats(&entry).is_empty() {
        return Err(Invalid::new("uid", "this author has used this uid already").into());
    }
    match ledger.judge(entry) {
        Status::Unauthorised => Err(ComposeError::Forbidden("only the payee judges a settlement".to_owned())),
        Status::Invalid => Err(Invalid::new("target", "cannot be changed or judged like this").into()),
        Status::Orphaned => Err(ComposeError::Unknown("target")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
