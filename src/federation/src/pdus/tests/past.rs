//! What a gap's far side may not do: history from before a server entered, and copies that say less than there is.

use std::time::Duration;

use ruma::{EventId, OwnedRoomId, OwnedUserId, RoomVersionId};
use serde_json::{Map, json};

use super::raw;
use crate::{
    pdus::gap::Gap,
    remote::RemoteJoin,
    testing::{TestServer, World, WorldOptions},
};

/// Ann's room on `one`, which Ben of `two` entered; nothing is told by itself.
struct Entered {
    world: World,
    room: OwnedRoomId,
    ann: OwnedUserId,
    ben: OwnedUserId,
}

impl Entered {
    async fn new() -> Self {
        let options = WorldOptions { outbox: false, ..WorldOptions::default() };
        let world = World::with(&["one", "two"], &options);
        let ann = world.server("one").register("ann").await;
        let ben = world.server("two").register("ben").await;
        let room = world.server("one").create_room(&ann, RoomVersionId::V11).await;
        for nth in 0..10 {
            world.server("one").say(&room, &ann, &format!("before {nth}")).await;
        }
        let entered = Self { world, room, ann, ben };
        entered.enter().await;
        let room = entered.two().room(&entered.room).await;
        entered.two().engine().whole(&room, Duration::from_secs(60)).await.unwrap();
        entered
    }

    async fn enter(&self) {
        let join = RemoteJoin {
            user_id: self.ben.clone(),
            room_id: self.room.clone(),
            via: vec!["one".try_into().unwrap()],
            content: Map::new(),
            elsewhere: false,
        };
        self.two().federation().join(join).await.unwrap();
    }

    fn one(&self) -> &TestServer {
        self.world.server("one")
    }

    fn two(&self) -> &TestServer {
        self.world.server("two")
    }

    /// One server tells the other of an event.
    async fn tell(&self, from: &TestServer, to: &TestServer, id: &EventId) {
        let rows = from.rows(&self.room).await;
        let row = rows.iter().find(|row| row.event_id() == id.as_str()).unwrap();
        let room = to.room(&self.room).await;
        let event = raw(&serde_json::from_str(row.json()).unwrap());
        let event = to.federation().check_pdu(&event, &room.rules).await.unwrap();
        let _ = to.federation().receive_pdu(&from.name, &room, event).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn history_from_before_a_server_entered_does_not_throw_it_out() {
    let pair = Entered::new().await;
    let (one, two, room) = (pair.one(), pair.two(), &pair.room);
    let told = two.say(room, &pair.ben, "told").await;
    let untold = two.say(room, &pair.ben, "untold").await;
    let aside = one.say(room, &pair.ann, "aside").await;
    pair.tell(one, two, &aside).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    // Nobody could enter now, so no state in which Ben is missing may meet the one in which he is there.
    one.set(room, &pair.ann, "m.room.join_rules", "", json!({"join_rule": "invite"})).await.unwrap();
    let meanwhile = one.say(room, &pair.ann, "meanwhile").await;
    pair.tell(two, one, &told).await;
    let last = one.say(room, &pair.ann, "last").await;
    // Back from here `one` goes past the events that both have to the room's beginning.
    pair.tell(one, two, &last).await;

    assert!(!two.room(room).await.info().local_members.is_empty(), "Ben is still there");
    let rows = two.rows(room).await;
    let part = |id: &EventId| rows.iter().any(|row| row.event_id() == id.as_str() && row.in_room());
    assert!(part(&meanwhile) && part(&last) && part(&untold));
    assert!(!two.texts(room).await.iter().any(|text| text.starts_with("before")), "nobody asked for it");
    assert_eq!(two.extremities(room).await, [untold.to_string(), last.to_string()].into());
    assert_eq!(two.content(room, "m.room.join_rules", "").await["join_rule"], "invite");
    let (here, there) = (two.state(room).await, one.state(room).await);
    assert_eq!(here, there);
}

#[tokio::test(start_paused = true)]
async fn a_state_put_together_from_single_events_is_whole() {
    let pair = Entered::new().await;
    let (one, two, room) = (pair.one(), pair.two(), &pair.room);
    // What was before this server's user came is stripped where it is asked for alone.
    let joined = json!({"history_visibility": "joined"});
    let joined = one.set(room, &pair.ann, "m.room.history_visibility", "", joined).await.unwrap();
    pair.tell(one, two, &joined).await;
    let left = two.member(room, &pair.ben, &pair.ben, "leave").await.unwrap();
    pair.tell(two, one, &left).await;
    let topic = |text: &'static str| one.set(room, &pair.ann, "m.room.topic", "", json!({"topic": text}));
    let meanwhile = topic("meanwhile").await.unwrap();
    let said = one.say(room, &pair.ann, "said").await;
    topic("later").await.unwrap();
    pair.enter().await;

    let (federation, known) = (two.federation(), two.room(room).await);
    let gap = Gap::new(&federation, &known, &one.name, 60_000).await.unwrap();
    let (state, absent) = gap.gather_state(&said).await.unwrap();
    assert_eq!((state.contains(&meanwhile), absent.len()), (true, 0));
    let rows = two.rows(room).await;
    let topic = rows.iter().find(|row| row.event_id() == meanwhile.as_str()).unwrap();
    assert!(topic.outlier() && topic.content().contains("meanwhile"), "{}", topic.json());
}
