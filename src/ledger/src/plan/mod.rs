//! Who owes whom: three views over the balances, none of which rewrites an entry (`spec/ledger.md`, "Plans").

mod because;
mod edges;
mod minimal;

use std::collections::BTreeMap;

pub use because::Because;
pub use edges::edges;
pub use minimal::{EXACT_UP_TO, minimal};

use crate::entry::Reach;
use crate::fold::{Book, Flow, Ledger};
use crate::ids::{EventId, Person, has_account};
use crate::money::{Amount, Currency};

/// One payment to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Who pays.
    pub from: Person,
    /// Whom.
    pub to: Person,
    /// In which currency.
    pub currency: Currency,
    /// How much, positive.
    pub amount: Amount,
    /// What it comes from.
    pub because: Vec<Because>,
}

/// Payments after which nobody owes anything, pending settlements deducted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The payments, by currency, payer and payee.
    pub transfers: Vec<Transfer>,
    /// Whether no plan of its kind has fewer transfers. `false`: near-minimal.
    pub exact: bool,
}

/// The three views.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plans {
    /// What the entries literally say, netted for each pair of people.
    pub pairwise: Plan,
    /// The fewest transfers along debts that exist. The default.
    pub edges: Plan,
    /// The fewest transfers at all.
    pub minimal: Plan,
}

impl Transfer {
    /// The API's form: amounts as decimal strings, reasons in words.
    pub fn to_json(&self, names: &dyn Fn(&str) -> String) -> serde_json::Value {
        serde_json::json!({
            "from": &*self.from,
            "to": &*self.to,
            "currency": self.currency.code(),
            "amount": self.currency.format(self.amount),
            "because": self.because.iter().map(|b| b.words(&self.currency, names)).collect::<Vec<_>>(),
        })
    }
}

impl Plan {
    /// The API's form: `{transfers, exact}`.
    pub fn to_json(&self, names: &dyn Fn(&str) -> String) -> serde_json::Value {
        let transfers: Vec<_> = self.transfers.iter().map(|t| t.to_json(names)).collect();
        serde_json::json!({ "transfers": transfers, "exact": self.exact })
    }
}

impl Plans {
    /// The API's form: `{pairwise, edges, minimal}`.
    pub fn to_json(&self, names: &dyn Fn(&str) -> String) -> serde_json::Value {
        serde_json::json!({
            "pairwise": self.pairwise.to_json(names),
            "edges": self.edges.to_json(names),
            "minimal": self.minimal.to_json(names),
        })
    }
}

/// Net debts by pair, debtor first; no pair stands there both ways.
pub(crate) type Debts = BTreeMap<(Person, Person), Amount>;

/// A settlement that waits for its payee.
struct Pending {
    id: EventId,
    from: Person,
    to: Person,
    amount: Amount,
}

/// Plans for every currency of a ledger.
pub(crate) fn plans(ledger: &Ledger) -> Plans {
    let mut plans = Plans {
        pairwise: Plan { transfers: Vec::new(), exact: true },
        edges: Plan { transfers: Vec::new(), exact: true },
        minimal: Plan { transfers: Vec::new(), exact: true },
    };
    for (currency, book) in ledger.books() {
        let pending = pending(ledger, currency);
        let (literal, literal_notes) = deduct_by_pair(book, &pending);
        plans.pairwise.transfers.extend(because::direct(ledger, currency, book, &literal, &literal_notes));
        let (debts, notes) = deduct_by_net(book, &pending);

        let (chosen, exact) = edges(&to_flows(&debts));
        plans.edges.exact &= exact;
        plans.edges.transfers.extend(because::explain(ledger, currency, book, &debts, &chosen, &notes));

        let everyone = ledger.root().is_some_and(|o| o.policies.minimal == Reach::Everyone);
        let open = |who: &Person| everyone || (has_account(who) && ledger.wrote(who));
        let (free, kept): (Vec<Flow>, Vec<Flow>) =
            to_flows(&debts).into_iter().partition(|f| open(&f.debtor) && open(&f.creditor));
        let (mut chosen, exact) = minimal(&nets(&free));
        chosen.extend(kept);
        chosen.sort_by(|a, b| (&a.debtor, &a.creditor).cmp(&(&b.debtor, &b.creditor)));
        plans.minimal.exact &= exact;
        plans.minimal.transfers.extend(because::explain(ledger, currency, book, &debts, &chosen, &notes));
    }
    plans
}

/// The pending settlements that would move a balance in this currency, bytewise by event id.
fn pending(ledger: &Ledger, currency: &Currency) -> Vec<Pending> {
    let ids = ledger.pending().into_iter();
    ids.filter_map(|id| {
        let settlement = ledger.entry(&id)?.valid()?.settlement()?;
        let (moved, amount) = settlement.moves();
        let (from, to) = (settlement.from.clone(), settlement.to.clone());
        (moved == currency).then_some(Pending { id, from, to, amount })
    })
    .collect()
}

/// How much of which pending settlement was deducted.
pub(crate) type Notes = Vec<(EventId, Flow)>;

/// The book's debts less pending settlements, each at most by what its payer owes its payee.
fn deduct_by_pair(book: &Book, pending: &[Pending]) -> (Debts, Notes) {
    let (mut debts, mut notes) = (debts(book), Vec::new());
    for p in pending {
        let key = (p.from.clone(), p.to.clone());
        if let Some(open) = debts.get_mut(&key) {
            let part = (*open).min(p.amount);
            *open -= part;
            if open.is_zero() {
                debts.remove(&key);
            }
            notes.push((p.id.clone(), Flow { debtor: key.0, creditor: key.1, amount: part }));
        }
    }
    (debts, notes)
}

/// The book's debts with pending settlements as if they counted, each at most by what its payer owes and its payee is
/// owed on balance: an unconfirmed payment never makes anybody owe its payer.
fn deduct_by_net(book: &Book, pending: &[Pending]) -> (Debts, Notes) {
    let (mut debts, mut notes) = (debts(book), Vec::new());
    let mut balances = book.balances.clone();
    for p in pending {
        let balance = |who: &Person| balances.get(who).copied().unwrap_or_default();
        let part = p.amount.min(-balance(&p.from)).min(balance(&p.to));
        if part.signum() <= 0 {
            continue;
        }
        *balances.entry(p.from.clone()).or_default() += part;
        *balances.entry(p.to.clone()).or_default() -= part;
        owe(&mut debts, &p.to, &p.from, part);
        notes.push((p.id.clone(), Flow { debtor: p.from.clone(), creditor: p.to.clone(), amount: part }));
    }
    (debts, notes)
}

/// Adds a debt, netting it against one the other way round.
fn owe(debts: &mut Debts, debtor: &Person, creditor: &Person, amount: Amount) {
    let there = (debtor.clone(), creditor.clone());
    let back = (creditor.clone(), debtor.clone());
    let net = debts.remove(&there).unwrap_or_default() - debts.remove(&back).unwrap_or_default() + amount;
    if net.signum() > 0 {
        debts.insert(there, net);
    } else if net.signum() < 0 {
        debts.insert(back, -net);
    }
}

fn debts(book: &Book) -> Debts {
    let pairs = book.pairs.iter().filter(|(_, pair)| !pair.owes.is_zero());
    pairs
        .map(|((a, b), pair)| {
            let key = if pair.owes.signum() > 0 { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) };
            (key, pair.owes.abs())
        })
        .collect()
}

fn to_flows(debts: &Debts) -> Vec<Flow> {
    let flows = debts.iter();
    flows.map(|((d, c), a)| Flow { debtor: d.clone(), creditor: c.clone(), amount: *a }).collect()
}

/// Net positions of a set of debts, positive where the person is owed, zeros left out, bytewise by person.
pub(crate) fn nets(flows: &[Flow]) -> Vec<(Person, Amount)> {
    let mut nets: BTreeMap<&Person, Amount> = BTreeMap::new();
    for flow in flows {
        *nets.entry(&flow.creditor).or_default() += flow.amount;
        *nets.entry(&flow.debtor).or_default() -= flow.amount;
    }
    nets.into_iter().filter(|(_, a)| !a.is_zero()).map(|(who, a)| (who.clone(), a)).collect()
}

#[cfg(test)]
mod tests;
