//! Building, parsing and checking single events, compared with ruma's own functions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{
    ALICE, Room, VERSIONS, key,
    made::{any_content, any_event, made, message},
    rules,
};
use proptest::prelude::*;
use room::{
    Pdu, SigningKey,
    build::{BuildError, MAX_DEPTH, MAX_EVENT_BYTES},
    canonical::{JsonError, MAX_CONTENT_DEPTH, MAX_EVENT_DEPTH, parse_object, push_string},
    check::{CheckError, check_received, required_servers},
    redact::{redact, strip},
};
use ruma::{
    CanonicalJsonObject, EventId, MilliSecondsSinceUnixEpoch, UInt,
    events::TimelineEventType,
    signatures::{hash_and_sign_event, reference_hash},
};
use serde_json::{Value, json};

fn same(left: &Pdu, right: &Pdu) -> bool {
    // Content is compared as text: both must be canonical.
    format!("{left:?}") == format!("{right:?}")
}

fn public(key: &SigningKey) -> [u8; 32] {
    key.public_key()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The direct route gives exactly what ruma's route gives: bytes, hash, id; and all parsers agree on the outcome.
    #[test]
    fn building_equals_ruma(made in any_event()) {
        let signed = made.sign().unwrap();
        let printed: CanonicalJsonObject = serde_json::from_str(&signed.json).unwrap();
        let mut again = printed.clone();
        again.remove("hashes");
        again.remove("signatures");
        hash_and_sign_event("one.example", &key(), &mut again, &made.rules.redaction).unwrap();
        prop_assert_eq!(serde_json::to_string(&again).unwrap(), &*signed.json);
        prop_assert_eq!(&reference_hash(&printed, &made.rules).unwrap(), &signed.reference_hash);
        let id = signed.pdu.event_id.clone();
        prop_assert!(same(&Pdu::from_json(&signed.json, id.clone(), &made.rules).unwrap(), &signed.pdu));
        prop_assert!(same(&Pdu::from_object(&printed, id, &made.rules).unwrap(), &signed.pdu));
    }

    /// Our parser accepts exactly what ruma's does, and yields the same.
    #[test]
    fn parsing_equals_ruma(content in any_content()) {
        let text = content.to_string();
        let ours = parse_object(&text, MAX_CONTENT_DEPTH).unwrap();
        let theirs: CanonicalJsonObject = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn garbage_is_refused_without_panicking(text in any::<String>(), braces in "[\\[\\]{}:,\"0-9.eE-]{0,40}") {
        for text in [text, braces] {
            let theirs = serde_json::from_str::<CanonicalJsonObject>(&text);
            prop_assert_eq!(parse_object(&text, MAX_EVENT_DEPTH).ok(), theirs.ok());
        }
    }

    #[test]
    fn strings_print_as_serde_json_prints_them(text in prop_oneof![any::<String>(), "[\\x00-\\x7f]{0,30}"]) {
        let mut printed = String::new();
        push_string(&mut printed, &text);
        prop_assert_eq!(printed, serde_json::to_string(&text).unwrap());
    }

    /// What we build passes our own reception, and any change to the content is noticed.
    #[test]
    fn reception(made in any_event()) {
        let signed = made.sign().unwrap();
        let keys = |_: &_, id: &str, _| (id == "ed25519:test").then(|| public(&key()));
        let Ok(received) = check_received(&signed.json, &made.rules, keys) else {
            // A restricted join and a third-party invite need other signatures or none: those rules have tests of their own.
            prop_assert!(made.event_type == TimelineEventType::RoomMember);
            return Ok(());
        };
        prop_assert_eq!(&received.json, &signed.json);
        prop_assert!(!received.redacted && same(&received.pdu, &signed.pdu));
        prop_assert_eq!(&received.reference_hash, &signed.reference_hash);

        let mut forged: Value = serde_json::from_str(&signed.json).unwrap();
        forged["content"]["forged"] = json!(1);
        let whole = matches!(made.event_type, TimelineEventType::RoomCreate) && made.rules.redaction.keep_room_create_content;
        match check_received(&forged.to_string(), &made.rules, keys) {
            Ok(received) => {
                prop_assert!(!whole && received.redacted);
                prop_assert_eq!(&received.json, &redact(&signed.json, &made.rules).unwrap());
                prop_assert_eq!(&received.pdu.event_id, &signed.pdu.event_id);
            }
            Err(error) => prop_assert!(whole, "{error}"),
        }
    }
}

#[test]
fn what_is_not_canonical_is_named() {
    let error = |content: &str| match message(content) {
        Err(BuildError::Content(error)) => error,
        other => panic!("{content}: {other:?}"),
    };
    assert_eq!(error(r#"{"a":1.5}"#), JsonError::Float);
    assert_eq!(error(r#"{"a":1e3}"#), JsonError::Float);
    assert_eq!(error(r#"{"a":-0}"#), JsonError::Float);
    assert_eq!(error(r#"{"a":[9007199254740992]}"#), JsonError::IntegerOutOfRange);
    assert_eq!(error(r#"{"a":-9007199254740992}"#), JsonError::IntegerOutOfRange);
    assert_eq!(error(r#"{"a":18446744073709551615}"#), JsonError::IntegerOutOfRange);
    assert_eq!(error("[]"), JsonError::NotAnObject);
    assert_eq!(error("3"), JsonError::NotAnObject);
    for broken in ["", "{", "{} {}", r#"{"a":}"#, r#"{"a":"\ud800"}"#] {
        assert!(matches!(error(broken), JsonError::Syntax(_)), "{broken}");
    }
    assert!(message(r#"{"a":[-9007199254740991,9007199254740991]}"#).is_ok());
}

#[test]
fn nesting_is_bounded_exactly() {
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert!(message(&nested(MAX_CONTENT_DEPTH)).is_ok());
    let too_deep = BuildError::Content(JsonError::TooDeep(MAX_CONTENT_DEPTH));
    assert_eq!(message(&nested(MAX_CONTENT_DEPTH + 1)).unwrap_err(), too_deep);
    assert_eq!(message(&nested(60_000)).unwrap_err(), too_deep);
    // What we accept for building we accept from others.
    let signed = message(&nested(MAX_CONTENT_DEPTH)).unwrap();
    assert!(check_received(&signed.json, &rules("12"), |_, _, _| Some(public(&key()))).is_ok());
}

#[test]
fn size_is_bounded_exactly() {
    let base = message(r#"{"body":""}"#).unwrap().json.len();
    let body = |bytes: usize| format!(r#"{{"body":"{}"}}"#, "a".repeat(bytes));
    assert_eq!(message(&body(MAX_EVENT_BYTES - base)).unwrap().json.len(), MAX_EVENT_BYTES);
    let error = message(&body(MAX_EVENT_BYTES - base + 1)).unwrap_err();
    assert!(error.is_too_large() && error == BuildError::TooLarge(MAX_EVENT_BYTES + 1));
    // White space and escapes do not count: the canonical form does.
    let spaced = format!("{{{}\"body\":\"\\u0061\"}}", " ".repeat(MAX_EVENT_BYTES));
    assert_eq!(message(&spaced).unwrap().json.len(), base + 1);
    assert!(message(&body(10 * MAX_EVENT_BYTES)).unwrap_err().is_too_large());
}

#[test]
fn fields_are_bounded_exactly() {
    let mut event = made("10", &"t".repeat(255), "{}");
    event.state_key = Some("k".repeat(255));
    assert!(event.sign().is_ok());
    event.state_key = Some("k".repeat(256));
    assert_eq!(event.sign().unwrap_err(), BuildError::FieldTooLong { field: "state_key", bytes: 256 });
    let error = made("10", &"t".repeat(256), "{}").sign().unwrap_err();
    assert!(error.is_too_large() && error == BuildError::FieldTooLong { field: "type", bytes: 256 });
    let mut event = made("10", "m.x", "{}");
    event.depth = MAX_DEPTH + 1;
    assert_eq!(event.sign().unwrap_err(), BuildError::Depth);
    event.depth = 1;
    event.references = (0..11).map(|n| EventId::parse(format!("$r{n}")).unwrap()).collect();
    assert_eq!(event.sign().unwrap_err(), BuildError::TooManyReferences("auth_events"));
}

#[test]
fn what_is_too_long_in_bytes_alone_is_received_as_rejected() {
    let received = |field: &str, text: String| {
        let mut event = made("10", "m.x", "{}");
        event.state_key = Some("k".to_owned());
        let mut object: CanonicalJsonObject = serde_json::from_str(&event.sign().unwrap().json).unwrap();
        object.remove("hashes");
        object.remove("signatures");
        object.insert(field.to_owned(), ruma::CanonicalJsonValue::String(text.clone()));
        hash_and_sign_event("one.example", &key(), &mut object, &rules("10").redaction).unwrap();
        let json = serde_json::to_string(&object).unwrap();
        let received = check_received(&json, &rules("10"), |_, _, _| Some(public(&key())));
        received.map(|event| {
            assert!(event.json.contains(&text) && !event.redacted);
            event.pdu.rejected
        })
    };
    for field in ["type", "state_key"] {
        assert_eq!(received(field, "k".repeat(255)), Ok(false));
        assert_eq!(received(field, "é".repeat(127)), Ok(false));
        assert_eq!(received(field, "é".repeat(128)), Ok(true));
        assert_eq!(received(field, "💥".repeat(255)), Ok(true));
        assert!(matches!(received(field, "💥".repeat(256)), Err(CheckError::Format(_))), "{field}");
        assert!(matches!(received(field, "k".repeat(256)), Err(CheckError::Format(_))), "{field}");
    }
    assert!(matches!(received("sender", format!("@{}:one.example", "é".repeat(128))), Err(CheckError::Format(_))));
}

#[test]
fn the_first_versions_need_ids_and_hashes() {
    for version in ["1", "2"] {
        let mut event = made(version, "m.x", "{}");
        event.references = vec![EventId::parse("$before:one.example").unwrap()];
        assert_eq!(event.sign().unwrap_err(), BuildError::Legacy);
        event.hashes.insert(event.references[0].clone(), "aGFzaA".to_owned());
        let signed = event.sign().unwrap();
        let json: Value = serde_json::from_str(&signed.json).unwrap();
        assert_eq!(json["event_id"], "$own:one.example");
        assert_eq!(json["prev_events"], json!([["$before:one.example", {"sha256": "aGFzaA"}]]));
        assert_eq!(signed.pdu.prev_events, event.references);
        let elsewhere = EventId::parse("$other:one.example").unwrap();
        assert!(Pdu::from_json(&signed.json, elsewhere, &event.rules).is_err());
    }
}

#[test]
fn ids_have_the_alphabet_of_their_version() {
    // Over many events, both alphabets show their own characters.
    let ids = |version: &str| -> String {
        (0..64)
            .map(|n| made(version, "m.x", &format!("{{\"n\":{n}}}")).sign())
            .map(|signed| signed.unwrap().pdu.event_id.as_str()[1..].to_owned())
            .collect()
    };
    // (Redaction hides the content, but the hash of the content stays.)
    assert!(ids("3").contains(['+', '/']) && !ids("3").contains(['-', '_']));
    assert!(ids("4").contains(['-', '_']) && !ids("4").contains(['+', '/']));
}

#[test]
fn redactions_name_their_target_where_the_version_wants_it() {
    for version in VERSIONS {
        let mut event = made(version, "m.room.redaction", r#"{"reason":"r"}"#);
        let target = EventId::parse("$target:one.example").unwrap();
        event.redacts = Some(target.clone());
        let signed = event.sign().unwrap();
        assert_eq!(signed.pdu.redacts, Some(target));
        let json: Value = serde_json::from_str(&signed.json).unwrap();
        let modern = version.parse::<u8>().unwrap() >= 11;
        assert_eq!(json.get("redacts").is_some(), !modern);
        assert_eq!(json["content"].get("redacts").is_some(), modern);
        let redacted: Value = serde_json::from_str(&redact(&signed.json, &event.rules).unwrap()).unwrap();
        assert_eq!(redacted["content"].get("redacts").is_some(), modern, "kept in the content only");
    }
    // Not a redaction: nothing is redacted, whatever the content says.
    assert_eq!(message(r#"{"redacts":"$target"}"#).unwrap().pdu.redacts, None);
}

#[test]
fn a_stripped_redaction_goes_on_to_name_its_target() {
    let target = EventId::parse("$target:one.example").unwrap();
    for version in VERSIONS {
        for content in ["{}", r#"{"reason":"r"}"#] {
            let mut event = made(version, "m.room.redaction", content);
            event.redacts = Some(target.clone());
            let stripped = strip(&event.sign().unwrap().json, &event.rules).unwrap();
            assert!(!stripped.contains("reason"), "{stripped}");
            let received = check_received(&stripped, &event.rules, |_: &_, _: &str, _| Some(public(&key()))).unwrap();
            // Where nothing but the target was said, nothing is missing; in newer versions redaction itself keeps the target.
            let modern = version.parse::<u8>().unwrap() >= 11;
            assert_eq!(received.redacted, content != "{}", "version {version}");
            assert_eq!(received.pdu.redacts.is_some(), modern || content == "{}", "version {version}");
        }
    }
    let message = message(r#"{"redacts":"$target"}"#).unwrap();
    assert_eq!(strip(&message.json, &rules("12")), redact(&message.json, &rules("12")));
}

#[test]
fn version_12_names_the_room_after_its_create_event() {
    let signed = made("12", "m.room.create", r#"{"room_version":"12"}"#).sign().unwrap();
    assert_eq!(signed.pdu.wire_room_id, None);
    assert_eq!(signed.pdu.room_id.as_str()[1..], signed.pdu.event_id.as_str()[1..]);
    let parsed = Pdu::from_json(&signed.json, signed.pdu.event_id.clone(), &rules("12")).unwrap();
    assert_eq!(parsed.room_id, signed.pdu.room_id);
    let without_room = signed.json.replace("m.room.create", "m.room.message");
    assert!(Pdu::from_json(&without_room, signed.pdu.event_id, &rules("12")).is_err());
}

#[test]
fn reception_refuses_what_is_not_genuine() {
    let (mut room, tip) = Room::new("12", json!({"join_rule": "public"}));
    let signed = room
        .draft(std::slice::from_ref(&tip.event), &tip.state, ALICE, "m.x", None, &json!({"body": "hi"}), None)
        .unwrap();
    let keys = |_: &_, _: &str, _| Some(public(&key()));
    let check = |json: &str| check_received(json, &rules("12"), keys).map(|received| received.redacted);
    assert_eq!(check(&signed.json), Ok(false));
    assert_eq!(required_servers(&signed.json, &rules("12")).unwrap(), ["one.example"]);

    let unsigned = signed.json.replacen('{', r#"{"unsigned":{"age":3},"#, 1);
    assert_eq!(check_received(&unsigned, &rules("12"), keys).unwrap().json, signed.json, "unsigned is dropped");
    let moved = signed.json.replace(r#""depth":5"#, r#""depth":6"#);
    assert_ne!(moved, signed.json);
    assert!(matches!(check(&moved), Err(CheckError::Signature(_))));
    let other_key = |_: &_, _: &str, _| Some(public(&SigningKey::from_seed(&[8; 32], "test").unwrap()));
    assert!(matches!(check_received(&signed.json, &rules("12"), other_key), Err(CheckError::Signature(_))));
    assert!(matches!(check_received(&signed.json, &rules("12"), |_, _, _| None), Err(CheckError::Signature(_))));
    let padded = signed.json.replace("hi", &"x".repeat(MAX_EVENT_BYTES));
    assert!(check(&padded).is_err());
    assert!(matches!(check(&" ".repeat(3 * MAX_EVENT_BYTES)), Err(CheckError::TooLarge(_))));
    assert!(matches!(check(r#"{"a":1.5}"#), Err(CheckError::Json(JsonError::Float))));
    for field in ["sender", "room_id", "type", "depth", "prev_events", "auth_events", "origin_server_ts", "content"] {
        let mut lacking: Value = serde_json::from_str(&signed.json).unwrap();
        lacking.as_object_mut().unwrap().remove(field);
        assert!(check(&lacking.to_string()).is_err(), "{field}");
    }
}

#[test]
fn keys_are_asked_for_the_time_where_the_version_says_so() {
    for version in VERSIONS {
        let signed = made(version, "m.x", "{}").sign().unwrap();
        let asked = std::cell::Cell::new(None);
        let lookup = |_: &_, _: &str, at| {
            asked.set(Some(at));
            Some(public(&key()))
        };
        check_received(&signed.json, &rules(version), lookup).unwrap();
        let expected = (version.parse::<u8>().unwrap() >= 5).then(|| MilliSecondsSinceUnixEpoch(UInt::new(1).unwrap()));
        assert_eq!(asked.get(), Some(expected), "version {version}");
    }
}

#[test]
fn signing_keys() {
    assert!(SigningKey::from_seed(&[1; 32], "a_Z9").is_ok());
    for version in ["", "a b", "ä", "a:b"] {
        assert!(SigningKey::from_seed(&[1; 32], version).is_err(), "{version}");
    }
    // RFC 8032, section 7.1, test 1.
    let seed = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
        0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];
    assert_eq!(SigningKey::from_seed(&seed, "x").unwrap().public_key()[..4], [0xd7, 0x5a, 0x98, 0x01]);
}
