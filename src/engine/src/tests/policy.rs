//! Rooms with a policy server: what it signs is sent and shown, and nothing else.

use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use room::{SigningKey, cosign::cosign, policy::KEY_ID};
use ruma::{OwnedEventId, RoomVersionId, ServerName, serde::Base64};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    new_event,
    peer::{ALICE, BOB, Peer, assert_same, verdict},
};
use crate::{EngineError, PolicyRefusal, PolicyServers, Room, TxnKey, Verdict};

const VERSIONS: [RoomVersionId; 3] = [RoomVersionId::V2, RoomVersionId::V10, RoomVersionId::V12];

/// The policy server of `two`: it signs everything but spam.
struct Signer {
    key: SigningKey,
    version: RoomVersionId,
    asked: Mutex<Vec<Value>>,
    /// If set, it thinks until this is notified, and tells that it does.
    thinks: Mutex<Option<(Arc<Notify>, Arc<Notify>)>>,
}

fn encoded(key: [u8; 32]) -> String {
    Base64::<ruma::serde::base64::Standard>::new(key.to_vec()).encode()
}

fn refusal() -> PolicyRefusal {
    PolicyRefusal { status: 400, errcode: "M_FORBIDDEN".to_owned(), error: "This is spam".to_owned() }
}

impl Signer {
    fn new(version: &RoomVersionId) -> Arc<Self> {
        let key = SigningKey::from_seed(&[9; 32], "policy_server").unwrap();
        Arc::new(Self { key, version: version.clone(), asked: Mutex::default(), thinks: Mutex::default() })
    }

    fn policy(&self, via: &str) -> Value {
        json!({"via": via, "public_keys": {"ed25519": encoded(self.key.public_key())}})
    }

    fn signature(&self, server: &ServerName, event: &str) -> String {
        let signed = cosign(event, &self.version.rules().unwrap(), server, &self.key).unwrap();
        let signed: Value = serde_json::from_str(&signed).unwrap();
        signed["signatures"][server.as_str()][KEY_ID].as_str().unwrap().to_owned()
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock()).len()
    }
}

impl PolicyServers for Signer {
    fn sign<'a>(&'a self, server: &'a ServerName, event: &'a str) -> BoxFuture<'a, Result<String, PolicyRefusal>> {
        Box::pin(async move {
            let json: Value = serde_json::from_str(event).unwrap();
            self.asked.lock().push(json.clone());
            let thinks = self.thinks.lock().clone();
            if let Some((begun, done)) = thinks {
                begun.notify_one();
                done.notified().await;
            }
            if json["content"]["body"] == "spam" { Err(refusal()) } else { Ok(self.signature(server, event)) }
        })
    }
}

struct World {
    one: Peer,
    two: Peer,
    room: Arc<Room>,
    copy: Arc<Room>,
    signer: Arc<Signer>,
}

impl World {
    /// A room on two servers. The policy server is at the second, which asks it as the first does.
    async fn new(version: &RoomVersionId) -> Self {
        let (one, two) = (Peer::new("one"), Peer::new("two"));
        let signer = Signer::new(version);
        for peer in [&one, &two] {
            peer.engine.ask_policies(Arc::clone(&signer) as _);
        }
        let room = one.create(version).await;
        let copy = two.join(&one, &room).await;
        let joined = two.member(&copy, BOB, BOB, "join").await;
        assert_eq!(verdict(&two.give(&copy, &joined, (&one, &room)).await), Verdict::Accepted);
        let world = Self { one, two, room, copy, signer };
        world.choose(&world.signer.policy("two")).await;
        assert_eq!(world.signer.asked(), 0);
        world
    }

    /// Sets the policy, which comes in everywhere without being signed.
    async fn choose(&self, policy: &Value) {
        let set = self.one.send(&self.room, ALICE, "m.room.policy", Some(""), policy.clone()).await.unwrap();
        assert_eq!(self.give(&set).await, Verdict::Accepted);
    }

    async fn give(&self, id: &OwnedEventId) -> Verdict {
        verdict(&self.one.give(&self.room, id, (&self.two, &self.copy)).await)
    }

    async fn alice(&self, body: &str) -> Result<OwnedEventId, EngineError> {
        self.one.send(&self.room, ALICE, "m.room.message", None, json!({"body": body})).await
    }
}

#[tokio::test]
async fn what_the_policy_server_signs_is_sent_and_the_rest_is_not() {
    for version in VERSIONS {
        let world = World::new(&version).await;
        let World { one, two, room, copy, signer } = &world;
        let sent = world.alice("hello").await.unwrap();
        assert_eq!(signer.asked(), 1);
        let row = one.row(room, &sent).await;
        let json: Value = serde_json::from_str(row.json()).unwrap();
        assert!(json["signatures"]["two"][KEY_ID].is_string() && json["signatures"]["one"]["ed25519:k1"].is_string());
        // Whoever gets it has nothing to ask.
        assert_eq!((world.give(&sent).await, signer.asked()), (Verdict::Accepted, 0));
        let ends = one.ends(room).await;
        let refused = world.alice("spam").await.unwrap_err();
        assert!(matches!(refused, EngineError::Policy(why) if why == refusal()), "{version}");
        assert_eq!(one.ends(room).await, ends);
        // State, and events whose sender lives where the policy server is, are asked about as well.
        signer.asked();
        let topic = one.topic(room, ALICE, "topic").await;
        assert_eq!(world.give(&topic).await, Verdict::Accepted);
        let said = two.say(copy, BOB, "hi").await;
        assert_eq!(verdict(&two.give(copy, &said, (one, room)).await), Verdict::Accepted);
        assert_eq!(signer.asked(), 2);
        assert_same((one, room), (two, copy)).await;
    }
}

#[tokio::test]
async fn what_others_send_unsigned_is_asked_about_and_not_shown_without() {
    for version in VERSIONS {
        let world = World::new(&version).await;
        let World { one, two, room, copy, signer } = &world;
        let before = world.alice("start").await.unwrap();
        world.give(&before).await;
        signer.asked();
        let forge = async |body: &str| {
            two.forge(copy, &[&before], (BOB, "m.room.message", None), json!({"body": body}), None).await
        };
        let (good, bad) = (forge("hi").await, forge("spam").await);
        assert_eq!(verdict(&one.engine.receive(room, good.clone()).await.unwrap()), Verdict::Accepted);
        let row = one.row(room, &good.pdu.event_id).await;
        assert!(serde_json::from_str::<Value>(row.json()).unwrap()["signatures"]["two"][KEY_ID].is_string());
        assert_eq!(verdict(&one.engine.receive(room, bad.clone()).await.unwrap()), Verdict::SoftFailed);
        assert!(!one.ends(room).await.contains(&bad.pdu.event_id));
        assert_eq!(signer.asked(), 2);
        // It was judged once.
        assert!(matches!(one.engine.receive(room, bad).await.unwrap(), crate::Received::Known(_)));
        assert_eq!(signer.asked(), 0);
        one.assert_sound(room).await;
    }
}

#[tokio::test]
async fn a_room_asks_nobody_who_is_not_in_it_or_whom_it_did_not_choose_properly() {
    let world = World::new(&RoomVersionId::V11).await;
    let World { room, signer, .. } = &world;
    for policy in [signer.policy("three"), json!({}), json!({"via": "two"})] {
        world.choose(&policy).await;
        let sent = world.alice("spam").await.unwrap();
        assert_eq!(world.give(&sent).await, Verdict::Accepted);
    }
    assert_eq!(signer.asked(), 0);
    // Another key than the one it signs with: nothing goes, but for another choice.
    let mut other = signer.policy("two");
    other["public_keys"]["ed25519"] = json!(encoded([1; 32]));
    world.choose(&other).await;
    assert!(matches!(world.alice("hello").await, Err(EngineError::Policy(why)) if why.status == 502));
    world.choose(&signer.policy("two")).await;
    world.alice("hello").await.unwrap();
    // The choice outlives a restart.
    let id = room.id.clone();
    let one = world.one.restarted();
    let room = one.engine.room(&id).await.unwrap();
    assert!(room.info().policy.is_some());
    let unasked = one.send(&room, ALICE, "m.room.message", None, json!({"body": "hello"})).await;
    assert!(matches!(unasked, Err(EngineError::Policy(_))));
}

#[tokio::test]
async fn the_room_goes_on_while_the_policy_server_thinks() {
    let world = World::new(&RoomVersionId::V12).await;
    let World { one, room, signer, .. } = &world;
    let (begun, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    *signer.thinks.lock() = Some((Arc::clone(&begun), Arc::clone(&done)));
    let meanwhile = async {
        begun.notified().await;
        // Not asked about, so it does not wait.
        world.choose(&signer.policy("two")).await;
        done.notify_one();
    };
    let (sent, ()) = futures::join!(world.alice("slow"), meanwhile);
    let sent = sent.unwrap();
    assert!(one.ends(room).await.contains(&sent));
    assert_eq!(one.ends(room).await.len(), 2);
    *signer.thinks.lock() = None;
    // The next event joins the branches.
    let next = world.alice("next").await.unwrap();
    assert_eq!(one.ends(room).await, [next].into());
    one.assert_sound(room).await;
}

#[tokio::test]
async fn what_belongs_together_comes_in_together_or_not_at_all() {
    let world = World::new(&RoomVersionId::V11).await;
    let World { one, room, signer, .. } = &world;
    let alice = ALICE.try_into().unwrap();
    let num = one.engine.user_num(alice).await.unwrap();
    let send = async |txn: &str, second: &str| {
        let txn = TxnKey { user: num, device: "D", path: txn };
        let mut writer = one.engine.write(room).await?;
        if let Some(before) = writer.sent_before(&txn).await? {
            return Ok(before);
        }
        let first = writer.append(new_event(alice, num, "m.room.message", None, r#"{"body":"one"}"#, None)).await?;
        let second = json!({"body": second}).to_string();
        writer.append(new_event(alice, num, "m.room.message", None, &second, None)).await?;
        writer.record_transaction(&txn, &first.event_id);
        writer.commit().await?;
        Ok::<_, EngineError>(first.event_id)
    };
    let count = async || one.log(room).await.len();
    let before = count().await;
    assert!(matches!(send("a", "spam").await, Err(EngineError::Policy(_))));
    assert_eq!(count().await, before);
    let sent = send("a", "two").await.unwrap();
    assert_eq!(count().await, before + 2);
    assert_eq!(send("a", "two").await.unwrap(), sent);
    assert_eq!(one.engine.sent_with(&TxnKey { user: num, device: "D", path: "a" }).await.unwrap(), Some(sent));
    assert_eq!(count().await, before + 2);
    assert_eq!(signer.asked(), 4);
    one.assert_sound(room).await;
}
