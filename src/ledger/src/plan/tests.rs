#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use serde_json::{Value, json};

use super::minimal::greedy;
use super::*;
use crate::entry::{Entry, Source};

fn person(i: usize) -> Person {
    format!("@p{i:02}:x.org").into()
}

fn position(amounts: &[i128]) -> Vec<(Person, Amount)> {
    amounts.iter().enumerate().map(|(i, a)| (person(i), Amount(*a))).collect()
}

fn flow(debtor: usize, creditor: usize, amount: i128) -> Flow {
    Flow { debtor: person(debtor), creditor: person(creditor), amount: Amount(amount) }
}

/// What is left of balances after the transfers.
fn after(open: &[(Person, Amount)], flows: &[Flow]) -> Vec<(Person, Amount)> {
    let mut all = nets(flows);
    all.iter_mut().for_each(|(_, a)| *a = -*a);
    let mut sums: BTreeMap<Person, Amount> = BTreeMap::new();
    all.into_iter().chain(open.iter().cloned()).for_each(|(who, a)| *sums.entry(who).or_default() += a);
    sums.into_iter().filter(|(_, a)| !a.is_zero()).collect()
}

/// The fewest transfers by trying every partition into zero-sum groups.
fn brute_force(open: &[i128]) -> usize {
    fn most(rest: &[i128], groups: &mut Vec<i128>) -> usize {
        let Some((first, rest)) = rest.split_first() else {
            return if groups.iter().all(|g| *g == 0) { groups.len() } else { 0 };
        };
        let mut best = 0;
        for i in 0..groups.len() {
            groups[i] += first;
            best = best.max(most(rest, groups));
            groups[i] -= first;
        }
        groups.push(*first);
        best = best.max(most(rest, groups));
        groups.pop();
        best
    }
    let open: Vec<i128> = open.iter().copied().filter(|a| *a != 0).collect();
    open.len() - most(&open, &mut Vec::new())
}

fn zero_sum(max: usize, largest: i128) -> impl Strategy<Value = Vec<i128>> {
    prop::collection::vec(-largest..=largest, 1..max).prop_map(|mut amounts| {
        let sum: i128 = amounts.iter().sum();
        amounts.push(-sum);
        amounts
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn minimal_settles_and_is_minimal(amounts in zero_sum(8, 6), turn in 0_usize..8) {
        let open = position(&amounts);
        let (flows, exact) = minimal(&open);
        prop_assert!(exact);
        prop_assert!(after(&open, &flows).is_empty());
        prop_assert!(flows.iter().all(|f| f.amount.signum() > 0 && f.debtor != f.creditor));
        prop_assert!(flows.iter().all(|f| flows.iter().all(|g| f.debtor != g.creditor)), "pays and receives");
        prop_assert_eq!(flows.len(), brute_force(&amounts));
        prop_assert!(flows.len() <= amounts.iter().filter(|a| **a != 0).count().saturating_sub(1));
        let mut turned = open.clone();
        turned.rotate_left(turn % open.len());
        prop_assert_eq!(minimal(&turned).0, flows);
    }

    #[test]
    fn minimal_is_never_worse_than_greedy(amounts in zero_sum(40, 30)) {
        let open = position(&amounts);
        let (flows, exact) = minimal(&open);
        prop_assert!(after(&open, &flows).is_empty());
        prop_assert!(flows.len() <= greedy(&open).len());
        prop_assert!(exact || amounts.len() > EXACT_UP_TO);
    }

    #[test]
    fn edges_follow_debts_and_settle(debts in debts_among(6, 9), turn in 0_usize..9) {
        let (flows, exact) = edges(&debts);
        prop_assert!(exact);
        prop_assert_eq!(nets(&flows), nets(&debts));
        let along = |f: &Flow| debts.iter().any(|d| d.debtor == f.debtor && d.creditor == f.creditor);
        prop_assert!(flows.iter().all(|f| f.amount.signum() > 0 && along(f)));
        prop_assert_eq!(flows.len(), fewest_edges(&debts));
        let mut turned = debts.clone();
        turned.rotate_left(turn % debts.len().max(1));
        prop_assert_eq!(edges(&turned).0, flows);
    }

    #[test]
    fn many_people_are_thinned_to_a_forest(debts in debts_among(30, 120)) {
        let (flows, _) = edges(&debts);
        prop_assert_eq!(nets(&flows), nets(&debts));
        let along = |f: &Flow| debts.iter().any(|d| d.debtor == f.debtor && d.creditor == f.creditor);
        prop_assert!(flows.iter().all(|f| f.amount.signum() > 0 && along(f)));
        prop_assert!(flows.len() < 30 && flows.len() <= debts.len());
    }
}

/// Netted debts among at most `people`.
fn debts_among(people: usize, most: usize) -> impl Strategy<Value = Vec<Flow>> {
    prop::collection::vec((0..people, 1..people, 1_i128..9), 1..most).prop_map(move |list| {
        let mut debts = Debts::new();
        for (a, step, amount) in list {
            owe(&mut debts, &person(a), &person((a + step) % people), Amount(amount));
        }
        to_flows(&debts)
    })
}

/// The fewest edges that carry a flow with the same net positions, by trying every subset of edges.
fn fewest_edges(debts: &[Flow]) -> usize {
    let open = nets(debts);
    let carries = |set: usize| {
        // Enough for a check: push along the chosen edges until nothing changes; small integers, so exhaustive search.
        let chosen: Vec<&Flow> = debts.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, f)| f).collect();
        solve(&chosen, &mut open.iter().cloned().collect())
    };
    (0..1_usize << debts.len()).filter(|s| carries(*s)).map(|s| s.count_ones() as usize).min().unwrap()
}

/// Whether some amounts along the edges settle the positions. Forests have at most one answer, found leaf by leaf; sets
/// with cycles are never the smallest, so they need not be recognised.
fn solve(edges: &[&Flow], open: &mut BTreeMap<Person, Amount>) -> bool {
    let degree = |who: &Person| edges.iter().filter(|e| e.debtor == *who || e.creditor == *who).count();
    let leaf = edges.iter().position(|e| degree(&e.debtor) == 1 || degree(&e.creditor) == 1);
    let Some(at) = leaf else {
        return edges.is_empty() && open.values().all(|a| a.is_zero());
    };
    let edge = edges[at];
    let balance = |open: &BTreeMap<Person, Amount>, who: &Person| open.get(who).copied().unwrap_or_default();
    let amount = if degree(&edge.debtor) == 1 { -balance(open, &edge.debtor) } else { balance(open, &edge.creditor) };
    if amount.signum() < 0 {
        return false;
    }
    *open.entry(edge.debtor.clone()).or_default() += amount;
    *open.entry(edge.creditor.clone()).or_default() -= amount;
    let rest: Vec<&Flow> = edges.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, e)| *e).collect();
    solve(&rest, open)
}

#[test]
fn twenty_people_are_exact_and_more_are_not() {
    let mut amounts: Vec<i128> = (0..19).map(|i| if i % 2 == 0 { 1000 + 7 * i } else { -(900 + 11 * i) }).collect();
    amounts.push(-amounts.iter().sum::<i128>());
    assert!(minimal(&position(&amounts)).1);
    amounts.pop();
    amounts.extend([5, 3]);
    amounts.push(-amounts.iter().sum::<i128>());
    let (flows, exact) = minimal(&position(&amounts));
    assert!(!exact);
    assert!(after(&position(&amounts), &flows).is_empty());
}

#[test]
fn huge_amounts() {
    let big = 10_i128.pow(20);
    let (flows, exact) = minimal(&position(&[big, -big + 1, -1]));
    assert_eq!((flows, exact), (vec![flow(1, 0, big - 1), flow(2, 0, 1)], true));
}

#[test]
fn a_chain_along_debts() {
    // 0 owes 1, 1 owes 2, the same amount: nothing shorter exists along debts, one transfer does otherwise.
    let debts = [flow(0, 1, 10), flow(1, 2, 10)];
    assert_eq!(edges(&debts), (debts.to_vec(), true));
    assert_eq!(minimal(&nets(&debts)), (vec![flow(0, 2, 10)], true));
    // A circle vanishes.
    assert_eq!(edges(&[flow(0, 1, 5), flow(1, 2, 5), flow(2, 0, 5)]), (vec![], true));
    // A short cut is taken where it exists.
    assert_eq!(edges(&[flow(0, 1, 10), flow(1, 2, 10), flow(0, 2, 1)]), (vec![flow(0, 2, 11)], true));
}

fn event(id: &str, sender: &str, kind: &str, mut content: Value) -> Entry {
    content["open"] = json!("$root");
    let (sender, kind) = (format!("@{sender}:x.org"), format!("com.cliquepay.{kind}"));
    Entry::parse(&Source { event_id: id, sender: &sender, kind: &kind, origin_server_ts: 1, redacted: false }, &content)
}

fn who(name: &str) -> String {
    if name.contains('~') { name.to_owned() } else { format!("@{name}:x.org") }
}

/// `payer` paid `amount` for `debtor` alone.
fn lent(id: &str, payer: &str, debtor: &str, currency: &str, amount: &str) -> Entry {
    let content = json!({
        "uid": &id[1..], "title": format!("Item {}", &id[1..]), "date": "2026-11-22", "currency": currency, "amount": amount,
        "paid": [{ "who": who(payer), "amount": amount }], "owed": [{ "who": who(debtor), "amount": amount }],
        "split": { "method": "exact", "inputs": [{ "who": who(debtor), "value": amount }] },
    });
    event(id, payer, "expense", content)
}

fn payment(id: &str, from: &str, to: &str, amount: &str) -> Entry {
    let content = json!({ "uid": &id[1..], "from": who(from), "to": who(to), "currency": "EUR", "amount": amount });
    event(id, from, "settlement", content)
}

fn ledger(policies: Value, entries: Vec<Entry>) -> Ledger {
    let open = event("$root", "ann", "open", json!({ "version": 1, "currency": "EUR", "policies": policies }));
    Ledger::fold("$root", std::iter::once(open).chain(entries))
}

fn short(plan: &Plan) -> Vec<String> {
    let name = |p: &str| p[..p.find(':').unwrap()].trim_start_matches('@').to_owned();
    let transfers = plan.transfers.iter();
    transfers
        .map(|t| format!("{}>{} {}{}", name(&t.from), name(&t.to), t.currency.format(t.amount), t.currency))
        .collect()
}

#[test]
fn three_views_of_one_ledger() {
    let entries = vec![
        lent("$1", "ann", "bob", "EUR", "10.00"),
        lent("$2", "bob", "carl", "EUR", "10.00"),
        lent("$3", "carl", "bob", "EUR", "4.00"),
        lent("$4", "ann", "bob", "JPY", "900"),
    ];
    let plans = ledger(json!({}), entries).plans();
    assert_eq!(short(&plans.pairwise), ["bob>ann 10.00EUR", "carl>bob 6.00EUR", "bob>ann 900JPY"]);
    assert_eq!(short(&plans.edges), ["bob>ann 10.00EUR", "carl>bob 6.00EUR", "bob>ann 900JPY"]);
    assert_eq!(short(&plans.minimal), ["bob>ann 4.00EUR", "carl>ann 6.00EUR", "bob>ann 900JPY"]);
    let exchange = &plans.minimal.transfers[1].because;
    let given_up = Because::Instead { debtor: who("bob").into(), creditor: who("ann").into(), amount: Amount(600) };
    assert_eq!(exchange, &[given_up]);
    let name = |p: &str| p[1..2].to_uppercase() + p[2..].split(':').next().unwrap();
    let words = |t: &Transfer| t.because.iter().map(|b| b.words(&t.currency, &name)).collect::<Vec<_>>();
    assert_eq!(words(&plans.minimal.transfers[1]), ["instead of €6.00 that Bob owes Ann"]);
    assert_eq!(words(&plans.pairwise.transfers[1]), ["Item 3 (2026-11-22): -€4.00", "Item 2 (2026-11-22): €10.00"]);
}

#[test]
fn nobody_moves_a_debt_onto_somebody_who_never_wrote_or_has_no_account() {
    let entries = || {
        vec![
            lent("$1", "ann", "bob", "EUR", "10.00"),
            lent("$2", "bob", "ghost~@bob:x.org", "EUR", "10.00"),
            lent("$3", "bob", "quiet", "EUR", "1.00"),
        ]
    };
    let careful = ledger(json!({}), entries()).plans();
    assert_eq!(short(&careful.minimal), ["bob>ann 10.00EUR", "quiet>bob 1.00EUR", "ghost~@bob>bob 10.00EUR"]);
    let everyone = ledger(json!({ "minimal": "everyone" }), entries()).plans();
    assert_eq!(short(&everyone.minimal), ["quiet>bob 1.00EUR", "ghost~@bob>ann 10.00EUR"]);
}

#[test]
fn pending_settlements_are_deducted_and_never_turn_a_debt_round() {
    let with = |amount: &str| {
        ledger(json!({}), vec![lent("$1", "ann", "bob", "EUR", "10.00"), payment("$p", "bob", "ann", amount)]).plans()
    };
    let some = with("4.00");
    for plan in [&some.pairwise, &some.edges, &some.minimal] {
        assert_eq!(short(plan), ["bob>ann 6.00EUR"]);
        let note = Because::Pending { event_id: "$p".into(), amount: Amount(400) };
        assert!(plan.transfers[0].because.contains(&note));
    }
    let more = with("1000000.00");
    for plan in [&more.pairwise, &more.edges, &more.minimal] {
        assert!(plan.transfers.is_empty(), "a mere claim makes nobody owe its author");
    }
    // Along a debt that exists only once the payment is confirmed.
    let plans = ledger(
        json!({}),
        vec![
            lent("$1", "ann", "bob", "EUR", "10.00"),
            lent("$2", "carl", "dora", "EUR", "10.00"),
            payment("$p", "bob", "carl", "10.00"),
        ],
    )
    .plans();
    assert_eq!(short(&plans.pairwise), ["bob>ann 10.00EUR", "dora>carl 10.00EUR"]);
    assert_eq!(
        nets(&flows_of(&plans.edges)),
        nets(&[Flow { debtor: who("dora").into(), creditor: who("ann").into(), amount: Amount(1000) }])
    );
}

fn flows_of(plan: &Plan) -> Vec<Flow> {
    let transfers = plan.transfers.iter();
    transfers.map(|t| Flow { debtor: t.from.clone(), creditor: t.to.clone(), amount: t.amount }).collect()
}

proptest! {
    #[test]
    fn executing_any_plan_leaves_nothing(list in prop::collection::vec((0_usize..6, 1_usize..6, 1_i128..5000), 1..20)) {
        let names = ["ann", "bob", "carl", "dora", "emil", "fay"];
        let eur = Currency::iso("EUR").unwrap();
        let entries: Vec<Entry> = list.iter().enumerate().map(|(i, (a, step, cents))| {
            lent(&format!("${i}"), names[*a], names[(a + step) % 6], "EUR", &eur.format(Amount(*cents)))
        }).collect();
        let ledger = ledger(json!({ "minimal": "everyone" }), entries);
        let open: Vec<(Person, Amount)> = ledger.balances().into_iter().map(|b| (b.who, b.amount)).collect();
        let plans = ledger.plans();
        for plan in [&plans.pairwise, &plans.edges, &plans.minimal] {
            prop_assert!(after(&open, &flows_of(plan)).is_empty());
            prop_assert!(plan.exact);
            prop_assert!(plan.transfers.iter().all(|t| !t.because.is_empty()));
        }
        prop_assert!(plans.edges.transfers.len() <= plans.pairwise.transfers.len());
        prop_assert!(plans.minimal.transfers.len() <= plans.edges.transfers.len());
    }
}
