//! Why a transfer stands in a plan.

use std::collections::BTreeMap;

use super::{Debts, Notes, Transfer};
use crate::compose::{money_words, name_of};
use crate::entry::{Body, Entry};
use crate::fold::{Book, Flow, Ledger};
use crate::ids::{EventId, Person};
use crate::money::{Amount, Currency};

/// Most entries that a transfer names; the latest ones.
const MAX_NAMED: usize = 5;

/// One reason for a transfer. Amounts are in the transfer's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// An entry by which the payer owes the payee (negative: the other way round).
    Entry {
        /// The version that stands.
        event_id: EventId,
        /// What it is called.
        title: String,
        /// Its day, where it has one.
        date: Option<String>,
        /// What it adds to the debt.
        amount: Amount,
    },
    /// Older entries between the two.
    Older {
        /// How many.
        entries: usize,
        /// What they add up to.
        amount: Amount,
    },
    /// The transfer takes the place of a debt: the payee gives up what `debtor` owes them.
    Instead {
        /// Who owed the payee.
        debtor: Person,
        /// Who gives that debt up: the payee.
        creditor: Person,
        /// How much of it.
        amount: Amount,
    },
    /// The payee pays this part on.
    PassedOn {
        /// The payee.
        who: Person,
        /// How much.
        amount: Amount,
    },
    /// A settlement that waits for its payee was deducted.
    Pending {
        /// The settlement.
        event_id: EventId,
        /// How much was deducted.
        amount: Amount,
    },
}

impl Because {
    /// The reason in words.
    pub fn words(&self, currency: &Currency, names: &dyn Fn(&str) -> String) -> String {
        let money = |amount: &Amount| money_words(currency, *amount);
        match self {
            Self::Entry { title, date, amount, .. } => match date {
                Some(date) => format!("{title} ({date}): {}", money(amount)),
                None => format!("{title}: {}", money(amount)),
            },
            Self::Older { entries: 1, amount } => format!("one older entry: {}", money(amount)),
            Self::Older { entries, amount } => {
                format!("{entries} older entries: {}", money(amount))
            }
            Self::Instead { debtor, creditor, amount } => format!(
                "instead of {} that {} owes {}",
                money(amount),
                name_of(debtor, names),
                name_of(creditor, names)
            ),
            Self::PassedOn { who, amount } => {
                format!("{} pays {} of it on", name_of(who, names), money(amount))
            }
            Self::Pending { amount, .. } => {
                format!("{} not yet confirmed is already deducted", money(amount))
            }
        }
    }
}

/// Transfers of the debts themselves.
pub(super) fn direct(ledger: &Ledger, currency: &Currency, book: &Book, debts: &Debts, notes: &Notes) -> Vec<Transfer> {
    let transfers = debts.iter().map(|((from, to), amount)| {
        let flow = Flow { debtor: from.clone(), creditor: to.clone(), amount: *amount };
        transfer(currency, &flow, entries(ledger, currency, book, from, to), notes)
    });
    transfers.collect()
}

/// Transfers of a plan, each with the debt it pays and the debts it takes the place of.
pub(super) fn explain(
    ledger: &Ledger,
    currency: &Currency,
    book: &Book,
    debts: &Debts,
    chosen: &[Flow],
    notes: &Notes,
) -> Vec<Transfer> {
    let planned: BTreeMap<(&Person, &Person), Amount> =
        chosen.iter().map(|f| ((&f.debtor, &f.creditor), f.amount)).collect();
    // What each creditor gives up, by debtor.
    let mut given_up: BTreeMap<&Person, Vec<(&Person, Amount)>> = BTreeMap::new();
    for ((debtor, creditor), amount) in debts {
        let less = *amount - planned.get(&(debtor, creditor)).copied().unwrap_or_default();
        if less.signum() > 0 {
            given_up.entry(creditor).or_default().push((debtor, less));
        }
    }
    let mut transfers = Vec::with_capacity(chosen.len());
    for flow in chosen {
        let owed = debts.get(&(flow.debtor.clone(), flow.creditor.clone())).copied().unwrap_or_default();
        let mut because = Vec::new();
        if !owed.is_zero() {
            because.extend(entries(ledger, currency, book, &flow.debtor, &flow.creditor));
        }
        let mut more = (flow.amount - owed).max(Amount::ZERO);
        for (debtor, left) in given_up.get_mut(&flow.creditor).into_iter().flatten() {
            let part = more.min(*left);
            if part.signum() > 0 {
                *left -= part;
                more -= part;
                let creditor = flow.creditor.clone();
                because.push(Because::Instead { debtor: (*debtor).clone(), creditor, amount: part });
            }
        }
        if more.signum() > 0 {
            because.push(Because::PassedOn { who: flow.creditor.clone(), amount: more });
        }
        transfers.push(transfer(currency, flow, because, notes));
    }
    transfers
}

fn transfer(currency: &Currency, flow: &Flow, mut because: Vec<Because>, notes: &Notes) -> Transfer {
    let mine = notes.iter().filter(|(_, n)| n.debtor == flow.debtor && n.creditor == flow.creditor);
    because.extend(mine.map(|(id, n)| Because::Pending { event_id: id.clone(), amount: n.amount }));
    Transfer {
        from: flow.debtor.clone(),
        to: flow.creditor.clone(),
        currency: currency.clone(),
        amount: flow.amount,
        because,
    }
}

/// The entries between two people, the latest first.
fn entries(ledger: &Ledger, currency: &Currency, book: &Book, debtor: &Person, creditor: &Person) -> Vec<Because> {
    let forward = debtor < creditor;
    let key = if forward { (debtor.clone(), creditor.clone()) } else { (creditor.clone(), debtor.clone()) };
    let Some(pair) = book.pairs.get(&key) else {
        return Vec::new();
    };
    let mut left = if forward { pair.owes } else { -pair.owes };
    let mut because = Vec::new();
    for (_, id) in pair.entries.iter().rev().take(MAX_NAMED) {
        let Some(entry) = ledger.entry(id) else {
            continue;
        };
        let flows = crate::fold::flows(entry);
        let amount = flows.iter().filter(|(c, _)| *c == currency).map(|(_, f)| {
            if f.debtor == *debtor && f.creditor == *creditor {
                f.amount
            } else if f.debtor == *creditor && f.creditor == *debtor {
                -f.amount
            } else {
                Amount::ZERO
            }
        });
        let amount: Amount = amount.sum();
        left -= amount;
        let (title, date) = title(entry);
        because.push(Because::Entry { event_id: id.clone(), title, date, amount });
    }
    let older = pair.entries.len().saturating_sub(MAX_NAMED);
    if older > 0 {
        because.push(Because::Older { entries: older, amount: left });
    }
    because
}

fn title(entry: &Entry) -> (String, Option<String>) {
    let body = entry.valid();
    if let Some(expense) = body.and_then(Body::expense) {
        return (expense.title.clone(), Some(expense.date.clone()));
    }
    if let Some(settlement) = body.and_then(Body::settlement) {
        return ("payment".to_owned(), settlement.date.clone());
    }
    ("opening balance".to_owned(), None)
}
