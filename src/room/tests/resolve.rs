//! State resolution: the reduced form against the whole one over generated rooms, and version 1's own algorithm.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::HashSet;

use common::{ALICE, BOB, CAROL, DAVE, Room, State, Tip, VERSIONS};
use proptest::prelude::*;
use room::resolve::{ResolveError, auth_chain, resolve};
use ruma::{EventId, events::StateEventType};
use serde_json::json;

const USERS: [&str; 4] = [ALICE, BOB, CAROL, DAVE];

/// One thing somebody does on one branch. What the rules refuse does not happen.
#[derive(Debug, Clone)]
struct Step {
    branch: usize,
    who: usize,
    whom: usize,
    deed: usize,
    level: i64,
    skew: u64,
}

const MERGE: usize = 14;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let level = prop_oneof![Just(0_i64), Just(50), Just(75), Just(100)];
    // Alice, who can do everything, acts more often than the others.
    let who = prop_oneof![Just(0_usize), 0..4_usize];
    let step = (0..3_usize, who, 0..4_usize, 0..=MERGE + 2, level, 0..40_u64);
    let step = step.prop_map(|(branch, who, whom, deed, level, skew)| Step { branch, who, whom, deed, level, skew });
    proptest::collection::vec(step, 10..70)
}

/// Every version, and the three versions of the algorithm about equally often.
fn versions() -> impl Strategy<Value = &'static str> {
    let of = |versions: &'static [&'static str]| proptest::sample::select(versions);
    prop_oneof![of(&VERSIONS[..1]), of(&VERSIONS[1..11]), of(&VERSIONS[11..])]
}

fn act(room: &mut Room, tip: &Tip, step: &Step) -> Option<Tip> {
    let (who, whom) = (USERS[step.who], USERS[step.whom]);
    room.skew = step.skew;
    let done = match step.deed {
        0..=2 => room.member(tip, who, who, "join"),
        3 => room.member(tip, who, who, "leave"),
        4 => room.member(tip, who, whom, "ban"),
        5 => room.member(tip, who, whom, "leave"),
        6 => room.member(tip, who, whom, "invite"),
        7 => room.send(tip, who, "m.room.topic", Some(""), json!({"topic": step.level})),
        8 => room.send(tip, who, "m.room.name", Some(""), json!({"name": step.level})),
        9 => room.send(tip, who, "org.example.key", Some(who), json!({})),
        10 | 11 => {
            // From what holds on this branch, somebody's level changes.
            let levels = room.in_state(&tip.state, &StateEventType::RoomPowerLevels, "");
            let mut levels: serde_json::Value =
                levels.map_or(json!({}), |it| serde_json::from_str(it.content.get()).unwrap());
            levels["users"][whom] = json!(step.level);
            room.send(tip, who, "m.room.power_levels", Some(""), levels)
        }
        12 => room.send(
            tip,
            who,
            "m.room.join_rules",
            Some(""),
            json!({"join_rule": if step.level > 50 { "invite" } else { "public" }}),
        ),
        _ => room.send(
            tip,
            who,
            "m.room.third_party_invite",
            Some("token"),
            json!({"display_name": "x", "public_key": "x"}),
        ),
    };
    done.ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Over rooms with three branches, of which now and then one takes in another: the reduced form gives what the whole one gives,
    /// and neither the order of the states nor a repeated state matters.
    #[test]
    fn reduced_inputs_are_enough(
        version in versions(),
        steps in steps(),
    ) {
        let (mut room, start) = Room::new(version, json!({"join_rule": "public"}));
        let start = room.member(&start, BOB, BOB, "join").unwrap();
        let mut levels = json!({"users": {BOB: 60}, "events": {"m.room.power_levels": 50}});
        if version != "12" {
            levels["users"][ALICE] = json!(100);
        }
        let start = room.send(&start, ALICE, "m.room.power_levels", Some(""), levels).unwrap();
        let mut tips = [start.clone(), start.clone(), start];
        for step in &steps {
            if step.deed < MERGE {
                if let Some(tip) = act(&mut room, &tips[step.branch], step) {
                    tips[step.branch] = tip;
                }
                continue;
            }
            let other = (step.branch + 1 + step.whom % 2) % 3;
            let states = [tips[step.branch].state.clone(), tips[other].state.clone()];
            let state = room.resolve(&states).unwrap();
            prop_assert_eq!(&room.reduced(&states), &state);
            let prev: Vec<_> =
                HashSet::from([&tips[step.branch], &tips[other]].map(|tip| tip.event.clone())).into_iter().collect();
            if let Ok(met) = room.post(&prev, &state, ALICE, "m.room.message", None, json!({})) {
                tips[step.branch] = met;
            }
        }
        let states = tips.map(|tip| tip.state);
        let whole = room.resolve(&states).unwrap();
        prop_assert_eq!(&room.reduced(&states), &whole);
        let [a, b, c] = states;
        prop_assert_eq!(&room.resolve(&[c.clone(), a.clone(), b.clone()]).unwrap(), &whole);
        prop_assert_eq!(&room.reduced(&[b.clone(), c.clone(), a.clone()]), &whole);
        prop_assert_eq!(room.resolve(&[a.clone(), b, c, a]).unwrap(), whole);
    }
}

#[test]
fn a_missing_event_is_an_error_and_never_a_guess() {
    for version in ["1", "10", "12"] {
        let (mut room, fork) = Room::new(version, json!({"join_rule": "public"}));
        let one = room.member(&fork, BOB, BOB, "join").unwrap();
        let other = room.member(&fork, BOB, BOB, "join").unwrap();
        let states = [one.state, other.state.clone()];
        let known = |id: &EventId| room.event(id);
        let chain = |state: &State| auth_chain(state.values(), known);

        let without = |id: &EventId| known(id).filter(|_| *id != other.event);
        let missing = Err(ResolveError::Missing(other.event.clone()));
        assert_eq!(resolve(&room.rules, &states, without, chain), missing, "{version}");

        let levels = &fork.state[&(StateEventType::RoomPowerLevels, String::new())];
        let without = |id: &EventId| known(id).filter(|_| *id != **levels);
        let missing = ResolveError::Missing(levels.clone());
        assert_eq!(auth_chain(other.state.values(), without).unwrap_err(), missing, "{version}");
        let chain = |state: &State| auth_chain(state.values(), without);
        if version != "1" {
            assert_eq!(resolve(&room.rules, &states, known, chain), Err(missing), "{version}");
        }
    }
}

/// Version 1 picks by depth and by the SHA-1 of the id. `$event<n>:one.example` are the ids here.
mod version_1 {
    use super::*;
    use sha1::{Digest as _, Sha1};

    fn room() -> (Room, Tip) {
        let (mut room, tip) = Room::new("1", json!({"join_rule": "public"}));
        let tip = room.member(&tip, BOB, BOB, "join").unwrap();
        let levels = json!({"users": {ALICE: 100, BOB: 50}});
        let tip = room.send(&tip, ALICE, "m.room.power_levels", Some(""), levels).unwrap();
        (room, tip)
    }

    fn topic(room: &mut Room, tip: &Tip, who: &str, topic: &str) -> Tip {
        room.send(tip, who, "m.room.topic", Some(""), json!({"topic": topic})).unwrap()
    }

    fn slot() -> (StateEventType, String) {
        (StateEventType::RoomTopic, String::new())
    }

    fn sha1(tip: &Tip) -> Vec<u8> {
        Sha1::digest(tip.event.as_str()).to_vec()
    }

    #[test]
    fn the_deepest_wins_then_the_smallest_hash() {
        let (mut room, fork) = room();
        let shallow = topic(&mut room, &fork, ALICE, "shallow");
        let talk = room.send(&fork, BOB, "m.room.message", None, json!({})).unwrap();
        let deep = topic(&mut room, &talk, BOB, "deep");
        for states in [[&shallow, &deep], [&deep, &shallow]] {
            let resolved = room.resolve(&states.map(|tip| tip.state.clone())).unwrap();
            assert_eq!(resolved[&slot()], deep.event);
        }
        let mut equals: Vec<Tip> = (0..6).map(|n| topic(&mut room, &fork, ALICE, &n.to_string())).collect();
        let states: Vec<State> = equals.iter().map(|tip| tip.state.clone()).collect();
        equals.sort_by_key(sha1);
        assert_eq!(room.resolve(&states).unwrap()[&slot()], equals[0].event);
    }

    #[test]
    fn what_only_one_state_has_is_no_conflict() {
        let (mut room, fork) = room();
        let with = topic(&mut room, &fork, ALICE, "t");
        let resolved = room.resolve(&[with.state.clone(), fork.state]).unwrap();
        assert_eq!(resolved, with.state);
    }

    #[test]
    fn power_levels_are_settled_before_what_depends_on_them() {
        let (mut room, fork) = room();
        // Bob is demoted on one branch, twice over, and sets a deeper topic on the other.
        let demoted = room.send(&fork, ALICE, "m.room.power_levels", Some(""), json!({"users": {ALICE: 100}})).unwrap();
        let alices = topic(&mut room, &demoted, ALICE, "hers");
        let named = room
            .send(&fork, ALICE, "m.room.power_levels", Some(""), json!({"users": {ALICE: 100}, "kick": 1}))
            .unwrap();
        let talk = room.send(&fork, BOB, "m.room.message", None, json!({})).unwrap();
        let talk = room.send(&talk, BOB, "m.room.message", None, json!({})).unwrap();
        let bobs = topic(&mut room, &talk, BOB, "his");
        let resolved = room.resolve(&[alices.state.clone(), named.state, bobs.state]).unwrap();
        assert_eq!(resolved[&slot()], alices.event, "Bob's is deeper, but not allowed any more");
    }

    #[test]
    fn a_chain_of_power_levels_ends_at_the_first_that_is_not_allowed() {
        let (mut room, fork) = room();
        let levels = |room: &mut Room, tip: &Tip, who: &str, content| {
            room.send(tip, who, "m.room.power_levels", Some(""), content)
        };
        let first = levels(&mut room, &fork, ALICE, json!({"users": {ALICE: 100}, "events": {}})).unwrap();
        let talk = room.send(&fork, BOB, "m.room.message", None, json!({})).unwrap();
        let bobs = levels(&mut room, &talk, BOB, json!({"users": {ALICE: 100, BOB: 50, CAROL: 50}})).unwrap();
        let talk = room.send(&talk, BOB, "m.room.message", None, json!({})).unwrap();
        let last = levels(&mut room, &talk, ALICE, json!({"users": {ALICE: 100, BOB: 50, DAVE: 1}})).unwrap();
        let resolved = room.resolve(&[first.state.clone(), bobs.state, last.state]).unwrap();
        let kept = &resolved[&(StateEventType::RoomPowerLevels, String::new())];
        // After the first, Bob has no power to set the second; so the third, which Alice could set, is not reached.
        assert_eq!(*kept, first.event);
    }

    #[test]
    fn a_deeper_ban_holds_and_a_deeper_join_does_not_lift_it() {
        for ban_is_deeper in [true, false] {
            let (mut room, fork) = room();
            let talk = room.send(&fork, ALICE, "m.room.message", None, json!({})).unwrap();
            let (ban_at, join_at) = if ban_is_deeper { (&talk, &fork) } else { (&fork, &talk) };
            let ban = room.member(ban_at, ALICE, DAVE, "ban").unwrap();
            let join = room.member(join_at, DAVE, DAVE, "join").unwrap();
            let resolved = room.resolve(&[ban.state, join.state]).unwrap();
            assert_eq!(room.membership(&resolved, DAVE), "ban");
        }
    }

    #[test]
    fn if_nothing_is_allowed_the_oldest_stays() {
        let (mut room, fork) = room();
        let one = topic(&mut room, &fork, BOB, "one");
        let two = topic(&mut room, &one, BOB, "two");
        let one_gone = room.member(&one, ALICE, BOB, "ban").unwrap();
        let mut two_gone = two.clone();
        // The same ban in both states: unconflicted.
        let slot_of_bob = (StateEventType::RoomMember, BOB.to_owned());
        two_gone.state.insert(slot_of_bob.clone(), one_gone.state[&slot_of_bob].clone());
        let resolved = room.resolve(&[two_gone.state, one_gone.state]).unwrap();
        assert_eq!(resolved[&slot()], one.event);
    }
}
