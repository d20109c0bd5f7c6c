//! Two whole servers: what one sends the other takes.

use std::{sync::Arc, time::Duration};

use engine::{NewReceipt, Received, Room};
use room::{Pdu, check::ReceivedEvent};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, presence::PresenceState};

use crate::{
    outbox::catch_up::ALL_SENT,
    testing::{TestServer, World},
};

struct Two {
    world: World,
    room: OwnedRoomId,
    ann: OwnedUserId,
    bob: OwnedUserId,
}

impl Two {
    /// A room of Ann's on one, with Bob on two.
    async fn new() -> Self {
        let world = World::new(&["one", "two"]);
        let (ann, bob) = (world.server("one").register("ann").await, world.server("two").register("bob").await);
        let one = world.server("one");
        let room = one.create_room(&ann, RoomVersionId::V11).await;
        one.member(&room, &bob, &bob, "join").await.unwrap();
        let two = Self { world, room, ann, bob };
        two.copy().await;
        two
    }

    fn one(&self) -> &Arc<TestServer> {
        self.world.server("one")
    }

    fn two(&self) -> &Arc<TestServer> {
        self.world.server("two")
    }

    /// Gives the second server what the first has, past everything that checks it.
    async fn copy(&self) {
        let rules = self.one().room(&self.room).await.rules.clone();
        let mut known: Option<Arc<Room>> = None;
        for row in self.one().rows(&self.room).await {
            let pdu = Pdu::from_json(row.json(), OwnedEventId::try_from(row.event_id()).unwrap(), &rules).unwrap();
            let json = row.json().to_owned();
            let event = ReceivedEvent { json, pdu, redacted: false, reference_hash: String::new() };
            match &known {
                None => known = Some(self.two().engine().receive_create(event).await.unwrap()),
                Some(room) => {
                    let received = self.two().engine().receive(room, event).await.unwrap();
                    assert!(!matches!(received, Received::Missing(_)), "{received:?}");
                }
            }
        }
    }

    async fn same(&self) -> bool {
        self.one().accepted(&self.room).await == self.two().accepted(&self.room).await
    }

    /// Until both have the same events.
    async fn agree(&self) {
        for _ in 0..600 {
            if self.same().await {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let (one, two) = (self.one().accepted(&self.room).await.len(), self.two().accepted(&self.room).await.len());
        panic!("{one} events here, {two} there: {:?}", self.one().federation().outbox.stats());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_typed_and_read_arrives() {
    let two = Two::new().await;
    let said = two.one().say(&two.room, &two.ann, "hello").await;
    two.agree().await;
    two.two().say(&two.room, &two.bob, "hello yourself").await;
    two.agree().await;
    assert_eq!(two.one().texts(&two.room).await, ["hello", "hello yourself"]);

    let (here, there) = (two.one().engine(), two.two().engine());
    let (room, far) = (two.one().room(&two.room).await, two.two().room(&two.room).await);
    let (ann, ann_there) = (here.user_num(&two.ann).await.unwrap(), there.user_num(&two.ann).await.unwrap());
    here.typing.set(room.num, ann, 30_000);
    let new = NewReceipt {
        user: ann,
        user_id: two.ann.as_str(),
        kind: "m.read",
        thread: "",
        event_id: said.as_str(),
        ts: None,
    };
    assert!(here.set_receipt(&room, new).await.unwrap());
    two.one().users().presence.set(ann, PresenceState::Online, Some("about")).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(there.typing.changed(far.num, None), Some(vec![ann_there]));
    let receipt = there.receipt(far.num, ann_there, "m.read", "").await.unwrap().unwrap();
    assert_eq!(receipt.event_id, said.as_str());
    let presence = two.two().users().presence.get(ann_there).unwrap();
    assert_eq!((presence.state, presence.status_msg.as_deref()), (PresenceState::Online, Some("about")));
    // It is not sent back and forth.
    let sent = two.two().federation().outbox.stats().edus;
    assert_eq!(sent, 0);
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_both_have_everything() {
    let two = Two::new().await;
    two.one().say(&two.room, &two.ann, "before").await;
    two.agree().await;
    two.world.cut("one", "two");
    for n in 0..ALL_SENT / 2 {
        two.one().say(&two.room, &two.ann, &format!("one {n}")).await;
        two.two().say(&two.room, &two.bob, &format!("two {n}")).await;
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!two.same().await);
    two.world.heal("one", "two");
    // Whoever is tried first, the other hears of it.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    two.agree().await;
    assert_eq!(two.one().extremities(&two.room).await, two.two().extremities(&two.room).await);
    assert_eq!(two.one().texts(&two.room).await.len(), ALL_SENT / 2 * 2 + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_is_asked_for() {
    let two = Two::new().await;
    two.world.cut("one", "two");
    for n in 0..3 * ALL_SENT {
        two.one().say(&two.room, &two.ann, &n.to_string()).await;
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    two.world.heal("one", "two");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    two.agree().await;
    assert!(two.one().federation().outbox.stats().dropped > 0);
}
