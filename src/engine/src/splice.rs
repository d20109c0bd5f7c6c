//! From a stored event to what a client gets, by copying ranges: no event is parsed whole to be shown.

use std::{fmt::Write as _, ops::Range};

use crate::row::{EventRow, Fields};

/// The places of the fields in a canonical event, or `None` where it is no JSON object.
pub fn find_fields(json: &str) -> Option<Fields> {
    let mut fields = Fields::default();
    let mut found = 0u8;
    for (key, value) in TopLevel::new(json)? {
        match key {
            "content" => {
                fields.content = value;
                found |= 1;
            }
            "type" => {
                fields.event_type = value;
                found |= 2;
            }
            "sender" => {
                fields.sender = value;
                found |= 4;
            }
            "state_key" => fields.state_key = Some(value),
            _ => {}
        }
    }
    (found == 7).then_some(fields)
}

/// Walks the fields of a JSON object that is known to be valid, without looking into values.
pub(crate) struct TopLevel<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> TopLevel<'a> {
    pub(crate) fn new(json: &'a str) -> Option<Self> {
        let at = skip_space(json.as_bytes(), 0);
        (json.as_bytes().get(at) == Some(&b'{')).then_some(Self { json, at: at + 1 })
    }
}

impl<'a> Iterator for TopLevel<'a> {
    type Item = (&'a str, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.json.as_bytes();
        let mut at = skip_space(bytes, self.at);
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        let key_end = skip_string(bytes, at)?;
        let key = self.json.get(at + 1..key_end - 1)?;
        at = skip_space(bytes, key_end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        let start = skip_space(bytes, at + 1);
        let end = skip_value(bytes, start)?;
        self.at = end;
        Some((key, start..end))
    }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// The index behind the string that starts at `at`.
fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The index behind the value that starts at `at`.
fn skip_value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = skip_string(bytes, at)?;
                if depth == 0 {
                    return Some(at);
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                if depth == 0 {
                    return Some(at);
                }
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b',' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
}

/// Which shape of event a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With `room_id`: everywhere but in `/sync`.
    WithRoomId,
    /// Without: the room is said outside.
    WithoutRoomId,
}

/// What a particular reader gets to know beside the event itself.
#[derive(Debug, Clone, Default)]
pub struct Unsigned {
    /// Now, milliseconds: for `age`.
    pub now: u64,
    /// The reader's device sent it: give `transaction_id`.
    pub own_device: bool,
    /// The reader sent it, later than it was asked for: give the id under which it waited.
    pub own_delayed: bool,
    /// The reader's membership at the event.
    pub membership: Option<&'static str>,
    /// `m.relations`, as JSON.
    pub relations: Option<String>,
    /// The redaction that emptied it, as a client event.
    pub redacted_because: Option<String>,
    /// `invite_room_state`, as JSON.
    pub invite_state: Option<String>,
}

/// Appends an event as clients see it.
pub fn write_client_event(
    out: &mut String,
    row: &EventRow,
    room_id: &str,
    format: Format,
    unsigned: &Unsigned,
    replaced: Option<&EventRow>,
) {
    out.reserve(row.json().len() + 256);
    out.push_str("{\"content\":");
    let redacts = (row.type_json() == "\"m.room.redaction\"").then(|| redacts_of(row)).flatten();
    match &redacts {
        // Rooms before version 11 say it at the top level, later ones in the content: give both.
        Some((id, false)) => write_content_with_redacts(out, row.content(), id),
        _ => out.push_str(row.content()),
    }
    out.push_str(",\"event_id\":");
    push_json_string(out, row.event_id());
    let _ = write!(out, ",\"origin_server_ts\":{}", row.origin_server_ts());
    if let Some((id, _)) = &redacts {
        out.push_str(",\"redacts\":");
        push_json_string(out, id);
    }
    if format == Format::WithRoomId {
        out.push_str(",\"room_id\":");
        push_json_string(out, room_id);
    }
    out.push_str(",\"sender\":");
    out.push_str(row.sender_json());
    if let Some(state_key) = row.state_key_json() {
        out.push_str(",\"state_key\":");
        out.push_str(state_key);
    }
    out.push_str(",\"type\":");
    out.push_str(row.type_json());
    write_unsigned(out, row, unsigned, replaced);
    out.push('}');
}

fn write_unsigned(out: &mut String, row: &EventRow, unsigned: &Unsigned, replaced: Option<&EventRow>) {
    let age = i128::from(unsigned.now) - i128::from(row.origin_server_ts());
    let _ = write!(out, ",\"unsigned\":{{\"age\":{age}");
    if let Some(membership) = unsigned.membership {
        let _ = write!(out, ",\"membership\":\"{membership}\"");
    }
    if let Some(replaced) = replaced {
        out.push_str(",\"prev_content\":");
        out.push_str(replaced.content());
        out.push_str(",\"prev_sender\":");
        out.push_str(replaced.sender_json());
        out.push_str(",\"replaces_state\":");
        push_json_string(out, replaced.event_id());
    }
    if let Some(relations) = &unsigned.relations {
        out.push_str(",\"m.relations\":");
        out.push_str(relations);
    }
    if let Some(because) = &unsigned.redacted_because {
        out.push_str(",\"redacted_because\":");
        out.push_str(because);
    }
    if let Some(state) = &unsigned.invite_state {
        out.push_str(",\"invite_room_state\":");
        out.push_str(state);
    }
    if unsigned.own_delayed {
        out.push_str(",\"org.matrix.msc4140.delay_id\":");
        push_json_string(out, row.txn_id());
    } else if unsigned.own_device && !row.txn_id().is_empty() {
        out.push_str(",\"transaction_id\":");
        push_json_string(out, row.txn_id());
    }
    out.push('}');
}

/// Appends a stripped state event: what invited and knocking users get to see.
/// [Stripped state](https://spec.matrix.org/v1.19/client-server-api/#stripped-state).
pub fn write_stripped(out: &mut String, row: &EventRow) {
    out.push_str("{\"content\":");
    out.push_str(row.content());
    out.push_str(",\"sender\":");
    out.push_str(row.sender_json());
    out.push_str(",\"state_key\":");
    out.push_str(row.state_key_json().unwrap_or("\"\""));
    out.push_str(",\"type\":");
    out.push_str(row.type_json());
    out.push('}');
}

/// The target of a redaction, and whether the content says it.
pub fn redacts_of(row: &EventRow) -> Option<(String, bool)> {
    let of = |json: &str| -> Option<String> {
        let (_, range) = TopLevel::new(json)?.find(|(key, _)| *key == "redacts")?;
        serde_json::from_str(json.get(range)?).ok()
    };
    of(row.content()).map(|id| (id, true)).or_else(|| of(row.json()).map(|id| (id, false)))
}

fn write_content_with_redacts(out: &mut String, content: &str, id: &str) {
    let inner = content.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    out.push_str("{\"redacts\":");
    push_json_string(out, id);
    if !inner.trim().is_empty() {
        out.push(',');
        out.push_str(inner);
    }
    out.push('}');
}

/// Appends a string as JSON.
pub fn push_json_string(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        row::{EventMeta, StateFrom, Verdict, Visibility},
        state_tree::NodeId,
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use store::Value as _;

    fn meta() -> EventMeta {
        EventMeta {
            verdict: Verdict::Accepted,
            outlier: false,
            partial_state: false,
            state_from: StateFrom::Graph,
            visibility: Visibility::Shared,
            pos: 7,
            depth: 3,
            arrival: -2,
            sender: 9,
            origin_server_ts: 1000,
            state_before: NodeId([5; 16]),
            replaces: 0,
            event_id: "$abc".to_owned(),
            device: "DEV".to_owned(),
            txn_id: "t\"1".to_owned(),
            redacted_by: String::new(),
            relation: Some(("m.thread".to_owned(), "$root".to_owned())),
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,8}", inner, 0..5).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        /// The splice says what parsing and building again says.
        #[test]
        fn splice_equals_parse_and_build(
            content in prop::collection::btree_map(".{0,8}", any_json(), 0..6),
            state_key in prop::option::of(".{0,10}"),
            kind in "[a-z.\\\\\"]{1,20}",
        ) {
            let mut event = json!({
                "auth_events": [], "content": content, "depth": 3, "hashes": {"sha256": "x"}, "origin_server_ts": 1000,
                "prev_events": ["$p"], "room_id": "!r:x", "sender": "@a:x", "signatures": {"x": {"k": "}{"}}, "type": kind,
            });
            if let Some(state_key) = &state_key {
                event["state_key"] = json!(state_key);
            }
            let text = event.to_string();
            let row = EventRow::new(&meta(), &find_fields(&text).unwrap(), &text);
            let mut row = row;
            row.set_pos(8);
            let row = EventRow::decode(row.encode()).unwrap();
            prop_assert_eq!(row.meta(), EventMeta { pos: 8, ..meta() });
            prop_assert_eq!(row.event_type(), kind.as_str());
            prop_assert_eq!(row.state_key().map(|k| k.into_owned()), state_key.clone());
            let mut out = String::new();
            let unsigned = Unsigned { now: 1500, own_device: true, ..Unsigned::default() };
            write_client_event(&mut out, &row, "!r:x", Format::WithRoomId, &unsigned, None);
            let mut wanted = json!({
                "content": content, "event_id": "$abc", "origin_server_ts": 1000, "room_id": "!r:x", "sender": "@a:x",
                "type": kind, "unsigned": {"age": 500, "transaction_id": "t\"1"},
            });
            if let Some(state_key) = state_key {
                wanted["state_key"] = json!(state_key);
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), wanted);
        }
    }

    #[test]
    fn a_redaction_names_its_target_in_both_places() {
        for (content, top) in [(json!({"reason": "x"}), Some("$t")), (json!({"reason": "x", "redacts": "$t"}), None)] {
            let mut event = json!({"content": content, "sender": "@a:x", "type": "m.room.redaction"});
            if let Some(top) = top {
                event["redacts"] = json!(top);
            }
            let text = event.to_string();
            let row = EventRow::new(&meta(), &find_fields(&text).unwrap(), &text);
            let mut out = String::new();
            write_client_event(&mut out, &row, "!r:x", Format::WithoutRoomId, &Unsigned::default(), None);
            let seen: Value = serde_json::from_str(&out).unwrap();
            assert_eq!(seen["redacts"], "$t");
            assert_eq!(seen["content"], json!({"reason": "x", "redacts": "$t"}));
        }
    }
}
