//! Rooms that grow at random on two servers, and reach a third in any order: every state is what whole states resolve to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use proptest::{prelude::*, sample::Index};
use room::{
    Pdu,
    resolve::{StateMap, auth_chain, auth_difference, resolve},
};
use ruma::{EventId, OwnedEventId, RoomVersionId};
use serde_json::json;

use super::peer::{ALICE, BOB, CAROL, Peer, State, arrived};
use crate::{Received, Room, Verdict, row::EventRow};

pub(super) const DAVE: &str = "@dave:one";
pub(super) const USERS: [[&str; 2]; 2] = [[ALICE, DAVE], [BOB, CAROL]];
pub(super) const ALL: [&str; 4] = [ALICE, BOB, CAROL, DAVE];
pub(super) const MEMBERSHIPS: [&str; 4] = ["ban", "leave", "invite", "join"];

#[derive(Debug, Clone)]
enum Action {
    Say,
    Topic,
    Levels(usize, i64),
    Member(usize, usize),
    JoinRule(bool),
    /// Hands so many events over to the other server.
    Pass(usize),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => Just(Action::Say),
        3 => Just(Action::Topic),
        2 => (0..4_usize, prop_oneof![Just(0_i64), Just(50), Just(100)]).prop_map(|(who, level)| Action::Levels(who, level)),
        4 => (0..4_usize, 0..4_usize).prop_map(|(who, what)| Action::Member(who, what)),
        1 => any::<bool>().prop_map(Action::JoinRule),
        3 => (1..6_usize).prop_map(Action::Pass),
    ]
}

/// Versions 1, 2 and 2.1 of state resolution.
pub(super) fn version() -> impl Strategy<Value = RoomVersionId> {
    prop_oneof![
        Just(RoomVersionId::V1),
        Just(RoomVersionId::V2),
        Just(RoomVersionId::V6),
        Just(RoomVersionId::V11),
        Just(RoomVersionId::V12)
    ]
}

/// A step of one of the servers, by its first or second user.
type Step = (bool, bool, Action);

async fn act(peer: &Peer, room: &Arc<Room>, user: &str, action: &Action) {
    let (kind, key, content) = match action {
        Action::Say => ("m.room.message", None, json!({"body": "x"})),
        Action::Topic => ("m.room.topic", Some(""), json!({"topic": format!("by {user}")})),
        Action::Levels(who, level) => {
            let current = peer.engine.current_event(room.num, "m.room.power_levels", "").await.unwrap().unwrap();
            let mut content: serde_json::Value = serde_json::from_str(current.content()).unwrap();
            content["users"][ALL[*who]] = json!(level);
            ("m.room.power_levels", Some(""), content)
        }
        Action::Member(who, what) => ("m.room.member", Some(ALL[*who]), json!({"membership": MEMBERSHIPS[*what]})),
        Action::JoinRule(open) => {
            ("m.room.join_rules", Some(""), json!({"join_rule": if *open { "public" } else { "invite" }}))
        }
        Action::Pass(_) => return,
    };
    // What is not allowed does not happen.
    let _ = peer.send(room, user, kind, key, content).await;
}

/// A server's room, told from its events with whole states.
#[derive(Default)]
pub(super) struct Model {
    events: HashMap<OwnedEventId, Arc<Pdu>>,
    before: BTreeMap<String, State>,
    after: HashMap<OwnedEventId, StateMap<OwnedEventId>>,
    ends: BTreeSet<OwnedEventId>,
    rejected: BTreeSet<OwnedEventId>,
    soft_failed: BTreeSet<OwnedEventId>,
}

impl Model {
    fn of(log: Vec<(EventRow, Pdu)>, room: &Room) -> Self {
        let mut model = Self::default();
        for (row, pdu) in log {
            let before = model.meeting(pdu.prev_events.iter(), room);
            model.before.insert(pdu.event_id.to_string(), plain(&before));
            let mut after = before;
            if let Some(slot) = pdu.state_slot().filter(|_| row.verdict() != Verdict::Rejected) {
                after.insert(slot, pdu.event_id.clone());
            }
            match row.verdict() {
                Verdict::Accepted => {
                    let behind = model.behind(&pdu);
                    model.ends.retain(|end| !behind.contains(end));
                    model.ends.insert(pdu.event_id.clone());
                }
                Verdict::SoftFailed => drop(model.soft_failed.insert(pdu.event_id.clone())),
                Verdict::Rejected => drop(model.rejected.insert(pdu.event_id.clone())),
            }
            model.after.insert(pdu.event_id.clone(), after);
            model.events.insert(pdu.event_id.clone(), Arc::new(pdu));
        }
        model
    }

    /// What an event follows: directly, or through such as are no part of the room.
    fn behind(&self, pdu: &Pdu) -> BTreeSet<OwnedEventId> {
        let mut behind: BTreeSet<OwnedEventId> = BTreeSet::new();
        let mut open = pdu.prev_events.clone();
        while let Some(id) = open.pop() {
            if self.rejected.contains(&id) || self.soft_failed.contains(&id) {
                open.extend(self.events[&id].prev_events.iter().cloned());
            }
            behind.insert(id);
        }
        behind
    }

    fn meeting<'a>(&self, ends: impl Iterator<Item = &'a OwnedEventId>, room: &Room) -> StateMap<OwnedEventId> {
        let states: Vec<_> = ends.map(|id| self.after[id].clone()).collect();
        let fetch = |id: &EventId| self.events.get(id).cloned();
        resolve(&room.rules, &states, fetch, |state| auth_chain(state.values(), fetch)).unwrap()
    }

    fn state(&self, room: &Room) -> State {
        plain(&self.meeting(self.ends.iter(), room))
    }
}

fn plain(state: &StateMap<OwnedEventId>) -> State {
    state.iter().map(|((kind, key), id)| ((kind.to_string(), key.clone()), id.to_string())).collect()
}

pub(super) async fn compare(peer: &Peer, room: &Arc<Room>) -> Model {
    let log = peer.log(room).await;
    let rows: Vec<EventRow> = log.iter().map(|(row, _)| row.clone()).collect();
    let model = Model::of(log, room);
    for row in rows {
        let mut before = State::new();
        for (kind, key, num) in peer.engine.entries_at(room.num, row.state_before()).await.unwrap() {
            before.insert((kind, key), peer.engine.event(room.num, num).await.unwrap().event_id().to_owned());
        }
        assert_eq!(before, model.before[row.event_id()], "the state before {}", row.json());
    }
    assert_eq!(peer.state(room).await, model.state(room), "the current state");
    assert_eq!(peer.ends(room).await, model.ends);
    compare_difference(peer, room, &model).await;
    peer.assert_sound(room).await;
    model
}

/// The auth difference of the states after the room's ends is that of whole states.
async fn compare_difference(peer: &Peer, room: &Arc<Room>, model: &Model) {
    let mut writer = peer.engine.write(room).await.unwrap();
    let mut roots = Vec::new();
    for end in &model.ends {
        let num = peer.engine.find_event(room.num, end.as_str()).await.unwrap().unwrap();
        roots.push(writer.root_after(num).await.unwrap());
    }
    let found = writer.branches().unwrap().auth_difference(&roots).await.unwrap();
    let fetch = |id: &EventId| model.events.get(id).cloned();
    let chains: Vec<_> = model.ends.iter().map(|end| auth_chain(model.after[end].values(), fetch).unwrap()).collect();
    let whole: BTreeSet<OwnedEventId> = auth_difference(&chains, |_| false).iter().cloned().collect();
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), whole);
}

async fn run(version: RoomVersionId, steps: Vec<Step>, order: Vec<Index>) {
    let peers = [Peer::new("one"), Peer::new("two")];
    let first = peers[0].create(&version).await;
    let rooms = [Arc::clone(&first), peers[1].join(&peers[0], &first).await];
    let mut passed = [peers[0].log(&rooms[0]).await.len(), peers[1].log(&rooms[1]).await.len()];
    for (at, second, action) in steps {
        let (here, there) = (usize::from(at), usize::from(!at));
        act(&peers[here], &rooms[here], USERS[here][usize::from(second)], &action).await;
        if let Action::Pass(count) = action {
            for (_, pdu) in peers[here].log(&rooms[here]).await.iter().skip(passed[here]).take(count) {
                peers[here].pass(&rooms[here], &pdu.event_id, (&peers[there], &rooms[there])).await;
                passed[here] += 1;
            }
        }
    }
    peers[0].give_all(&rooms[0], (&peers[1], &rooms[1])).await;
    peers[1].give_all(&rooms[1], (&peers[0], &rooms[0])).await;

    let third = Peer::new("three");
    let mut waiting: Vec<(EventRow, Pdu)> = peers[0].log(&rooms[0]).await;
    let copy = third.engine.receive_create(arrived(waiting.remove(0).0.json(), &first.rules)).await.unwrap();
    let (mut order, drawn) = (order.iter().cycle(), order.len());
    let mut in_vain = 0;
    while !waiting.is_empty() {
        // What is drawn comes round again and may never name the one event whose turn it is: then all are tried in a row.
        let n = order.next().unwrap().index(waiting.len());
        let n = if in_vain < drawn { n } else { in_vain % waiting.len() };
        in_vain += 1;
        let event = arrived(waiting[n].0.json(), &first.rules);
        match third.engine.receive(&copy, event).await.unwrap() {
            Received::Missing(_) => {}
            _ => {
                waiting.remove(n);
                in_vain = 0;
            }
        }
    }

    let models =
        [compare(&peers[0], &rooms[0]).await, compare(&peers[1], &rooms[1]).await, compare(&third, &copy).await];
    for model in &models[1..] {
        // What came before an event does not depend on who asks.
        assert_eq!(model.before, models[0].before);
        assert_eq!(model.rejected, models[0].rejected);
    }
    let whole: Vec<&Model> = models.iter().filter(|model| model.soft_failed.is_empty()).collect();
    for pair in whole.windows(2) {
        assert_eq!((pair[0].state(&first), &pair[0].ends), (pair[1].state(&first), &pair[1].ends));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_room_in_any_order(
        version in version(),
        steps in proptest::collection::vec((any::<bool>(), any::<bool>(), action()), 1..40),
        order in proptest::collection::vec(any::<Index>(), 64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(version, steps, order));
    }
}
