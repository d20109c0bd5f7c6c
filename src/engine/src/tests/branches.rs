//! Rooms that fork at random, at any event and into any number of branches: every state is what whole states resolve to.

use proptest::{prelude::*, sample::Index};
use ruma::{OwnedEventId, RoomVersionId};
use serde_json::{Value, json};

use super::{
    peer::{ALICE, BOB, CAROL, Peer},
    random::{ALL, DAVE, MEMBERSHIPS, compare, version},
};
use crate::{Received, Verdict};

/// Events that one event follows, at most.
const PREV: usize = 4;

/// An event anywhere in the room: whose, what, and behind which of the events that are part of it.
#[derive(Debug, Clone)]
struct Step {
    who: usize,
    deed: Deed,
    behind: Vec<Index>,
}

#[derive(Debug, Clone)]
enum Deed {
    Say,
    Topic,
    /// A key of the sender's own.
    Own,
    Levels(usize, i64),
    Member(usize, usize),
    JoinRule(bool),
}

impl Deed {
    fn event<'a>(&self, infinite: bool, user: &'a str) -> (&'static str, Option<&'a str>, Value) {
        match self {
            Self::Say => ("m.room.message", None, json!({"body": "x"})),
            Self::Topic => ("m.room.topic", Some(""), json!({"topic": format!("by {user}")})),
            Self::Own => ("org.example.own", Some(user), json!({})),
            Self::Levels(who, level) => {
                let mut users = json!({BOB: 50});
                users[ALL[*who]] = json!(level);
                if !infinite {
                    users[ALICE] = json!(100);
                } else if let Some(users) = users.as_object_mut() {
                    users.remove(ALICE);
                }
                let events = json!({"org.example.own": 0, "m.room.power_levels": 50});
                ("m.room.power_levels", Some(""), json!({"users": users, "events": events}))
            }
            Self::Member(who, what) => ("m.room.member", Some(ALL[*who]), json!({"membership": MEMBERSHIPS[*what]})),
            Self::JoinRule(open) => {
                ("m.room.join_rules", Some(""), json!({"join_rule": if *open { "public" } else { "invite" }}))
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let deed = prop_oneof![
        2 => Just(Deed::Say),
        2 => Just(Deed::Topic),
        1 => Just(Deed::Own),
        3 => (0..4_usize, prop_oneof![Just(0_i64), Just(50), Just(100)]).prop_map(|(who, level)| Deed::Levels(who, level)),
        4 => (0..4_usize, 0..4_usize).prop_map(|(who, what)| Deed::Member(who, what)),
        1 => any::<bool>().prop_map(Deed::JoinRule),
    ];
    // Alice, who can do everything, and the newest events come more often.
    let who = prop_oneof![Just(0_usize), 0..4_usize];
    let behind = proptest::collection::vec(any::<Index>(), 1..=PREV);
    (who, deed, behind).prop_map(|(who, deed, behind)| Step { who, deed, behind })
}

async fn run(version: RoomVersionId, steps: Vec<Step>) {
    let (one, two) = (Peer::new("one"), Peer::new("two"));
    let room = one.create(&version).await;
    let infinite = room.rules.authorization.explicitly_privilege_room_creators;
    let mut part: Vec<OwnedEventId> = one.log(&room).await.into_iter().map(|(_, pdu)| pdu.event_id).collect();
    // So that there is somebody to act on the branches: they all begin behind these.
    for user in [BOB, CAROL, DAVE] {
        let end = part.last().unwrap().clone();
        let signer = if user == DAVE { &one } else { &two };
        let join = json!({"membership": "join"});
        let event = signer.sign_at((&one, &room), &[&end], (user, "m.room.member", Some(user)), join).await;
        part.push(event.pdu.event_id.clone());
        let received = one.engine.receive(&room, event).await.unwrap();
        assert!(matches!(received, Received::Stored { verdict: Verdict::Accepted, .. }));
    }
    let first = part.len() - 1;
    for Step { who, deed, behind } in steps {
        let user = ALL[who];
        let mut prev: Vec<OwnedEventId> =
            behind.iter().map(|index| part[first + index.index(part.len() - first)].clone()).collect();
        prev.sort();
        prev.dedup();
        let prev: Vec<_> = prev.iter().map(|id| &**id).collect();
        let signer = if user.ends_with(":one") { &one } else { &two };
        let (kind, key, content) = deed.event(infinite, user);
        one.clock.advance(1);
        two.clock.advance(1);
        let event = signer.sign_at((&one, &room), &prev, (user, kind, key), content).await;
        let id = event.pdu.event_id.clone();
        match one.engine.receive(&room, event).await.unwrap() {
            Received::Stored { verdict: Verdict::Accepted, .. } => part.push(id),
            Received::Stored { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    compare(&one, &room).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn forks_of_any_shape_resolve_as_whole_states_do(version in version(), steps in proptest::collection::vec(step(), 1..32)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(version, steps));
    }
}
