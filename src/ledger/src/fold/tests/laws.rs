//! The fold's laws: any order, any repeats, one at a time or all at once, redacted before or after.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::*;

const NAMES: [&str; 4] = ["ann", "bob", "carl", "max"];
const AMOUNTS: [&str; 3] = ["28.00", "5.00", "0.01"];

/// What one random entry is made from; indexes are taken modulo the number of entries.
#[derive(Debug, Clone)]
struct Seed {
    kind: u8,
    sender: usize,
    other: usize,
    uid: u8,
    amount: usize,
    target: Index,
    over: Vec<Index>,
    flag: bool,
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let seed = (
        0_u8..20,
        0_usize..4,
        1_usize..4,
        0_u8..3,
        0_usize..3,
        any::<Index>(),
        prop::collection::vec(any::<Index>(), 0..4),
        any::<bool>(),
    );
    let seed = seed.prop_map(|(kind, sender, other, uid, amount, target, over, flag)| Seed {
        kind,
        sender,
        other,
        uid,
        amount,
        target,
        over,
        flag,
    });
    prop::collection::vec(seed, 1..24)
}

fn entry(seed: &Seed, id: &str, ids: &[String]) -> Entry {
    let (sender, other) = (NAMES[seed.sender], NAMES[(seed.sender + seed.other) % 4]);
    let uid = format!("u{}", seed.uid);
    let target = &ids[seed.target.index(ids.len())];
    let mut over: Vec<&str> = seed.over.iter().map(|i| &*ids[i.index(ids.len())]).collect();
    over.sort_unstable();
    over.dedup();
    let (from, to) = if seed.flag { (sender, other) } else { (other, sender) };
    let pay = payment_content(&uid, from, to, AMOUNTS[seed.amount]);
    let meal = dinner_content(&uid, sender, if seed.flag { &["ann", "bob"] } else { &["ann", "bob", "carl"] });
    let mut made = match seed.kind {
        0..3 => event(id, sender, "expense", meal),
        3..6 => event(id, sender, "settlement", pay),
        6 => event(id, "max", "settlement", pay),
        7 => {
            let mut content = pay;
            content["answers"] = json!(target);
            event(id, sender, "settlement", content)
        }
        8..10 => amend(id, sender, target, &over, "expense", meal),
        10..12 => amend(id, sender, target, &over, "settlement", pay),
        12 | 13 => void(id, sender, target, &over),
        14..17 => verdict(id, sender, target, if seed.flag { "confirmed" } else { "disputed" }, &over),
        17 => event(id, sender, "participant", json!({ "action": "declare", "pid": "x", "name": "X" })),
        18 => event(id, sender, "expense", json!({ "amount": 1 })),
        _ => {
            let mut content = meal;
            content["open"] = json!("$elsewhere");
            event(id, sender, "expense", content)
        }
    };
    if made.body.is_ok() && seed.amount == 2 {
        made.prev = over.iter().map(|o| (*o).into()).collect();
    }
    made
}

/// Entries whose ids sort in an order of their own, the root among them.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    (seeds(), any::<u64>(), any::<bool>()).prop_map(|(seeds, salt, trust)| {
        let id = |i: usize| format!("${}", &crate::hex(&crate::split::tie(&salt.to_string(), &i.to_string()))[..6]);
        let ids: Vec<String> = (0..seeds.len() + 2).map(id).collect();
        let settlement = if trust { "trust" } else { "confirm" };
        let open = json!({ "version": 1, "currency": "EUR", "policies": { "settlement": settlement } });
        let mut all = vec![event(ROOT, "max", "open", open)];
        all.extend(seeds.iter().enumerate().map(|(i, seed)| entry(seed, &ids[i], &ids)));
        all
    })
}

/// Everything that a ledger says.
fn all_of(ledger: &Ledger) -> (String, Vec<String>, String) {
    let mut views = Vec::new();
    for view in ledger.views() {
        let (id, status, reason) = (&view.entry.id, view.status, view.reason);
        views.push(format!("{id} {status:?} {reason:?} {:?} {:?} {:?}", view.verdicts, view.voided_by, view.current));
    }
    let lists =
        (ledger.heads(), ledger.missing(), ledger.conflicts(), ledger.rejects(), ledger.pending(), ledger.plans());
    (ledger.digest(), views, format!("{lists:?} {:?}", ledger.sums))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_order_and_any_repeats(
        (all, shuffled) in entries().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        again in prop::collection::vec(any::<Index>(), 0..10),
    ) {
        let once = Ledger::fold(ROOT, all.clone());
        let repeats = again.iter().map(|i| all[i.index(all.len())].clone()).collect::<Vec<_>>();
        let mixed = Ledger::fold(ROOT, repeats.into_iter().chain(shuffled));
        prop_assert_eq!(all_of(&once), all_of(&mixed));
    }

    #[test]
    fn one_at_a_time_gives_the_full_fold(all in entries().prop_shuffle()) {
        let mut ledger = Ledger::new(ROOT);
        for (i, entry) in all.iter().enumerate() {
            let before = ledger.clone();
            let changed = ledger.insert(entry.clone());
            let full = Ledger::fold(ROOT, all.iter().take(i + 1).cloned());
            prop_assert_eq!(all_of(&ledger), all_of(&full));
            // What is reported as changed is what changed.
            for view in ledger.views() {
                let old = before.view(&view.entry.id).map(|v| (v.status, v.reason.map(str::to_owned)));
                let new = Some((view.status, view.reason.map(str::to_owned)));
                prop_assert_eq!(old != new, changed.contains(&view.entry.id), "{}", view.entry.id);
            }
        }
    }

    #[test]
    fn redaction_before_or_after_makes_no_difference(
        (all, gone, order) in entries().prop_flat_map(|all| {
            let ids: Vec<EventId> = all.iter().map(|e| e.id.clone()).collect();
            let most = ids.len().min(6);
            (Just(all.clone()), subsequence(ids, 0..=most), Just(all).prop_shuffle())
        }),
        at in any::<Index>(),
    ) {
        let redacted = |e: &Entry| if gone.contains(&e.id) { e.redacted() } else { e.clone() };
        let full = Ledger::fold(ROOT, all.iter().map(redacted));
        let mut ledger = Ledger::new(ROOT);
        let moment = at.index(order.len());
        for (i, entry) in order.iter().enumerate() {
            if i == moment {
                gone.iter().for_each(|id| { ledger.redact(id); });
            }
            ledger.insert(entry.clone());
        }
        prop_assert_eq!(all_of(&ledger), all_of(&full));
    }

    #[test]
    fn balances_add_up_to_zero_and_follow_from_what_counts(all in entries()) {
        let ledger = Ledger::fold(ROOT, all);
        prop_assert_eq!(ledger.balances().iter().map(|b| b.amount.0).sum::<i128>(), 0);
        let mut sums = Sums::default();
        for view in ledger.views().filter(|v| v.status == Status::Counts) {
            sums.add(view.entry);
        }
        prop_assert_eq!(&sums, &ledger.sums);
    }

    #[test]
    fn judging_is_inserting(all in entries(), last in any::<Index>()) {
        let last = last.index(all.len());
        let ledger = Ledger::fold(ROOT, all.iter().enumerate().filter(|(i, _)| *i != last).map(|(_, e)| e.clone()));
        let judged = ledger.judge(all[last].clone());
        let mut after = ledger.clone();
        after.insert(all[last].clone());
        if let Some(status) = after.status(&all[last].id) {
            prop_assert_eq!(judged, status);
        }
    }
}
