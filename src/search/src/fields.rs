//! What the index keeps of an event: its words, and numbers by which it is chosen, ordered and found again. No text of it is stored.

use std::borrow::Cow;

use engine::{EventNum, EventRow, RoomNum};
use serde::Deserialize;
use tantivy::{
    TantivyDocument, Term,
    schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
};

/// The name that the index knows our words by.
pub(crate) const ANALYSER: &str = "words";

/// Where something can be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// `content.body` of `m.room.message`.
    Body,
    /// `content.name` of `m.room.name`.
    Name,
    /// `content.topic` of `m.room.topic`, and its plain text in `m.topic`.
    Topic,
}

/// Names of columns.
pub(crate) mod column {
    pub(crate) const ROOM: &str = "room";
    pub(crate) const NUM: &str = "num";
    pub(crate) const TIME: &str = "time";
    pub(crate) const POS: &str = "pos";
    pub(crate) const SENDER: &str = "sender";
    pub(crate) const SEEN: &str = "seen";
}

/// Whether it is in the stream, and who may see it, as one number.
pub(crate) mod seen {
    use engine::Visibility;

    const HISTORY: u64 = 4;

    pub(crate) fn encode(visibility: Visibility, history: bool) -> u64 {
        visibility as u64 | if history { HISTORY } else { 0 }
    }

    pub(crate) fn is_history(seen: u64) -> bool {
        seen & HISTORY != 0
    }

    pub(crate) fn is(seen: u64, visibility: Visibility) -> bool {
        seen & !HISTORY == visibility as u64
    }
}

/// The fields of the index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    /// Room and number as bytes: what an event is removed by.
    id: Field,
    pub(crate) room: Field,
    num: Field,
    time: Field,
    pos: Field,
    sender: Field,
    seen: Field,
    body: Field,
    name: Field,
    topic: Field,
}

impl Fields {
    pub(crate) fn new() -> (Schema, Self) {
        let mut schema = Schema::builder();
        let words = TextFieldIndexing::default()
            .set_tokenizer(ANALYSER)
            // Phrases are not looked for: places would double the size.
            .set_index_option(IndexRecordOption::WithFreqs);
        let words = TextOptions::default().set_indexing_options(words);
        let fields = Self {
            id: schema.add_bytes_field("id", INDEXED),
            room: schema.add_u64_field(column::ROOM, INDEXED | FAST),
            num: schema.add_u64_field(column::NUM, FAST),
            time: schema.add_u64_field(column::TIME, FAST),
            pos: schema.add_u64_field(column::POS, FAST),
            sender: schema.add_u64_field(column::SENDER, FAST),
            seen: schema.add_u64_field(column::SEEN, FAST),
            body: schema.add_text_field("body", words.clone()),
            name: schema.add_text_field("name", words.clone()),
            topic: schema.add_text_field("topic", words),
        };
        (schema.build(), fields)
    }

    pub(crate) fn of(&self, key: Key) -> Field {
        match key {
            Key::Body => self.body,
            Key::Name => self.name,
            Key::Topic => self.topic,
        }
    }

    pub(crate) fn id(&self, room: RoomNum, num: EventNum) -> Term {
        let mut id = [0; 12];
        let (first, last) = id.split_at_mut(8);
        first.copy_from_slice(&room.to_be_bytes());
        last.copy_from_slice(&num.to_be_bytes());
        Term::from_field_bytes(self.id, &id)
    }

    /// What the index keeps of an event; nothing where it cannot be found.
    pub(crate) fn document(&self, room: RoomNum, num: EventNum, row: &EventRow) -> Option<TantivyDocument> {
        let texts = texts(row);
        if texts.is_empty() {
            return None;
        }
        let mut document = TantivyDocument::default();
        document.add_bytes(self.id, self.id(room, num).serialized_value_bytes());
        document.add_u64(self.room, room);
        document.add_u64(self.num, num.into());
        document.add_u64(self.time, row.origin_server_ts());
        document.add_u64(self.pos, row.pos());
        document.add_u64(self.sender, row.sender_num());
        document.add_u64(self.seen, seen::encode(row.visibility(), row.is_history()));
        for (key, text) in texts {
            document.add_text(self.of(key), text);
        }
        Some(document)
    }
}

/// Whether an event is of a kind that can be found, as long as nothing is wrong with it.
pub(crate) fn is_of_interest(row: &EventRow) -> bool {
    matches!(row.type_json(), "\"m.room.message\"" | "\"m.room.name\"" | "\"m.room.topic\"")
}

/// The texts of an event that it can be found by: of a message, a room's name or its topic, as long as it was not redacted and is part
/// of the room.
pub(crate) fn texts(row: &EventRow) -> Vec<(Key, Cow<'_, str>)> {
    if !row.in_room() || row.is_redacted() {
        return Vec::new();
    }
    let is_own = || row.state_key_json() == Some("\"\"");
    let text = |text: Option<Cow<'_, str>>| text.filter(|text| !text.is_empty()).map(Cow::into_owned);
    match row.type_json() {
        "\"m.room.message\"" if !row.is_state() => {
            #[derive(Deserialize)]
            struct Content<'a> {
                #[serde(borrow)]
                body: Cow<'a, str>,
            }
            let content = serde_json::from_str::<Content<'_>>(row.content()).ok();
            content
                .filter(|content| !content.body.is_empty())
                .map(|content| (Key::Body, content.body))
                .into_iter()
                .collect()
        }
        "\"m.room.name\"" if is_own() => {
            #[derive(Deserialize)]
            struct Content<'a> {
                #[serde(borrow)]
                name: Option<Cow<'a, str>>,
            }
            let name = serde_json::from_str::<Content<'_>>(row.content()).ok().and_then(|content| text(content.name));
            name.map(|name| (Key::Name, name.into())).into_iter().collect()
        }
        "\"m.room.topic\"" if is_own() => topics(row.content()),
        _ => Vec::new(),
    }
}

/// Either may be there without the other, or ill-formed.
fn topics(content: &str) -> Vec<(Key, Cow<'_, str>)> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Content {
        topic: Option<serde_json::Value>,
        #[serde(rename = "m.topic")]
        block: Option<serde_json::Value>,
    }
    let content = serde_json::from_str::<Content>(content).unwrap_or_default();
    let plain = content.topic.as_ref().and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    let parts = content.block.as_ref().and_then(|block| block.get("m.text")?.as_array());
    let is_plain = |part: &&serde_json::Value| part.get("mimetype").is_none_or(|kind| kind == "text/plain");
    let rich = parts.and_then(|parts| parts.iter().find(is_plain)?.get("body")?.as_str());
    let rich = rich.filter(|text| !text.is_empty() && Some(*text) != plain);
    plain.into_iter().chain(rich).map(|text| (Key::Topic, Cow::Owned(text.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use engine::Visibility;

    use super::*;

    #[test]
    fn topics_are_found_by_either_spelling() {
        let of =
            |content: &str| -> Vec<String> { topics(content).into_iter().map(|(_, text)| text.into_owned()).collect() };
        assert_eq!(of(r#"{"topic":"a"}"#), ["a"]);
        assert_eq!(of(r#"{"topic":"a","m.topic":{"m.text":[{"body":"a"}]}}"#), ["a"]);
        let both = r#"{"topic":"a","m.topic":{"m.text":[{"mimetype":"text/html","body":"<b>"},{"body":"b"}]}}"#;
        assert_eq!(of(both), ["a", "b"]);
        for odd in [r#"{"topic":7,"m.topic":{"m.text":"x"}}"#, r#"{"m.topic":[]}"#, "{}", "[]", r#"{"topic":""}"#] {
            assert!(of(odd).is_empty(), "{odd}");
        }
    }

    #[test]
    fn flags_read_back() {
        for visibility in [Visibility::Shared, Visibility::WorldReadable, Visibility::Invited, Visibility::Joined] {
            for history in [false, true] {
                let seen = seen::encode(visibility, history);
                assert_eq!((seen::is_history(seen), seen::is(seen, visibility)), (history, true));
            }
        }
    }
}
