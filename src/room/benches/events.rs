//! What one event costs: `cargo bench -p room`. Prints microseconds per operation: the fastest of many short
//! rounds, which other work on the machine disturbs least, and the median.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{hint::black_box, time::Instant};

use room::{
    Pdu, RoomVersionRules, SigningKey,
    auth::check_dependent,
    build::{EventDraft, SignedEvent, sign},
    check::check_received,
    fast::RoomAuthView,
};
use ruma::{
    CanonicalJsonObject, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, RoomVersionId, UInt, UserId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
    server_name,
    signatures::{KeyPair as _, hash_and_sign_event, reference_hash},
};

fn measure(what: &str, mut operation: impl FnMut()) {
    const ROUNDS: usize = 400;
    const PER_ROUND: u32 = 50;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..PER_ROUND {
                operation();
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(PER_ROUND)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{what:<50} {:>8.2} µs {:>8.2} µs", rounds[0], rounds[ROUNDS / 2]);
}

struct Bench {
    rules: RoomVersionRules,
    key: SigningKey,
    prev: Vec<OwnedEventId>,
    auth: Vec<OwnedEventId>,
}

impl Bench {
    fn sign(&self, event_type: &str, state_key: Option<&str>, content: &str) -> SignedEvent {
        let draft = EventDraft {
            room_id: Some(<&RoomId>::try_from("!n8f893n9:example.com").unwrap()),
            sender: <&UserId>::try_from("@alice:example.com").unwrap(),
            event_type: &TimelineEventType::from(event_type),
            state_key,
            content,
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::new(1_700_000_000_000).unwrap()),
            depth: 1234,
            prev_events: &self.prev,
            auth_events: &self.auth,
            redacts: None,
            legacy: None,
        };
        sign(&draft, &self.rules, server_name!("example.com"), &self.key).unwrap()
    }
}

fn main() {
    let id = |n: u8| EventId::parse(format!("${}", char::from(n).to_string().repeat(43))).unwrap();
    let bench = Bench {
        rules: RoomVersionId::V11.rules().unwrap(),
        key: SigningKey::from_seed(&[7; 32], "1").unwrap(),
        prev: vec![id(b'a')],
        auth: vec![id(b'b'), id(b'c'), id(b'd')],
    };
    let message = r#"{"msgtype":"m.text","body":"Dinner was 84.00, I paid","m.mentions":{}}"#;
    let long = format!(r#"{{"msgtype":"m.text","body":"{}"}}"#, "word ".repeat(2_000));

    let signed = bench.sign("m.room.message", None, message);
    println!("a message of {} bytes as an event\n", signed.json.len());
    let public_key = bench.key.public_key();
    measure("ed25519 signature alone", || drop(black_box(bench.key.sign(&signed.json.as_bytes()[..400]))));
    measure("parse content, hash, sign, print: message", || {
        black_box(bench.sign("m.room.message", None, black_box(message)));
    });
    measure("parse content, hash, sign, print: 10 kB message", || {
        black_box(bench.sign("m.room.message", None, black_box(&long)));
    });
    let member = r#"{"membership":"join","displayname":"Alice"}"#;
    measure("parse content, hash, sign, print: membership", || {
        black_box(bench.sign("m.room.member", Some("@alice:example.com"), black_box(member)));
    });
    measure("the same message through ruma", || {
        let mut object: CanonicalJsonObject = serde_json::from_str(black_box(&signed.json)).unwrap();
        object.remove("hashes");
        object.remove("signatures");
        hash_and_sign_event("example.com", &bench.key, &mut object, &bench.rules.redaction).unwrap();
        black_box((reference_hash(&object, &bench.rules).unwrap(), serde_json::to_string(&object).unwrap()));
    });
    measure("parse a stored event", || {
        black_box(Pdu::from_json(black_box(&signed.json), signed.pdu.event_id.clone(), &bench.rules).unwrap());
    });
    measure("check a received event", || {
        black_box(check_received(black_box(&signed.json), &bench.rules, |_, _, _| Some(public_key)).unwrap());
    });

    let create = bench.sign("m.room.create", Some(""), r#"{"room_version":"11"}"#).pdu;
    let users: Vec<String> = (0..20).map(|n| format!("\"@user{n}:example.com\":50")).collect();
    let levels =
        format!(r#"{{"users":{{"@alice:example.com":100,{}}},"events":{{"m.room.name":50}}}}"#, users.join(","));
    let levels = bench.sign("m.room.power_levels", Some(""), &levels).pdu;
    let member = bench.sign("m.room.member", Some("@alice:example.com"), member).pdu;
    let view = RoomAuthView::new(&bench.rules.authorization, &create, Some(&levels), None, None);
    measure("authorise a message: parsed view", || {
        let verdict = view.can_send_message_like(&signed.pdu.sender, &MembershipState::Join, &signed.pdu.event_type);
        black_box(verdict).unwrap();
    });
    measure("authorise a message: full check", || {
        let state = |kind: &StateEventType, _: &str| match kind {
            StateEventType::RoomCreate => Some(&create),
            StateEventType::RoomPowerLevels => Some(&levels),
            _ => Some(&member),
        };
        check_dependent(&bench.rules.authorization, &signed.pdu, state).unwrap();
    });
    measure("parse the view", || {
        black_box(RoomAuthView::new(&bench.rules.authorization, &create, Some(&levels), None, None));
    });
}
