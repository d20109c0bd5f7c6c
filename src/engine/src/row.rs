//! The event row: a fixed header that filters and visibility read, a few strings, and the untouched canonical event.

use std::ops::Range;

use bytes::Bytes;
use store::{Pos, Value};

use crate::{
    state_tree::NodeId,
    tables::{Arrival, Depth, EventNum, UserNum},
};

/// What the checks said of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// Part of the room.
    Accepted = 0,
    /// Allowed where it was sent, not by the state now: kept, never shown, never an extremity.
    SoftFailed = 1,
    /// Not allowed.
    Rejected = 2,
}

/// `history_visibility` in force at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Visibility {
    /// `shared`, the default.
    Shared = 0,
    /// `world_readable`.
    WorldReadable = 1,
    /// `invited`.
    Invited = 2,
    /// `joined`.
    Joined = 3,
}

impl Visibility {
    /// From the value in `m.room.history_visibility`; anything unknown is the default.
    pub fn parse(value: &str) -> Self {
        match value {
            "world_readable" => Self::WorldReadable,
            "invited" => Self::Invited,
            "joined" => Self::Joined,
            _ => Self::Shared,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Shared,
            1 => Self::WorldReadable,
            2 => Self::Invited,
            3 => Self::Joined,
            _ => return None,
        })
    }
}

/// Where the state before an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StateFrom {
    /// The events that it follows, all of which are here.
    Graph = 0,
    /// Another server, as some of the events that it follows are not here.
    Told = 1,
    /// Another server, as with this event a user of ours entered the room: it goes on from here, whatever was known before.
    Anew = 2,
}

const FORMAT: u8 = 1;
const POS_AT: usize = 8;
const FIXED: usize = 104;
const RANGES_AT: usize = 64;
const STRINGS_AT: usize = 92;
const NO_STATE_KEY: u32 = u32::MAX;

mod flag {
    pub const OUTLIER: u8 = 1;
    pub const PARTIAL: u8 = 2;
    pub const REDACTED: u8 = 4;
    pub const TOLD: u8 = 8;
    pub const ANEW: u8 = 16;
}

/// Everything about an event that is not in its JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventMeta {
    /// What the checks said.
    pub verdict: Verdict,
    /// Known only because another event refers to it; in no order.
    pub outlier: bool,
    /// The state before it was not known whole when it was checked.
    pub partial_state: bool,
    /// Where [`Self::state_before`] comes from.
    pub state_from: StateFrom,
    /// Visibility in force before it (for a visibility event: the wider of before and after).
    pub visibility: Visibility,
    /// When this server saw it.
    pub pos: Pos,
    /// Its depth, as far as orders go.
    pub depth: Depth,
    /// See [`Arrival`].
    pub arrival: Arrival,
    /// Who sent it.
    pub sender: UserNum,
    /// The sender's server's clock, milliseconds.
    pub origin_server_ts: u64,
    /// The state before it.
    pub state_before: NodeId,
    /// For a state event: the event it took the place of, or 0.
    pub replaces: EventNum,
    /// Its id.
    pub event_id: String,
    /// The device that sent it, where it is one of ours.
    pub device: String,
    /// The transaction id that it was sent with.
    pub txn_id: String,
    /// The redaction that emptied it.
    pub redacted_by: String,
    /// `m.relates_to`: the type and the id, where there is one.
    pub relation: Option<(String, String)>,
}

/// Where the fields lie in the event's JSON, quotes included where the field is a string.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    /// `content`
    pub content: Range<usize>,
    /// `type`
    pub event_type: Range<usize>,
    /// `sender`
    pub sender: Range<usize>,
    /// `state_key`
    pub state_key: Option<Range<usize>>,
}

/// An event as stored; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    bytes: Bytes,
    layout: Layout,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    fields: Fields,
    strings: [Range<usize>; 6],
    json: Range<usize>,
}

impl EventRow {
    /// Puts a row together. `json` is the canonical event and `fields` its [`Fields`].
    pub fn new(meta: &EventMeta, fields: &Fields, json: &str) -> Self {
        let (rel_type, rel_id) = meta.relation.as_ref().map_or(("", ""), |(kind, id)| (kind, id));
        let strings = [meta.event_id.as_str(), &meta.device, &meta.txn_id, &meta.redacted_by, rel_type, rel_id];
        let mut out = Vec::with_capacity(FIXED + strings.iter().map(|s| s.len()).sum::<usize>() + json.len());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(meta.outlier, flag::OUTLIER)
            | flag(meta.partial_state, flag::PARTIAL)
            | flag(!meta.redacted_by.is_empty(), flag::REDACTED)
            | flag(meta.state_from == StateFrom::Told, flag::TOLD)
            | flag(meta.state_from == StateFrom::Anew, flag::ANEW);
        out.extend_from_slice(&[FORMAT, flags, meta.verdict as u8, meta.visibility as u8]);
        out.extend_from_slice(&meta.replaces.to_be_bytes());
        out.extend_from_slice(&meta.pos.to_be_bytes());
        out.extend_from_slice(&meta.depth.to_be_bytes());
        out.extend_from_slice(&meta.arrival.to_be_bytes());
        out.extend_from_slice(&meta.sender.to_be_bytes());
        out.extend_from_slice(&meta.origin_server_ts.to_be_bytes());
        out.extend_from_slice(&meta.state_before.0);
        for range in [Some(&fields.content), Some(&fields.event_type), Some(&fields.sender), fields.state_key.as_ref()]
        {
            let (start, end) = range.map_or((NO_STATE_KEY, 0), |range| (offset(range.start), offset(range.end)));
            out.extend_from_slice(&start.to_be_bytes());
            // Only the content can be longer than 64 KiB less a byte; its end is kept relative to keep the header small.
            out.extend_from_slice(&(end.wrapping_sub(start)).to_be_bytes()[1..]);
        }
        for string in strings {
            out.extend_from_slice(&u16::try_from(string.len()).unwrap_or(u16::MAX).to_be_bytes()[..]);
        }
        debug_assert_eq!(out.len(), FIXED);
        let mut at = FIXED;
        let layout_strings = strings.map(|string| {
            out.extend_from_slice(string.as_bytes());
            let start = at;
            at += string.len();
            start..at
        });
        out.extend_from_slice(json.as_bytes());
        let layout = Layout { fields: fields.clone(), strings: layout_strings, json: at..out.len() };
        Self { bytes: Bytes::from(out), layout }
    }

    /// Sets the stream position: in place, where nobody else holds the bytes.
    pub fn set_pos(&mut self, pos: Pos) {
        let mut bytes = Vec::from(std::mem::take(&mut self.bytes));
        if let Some(place) = bytes.get_mut(POS_AT..POS_AT + 8) {
            place.copy_from_slice(&pos.to_be_bytes());
        }
        self.bytes = Bytes::from(bytes);
    }

    /// Bytes of the whole row.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    fn number<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
    }

    fn text(&self, range: &Range<usize>) -> &str {
        self.bytes.get(range.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    fn string(&self, index: usize) -> &str {
        self.layout.strings.get(index).map_or("", |range| self.text(range))
    }

    /// What the checks said.
    pub fn verdict(&self) -> Verdict {
        match self.byte(2) {
            0 => Verdict::Accepted,
            1 => Verdict::SoftFailed,
            _ => Verdict::Rejected,
        }
    }

    /// See [`EventMeta::outlier`].
    pub fn outlier(&self) -> bool {
        self.byte(1) & flag::OUTLIER != 0
    }

    /// See [`EventMeta::partial_state`].
    pub fn partial_state(&self) -> bool {
        self.byte(1) & flag::PARTIAL != 0
    }

    /// See [`EventMeta::state_from`].
    pub fn state_from(&self) -> StateFrom {
        match self.byte(1) & (flag::TOLD | flag::ANEW) {
            0 => StateFrom::Graph,
            flag::TOLD => StateFrom::Told,
            _ => StateFrom::Anew,
        }
    }

    /// Whether it is older history, which other servers gave when it was asked for.
    pub fn is_history(&self) -> bool {
        self.arrival() < 0
    }

    /// Whether it is in the stream: neither older history nor known only by reference, and part of the room.
    pub fn in_stream(&self) -> bool {
        self.in_room() && !self.is_history()
    }

    /// Whether it is part of the room, and not known only by reference.
    pub fn in_room(&self) -> bool {
        self.verdict() == Verdict::Accepted && !self.outlier()
    }

    /// Whether a redaction emptied it.
    pub fn is_redacted(&self) -> bool {
        self.byte(1) & flag::REDACTED != 0
    }

    /// See [`EventMeta::visibility`].
    pub fn visibility(&self) -> Visibility {
        Visibility::from_byte(self.byte(3)).unwrap_or(Visibility::Joined)
    }

    /// See [`EventMeta::replaces`].
    pub fn replaces(&self) -> EventNum {
        EventNum::from_be_bytes(self.number(4))
    }

    /// See [`EventMeta::pos`].
    pub fn pos(&self) -> Pos {
        Pos::from_be_bytes(self.number(POS_AT))
    }

    /// See [`EventMeta::depth`].
    pub fn depth(&self) -> Depth {
        Depth::from_be_bytes(self.number(16))
    }

    /// See [`EventMeta::arrival`].
    pub fn arrival(&self) -> Arrival {
        Arrival::from_be_bytes(self.number(24))
    }

    /// See [`EventMeta::sender`].
    pub fn sender_num(&self) -> UserNum {
        UserNum::from_be_bytes(self.number(32))
    }

    /// See [`EventMeta::origin_server_ts`].
    pub fn origin_server_ts(&self) -> u64 {
        u64::from_be_bytes(self.number(40))
    }

    /// See [`EventMeta::state_before`].
    pub fn state_before(&self) -> NodeId {
        NodeId(self.number(48))
    }

    /// The event's id.
    pub fn event_id(&self) -> &str {
        self.string(0)
    }

    /// See [`EventMeta::device`].
    pub fn device(&self) -> &str {
        self.string(1)
    }

    /// See [`EventMeta::txn_id`].
    pub fn txn_id(&self) -> &str {
        self.string(2)
    }

    /// The id of the redaction that emptied it.
    pub fn redacted_by(&self) -> Option<&str> {
        Some(self.string(3)).filter(|id| !id.is_empty())
    }

    /// `m.relates_to`: type and id.
    pub fn relation(&self) -> Option<(&str, &str)> {
        Some((self.string(4), self.string(5))).filter(|(_, id)| !id.is_empty())
    }

    /// The canonical event.
    pub fn json(&self) -> &str {
        self.text(&self.layout.json)
    }

    fn field(&self, range: &Range<usize>) -> &str {
        self.json().get(range.clone()).unwrap_or_default()
    }

    /// The content, as JSON.
    pub fn content(&self) -> &str {
        self.field(&self.layout.fields.content)
    }

    /// The type as a JSON string, quotes included.
    pub fn type_json(&self) -> &str {
        self.field(&self.layout.fields.event_type)
    }

    /// The sender as a JSON string, quotes included.
    pub fn sender_json(&self) -> &str {
        self.field(&self.layout.fields.sender)
    }

    /// The sender. User ids have no escapes in JSON.
    pub fn sender(&self) -> &str {
        unquoted(self.sender_json())
    }

    /// The state key as a JSON string, quotes included.
    pub fn state_key_json(&self) -> Option<&str> {
        self.layout.fields.state_key.as_ref().map(|range| self.field(range))
    }

    /// Whether it is a state event.
    pub fn is_state(&self) -> bool {
        self.layout.fields.state_key.is_some()
    }

    /// The type, decoded.
    pub fn event_type(&self) -> std::borrow::Cow<'_, str> {
        decoded(self.type_json())
    }

    /// The state key, decoded.
    pub fn state_key(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.state_key_json().map(decoded)
    }

    /// All that is not in the JSON.
    pub fn meta(&self) -> EventMeta {
        EventMeta {
            verdict: self.verdict(),
            outlier: self.outlier(),
            partial_state: self.partial_state(),
            state_from: self.state_from(),
            visibility: self.visibility(),
            pos: self.pos(),
            depth: self.depth(),
            arrival: self.arrival(),
            sender: self.sender_num(),
            origin_server_ts: self.origin_server_ts(),
            state_before: self.state_before(),
            replaces: self.replaces(),
            event_id: self.event_id().to_owned(),
            device: self.device().to_owned(),
            txn_id: self.txn_id().to_owned(),
            redacted_by: self.redacted_by().unwrap_or_default().to_owned(),
            relation: self.relation().map(|(kind, id)| (kind.to_owned(), id.to_owned())),
        }
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn unquoted(json: &str) -> &str {
    json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json)
}

/// The text of a JSON string.
pub(crate) fn decoded(json: &str) -> std::borrow::Cow<'_, str> {
    let inner = unquoted(json);
    if inner.contains('\\') {
        serde_json::from_str::<String>(json).map_or(std::borrow::Cow::Borrowed(inner), std::borrow::Cow::Owned)
    } else {
        std::borrow::Cow::Borrowed(inner)
    }
}

impl Value for EventRow {
    fn encode(&self) -> Bytes {
        self.bytes.clone()
    }

    fn decode(bytes: Bytes) -> Result<Self, String> {
        let header = bytes.get(..FIXED).ok_or("event row ends early")?;
        if header.first() != Some(&FORMAT) {
            return Err("unknown format of event row".to_owned());
        }
        let mut fields: [Option<Range<usize>>; 4] = [const { None }; 4];
        for (index, field) in fields.iter_mut().enumerate() {
            let at = RANGES_AT + index * 7;
            let raw: [u8; 7] = header.get(at..at + 7).and_then(|raw| raw.try_into().ok()).ok_or("short header")?;
            let [a, b, c, d, x, y, z] = raw;
            let start = u32::from_be_bytes([a, b, c, d]);
            if start != NO_STATE_KEY {
                let start = start as usize;
                *field = Some(start..start + u32::from_be_bytes([0, x, y, z]) as usize);
            }
        }
        let mut at = FIXED;
        let mut strings: [Range<usize>; 6] = [const { 0..0 }; 6];
        for (index, string) in strings.iter_mut().enumerate() {
            let place = STRINGS_AT + index * 2;
            let raw: [u8; 2] =
                header.get(place..place + 2).and_then(|raw| raw.try_into().ok()).ok_or("short header")?;
            let end = at + usize::from(u16::from_be_bytes(raw));
            *string = at..end;
            at = end;
        }
        let [content, event_type, sender, state_key] = fields;
        let json = at..bytes.len();
        std::str::from_utf8(bytes.get(at..).ok_or("event row ends early")?).map_err(|error| error.to_string())?;
        let fields = Fields {
            content: content.ok_or("no content")?,
            event_type: event_type.ok_or("no type")?,
            sender: sender.ok_or("no sender")?,
            state_key,
        };
        Ok(Self { bytes, layout: Layout { fields, strings, json } })
    }
}
