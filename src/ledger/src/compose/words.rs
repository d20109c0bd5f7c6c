//! The line in words that clients which know nothing of ledgers show.

use std::collections::BTreeMap;

use crate::entry::{Body, Decision, Expense, New, Participant, Settlement};
use crate::fold::Ledger;
use crate::ids::Person;
use crate::money::{Amount, Currency};

/// Longest name, in characters.
const MAX_NAME: usize = 64;
/// Most people that a line names.
const MAX_NAMED: usize = 20;

/// Symbols that stand for one currency only wherever they are read.
const SYMBOLS: [(&str, &str); 14] = [
    ("EUR", "€"),
    ("USD", "$"),
    ("GBP", "£"),
    ("JPY", "¥"),
    ("INR", "₹"),
    ("KRW", "₩"),
    ("ILS", "₪"),
    ("NGN", "₦"),
    ("PHP", "₱"),
    ("TRY", "₺"),
    ("UAH", "₴"),
    ("VND", "₫"),
    ("CRC", "₡"),
    ("KZT", "₸"),
];

/// An amount for people: `€84.00`, `-€5.00`, `CHF 12.50`, `x-beer 3`.
pub fn money_words(currency: &Currency, amount: Amount) -> String {
    let digits = currency.format(amount.abs());
    let sign = if amount.signum() < 0 { "-" } else { "" };
    match SYMBOLS.iter().find(|(code, _)| *code == currency.code()) {
        Some((_, symbol)) => format!("{sign}{symbol}{digits}"),
        None => format!("{sign}{} {digits}", currency.code()),
    }
}

/// A name fit for one line of text: control and direction-changing characters taken out, at most 64 characters; the id
/// itself where nothing is left.
pub(crate) fn name_of(person: &str, names: &dyn Fn(&str) -> String) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let name: String = names(person).chars().filter(|c| !hidden(*c)).take(MAX_NAME).collect();
    let name = name.trim();
    if name.is_empty() { person.to_owned() } else { name.to_owned() }
}

/// "Ann", "Ann and Bob", "Ann, Bob and Carl".
fn list(parts: &[String]) -> String {
    match parts.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The entry in one line of English. `sender` is who wrote it; `ledger` is looked at for what it is about. `names` turns
/// a person's id into the name to show.
pub fn words(body: &Body, sender: &str, ledger: Option<&Ledger>, names: &dyn Fn(&str) -> String) -> String {
    let who = name_of(sender, names);
    let about = |id: &str| match ledger.and_then(|l| l.entry(id)).and_then(|e| e.valid()) {
        Some(body) => subject(body, names),
        None => "an entry".to_owned(),
    };
    let because = |reason: &Option<String>| match reason.as_deref().map(str::trim) {
        Some(reason) if !reason.is_empty() => format!(" ({})", reason.replace(['\n', '\t'], " ")),
        _ => String::new(),
    };
    match body {
        Body::Open(o) => format!("{who} opened the ledger in {}", o.currency),
        Body::Expense(e) => expense(e, names),
        Body::Settlement(s) => settlement(s, names),
        Body::Amend(a) => {
            let new = match &a.new {
                New::Expense(e) => expense(e, names),
                New::Settlement(s) => settlement(s, names),
            };
            format!("{who} changed {}{}: {new}", about(&a.target), because(&a.reason))
        }
        Body::Void(v) => format!("{who} removed {}{}", about(&v.target), because(&v.reason)),
        Body::Verdict(v) => {
            let verb = match v.verdict {
                Decision::Confirmed => "confirmed",
                Decision::Disputed => "disputed",
            };
            format!("{who} {verb} {}{}", about(&v.target), because(&v.reason))
        }
        Body::Participant(Participant::Declare { name, .. }) => {
            format!("{who} added {}", name_of(name, &|n| n.to_owned()))
        }
        Body::Participant(Participant::Claim { who: person }) => {
            format!("{who} says to be {}", name_of(person, names))
        }
        Body::Participant(Participant::Approve { .. }) => format!("{who} approved a claim"),
        Body::Recurrence(r) => format!("{who} set up a repeating expense from {}", r.start),
        Body::Checkpoint(_) => format!("{who} noted the balances"),
    }
}

/// What an entry is called where another speaks of it.
fn subject(body: &Body, names: &dyn Fn(&str) -> String) -> String {
    if let Some(e) = body.expense() {
        return format!("\"{}\" ({})", e.title, money_words(&e.currency, e.amount));
    }
    if let Some(s) = body.settlement() {
        let amount = money_words(&s.currency, s.amount);
        return format!("the payment of {amount} from {} to {}", name_of(&s.from, names), name_of(&s.to, names));
    }
    match body {
        Body::Void(_) => "a removal".to_owned(),
        Body::Verdict(_) => "a dispute".to_owned(),
        _ => "an entry".to_owned(),
    }
}

fn expense(e: &Expense, names: &dyn Fn(&str) -> String) -> String {
    let money = |amount: Amount| money_words(&e.currency, amount);
    let back = e.amount.signum() < 0;
    let verb = if back { "received" } else { "paid" };
    let payers: Vec<_> = e.paid.iter().filter(|l| !l.amount.is_zero()).collect();
    let head = match payers.as_slice() {
        [one] => format!("{} {verb} {} for {}", name_of(&one.who, names), money(one.amount.abs()), e.title),
        [] => format!("Nobody {verb} anything for {}", e.title),
        many => {
            let parts: Vec<String> = many
                .iter()
                .take(MAX_NAMED)
                .map(|l| format!("{} {verb} {}", name_of(&l.who, names), money(l.amount.abs())))
                .chain(others(many.len()))
                .collect();
            format!("{} for {}", list(&parts), e.title)
        }
    };
    let mut net: BTreeMap<&Person, Amount> = BTreeMap::new();
    for line in &e.owed {
        *net.entry(&line.who).or_default() += line.amount;
    }
    for line in &e.paid {
        *net.entry(&line.who).or_default() -= line.amount;
    }
    let sign = if back { -1 } else { 1 };
    let debtors: Vec<_> = e.owed.iter().filter_map(|l| Some((&l.who, *net.get(&l.who)?))).collect();
    let debtors: Vec<_> = debtors.into_iter().filter(|(_, a)| a.signum() == sign).collect();
    if debtors.is_empty() {
        return head;
    }
    let verb = if back { "gets" } else { "owes" };
    let parts: Vec<String> = debtors
        .iter()
        .take(MAX_NAMED)
        .map(|(who, amount)| format!("{} {verb} {}", name_of(who, names), money(amount.abs())))
        .chain(others(debtors.len()))
        .collect();
    format!("{head}: {}", parts.join(", "))
}

fn others(count: usize) -> Option<String> {
    (count > MAX_NAMED).then(|| format!("{} more", count - MAX_NAMED))
}

fn settlement(s: &Settlement, names: &dyn Fn(&str) -> String) -> String {
    let (from, to) = (name_of(&s.from, names), name_of(&s.to, names));
    let clears = match &s.clears {
        Some((currency, amount)) => format!(", which clears {}", money_words(currency, *amount)),
        None => String::new(),
    };
    format!("{from} paid {to} {}{clears}", money_words(&s.currency, s.amount))
}
