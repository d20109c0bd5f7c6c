//! Running sums: balances per person and debts per pair of people, for each currency.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::{Body, Entry, Expense};
use crate::ids::{EventId, Person};
use crate::money::{Amount, Currency};

/// Somebody owes somebody an amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Who owes.
    pub debtor: Person,
    /// Whom.
    pub creditor: Person,
    /// How much, positive.
    pub amount: Amount,
}

/// What stands between two people, the bytewise smaller one first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    /// What the first owes the second; negative the other way round.
    pub(crate) owes: Amount,
    /// The entries that it comes from.
    /// Each with the time its sender claims, so that the latest are at hand for showing.
    pub(crate) entries: BTreeSet<(u64, EventId)>,
}

/// One currency's sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Book {
    /// Net positions that are not zero; positive where the person is owed.
    pub(crate) balances: BTreeMap<Person, Amount>,
    /// Debts by pair.
    pub(crate) pairs: BTreeMap<(Person, Person), Pair>,
}

/// All currencies' sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) books: BTreeMap<Currency, Book>,
}

impl Sums {
    /// Adds what an entry moves.
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.apply(entry, false);
    }

    /// Takes back exactly what [`Sums::add`] added.
    pub(crate) fn remove(&mut self, entry: &Entry) {
        self.apply(entry, true);
    }

    fn apply(&mut self, entry: &Entry, back: bool) {
        for (currency, flow) in flows(entry) {
            if !self.books.contains_key(currency) {
                self.books.insert(currency.clone(), Book::default());
            }
            let Some(book) = self.books.get_mut(currency) else {
                continue;
            };
            book.apply(&flow, entry, back);
            if book.balances.is_empty() && book.pairs.is_empty() {
                self.books.remove(currency);
            }
        }
    }
}

impl Book {
    fn apply(&mut self, flow: &Flow, entry: &Entry, back: bool) {
        let amount = if back { -flow.amount } else { flow.amount };
        self.shift(&flow.creditor, amount);
        self.shift(&flow.debtor, -amount);
        let forward = flow.debtor < flow.creditor;
        let key = if forward {
            (flow.debtor.clone(), flow.creditor.clone())
        } else {
            (flow.creditor.clone(), flow.debtor.clone())
        };
        let pair = self.pairs.entry(key.clone()).or_default();
        pair.owes += if forward { amount } else { -amount };
        if back {
            pair.entries.remove(&(entry.ts, entry.id.clone()));
        } else {
            pair.entries.insert((entry.ts, entry.id.clone()));
        }
        if pair.entries.is_empty() {
            self.pairs.remove(&key);
        }
    }

    fn shift(&mut self, who: &Person, amount: Amount) {
        match self.balances.get_mut(who) {
            Some(balance) => {
                *balance += amount;
                if balance.is_zero() {
                    self.balances.remove(who);
                }
            }
            None if !amount.is_zero() => {
                self.balances.insert(who.clone(), amount);
            }
            None => {}
        }
    }
}

/// What an entry moves, in pairwise form: at most one flow for each pair of people and currency.
pub(crate) fn flows(entry: &Entry) -> Vec<(&Currency, Flow)> {
    let Some(body) = entry.valid() else {
        return Vec::new();
    };
    if let Some(expense) = body.expense() {
        return expense_flows(expense).into_iter().map(|f| (&expense.currency, f)).collect();
    }
    if let Some(settlement) = body.settlement() {
        let (currency, amount) = settlement.moves();
        // Who paid is owed that much more, or owes that much less.
        let flow = Flow { debtor: settlement.to.clone(), creditor: settlement.from.clone(), amount };
        return vec![(currency, flow)];
    }
    if let Body::Open(open) = body {
        let mut debts: BTreeMap<(&Currency, &Person, &Person), Amount> = BTreeMap::new();
        for debt in open.continues.iter().flat_map(|c| &c.balances) {
            *debts.entry((&debt.currency, &debt.from, &debt.to)).or_default() += debt.amount;
        }
        return debts
            .into_iter()
            .map(|((currency, from, to), amount)| {
                (currency, Flow { debtor: from.clone(), creditor: to.clone(), amount })
            })
            .collect();
    }
    Vec::new()
}

/// Paid less owed per person, debtors matched to creditors in bytewise order.
pub(crate) fn expense_flows(expense: &Expense) -> Vec<Flow> {
    let mut net: BTreeMap<&Person, Amount> = BTreeMap::new();
    for line in &expense.paid {
        *net.entry(&line.who).or_default() += line.amount;
    }
    for line in &expense.owed {
        *net.entry(&line.who).or_default() -= line.amount;
    }
    let mut creditors =
        net.iter().filter(|(_, a)| a.signum() > 0).map(|(who, a)| (*who, *a)).collect::<Vec<_>>().into_iter();
    let mut flows = Vec::new();
    let mut creditor = creditors.next();
    for (debtor, amount) in net.iter().filter(|(_, a)| a.signum() < 0) {
        let mut left = amount.abs();
        while let Some((who, open)) = creditor {
            let part = left.min(open);
            flows.push(Flow { debtor: (*debtor).clone(), creditor: who.clone(), amount: part });
            left -= part;
            creditor = if open == part { creditors.next() } else { Some((who, open - part)) };
            if left.is_zero() {
                break;
            }
        }
    }
    flows
}
