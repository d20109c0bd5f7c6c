//! The bytes of a node: a level byte, then the entries in order, front-coded.
//!
//! An entry is its type, its state key and its payload. The type is `0` if it equals the previous entry's, otherwise
//! the length of the prefix shared with that plus one, the length of the rest, and the rest. The state key is the
//! length of the shared prefix, the length of the rest, and the rest. The payload is the event's number, or above
//! level 0 the 16 bytes of the child's id. All numbers are LEB128.

use std::{cmp::Ordering, sync::Arc};

use bytes::Bytes;

use super::{Entry, Key, MAX_KEY_PART_BYTES, MAX_NODE_BYTES, NodeId, Payload, TreeError};

/// No tree is higher: see the bound on depth in the module's documentation.
pub(super) const MAX_LEVEL: u8 = 64;

/// A node's level and entries: at least one, in strictly rising order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) level: u8,
    pub(super) entries: Vec<Entry>,
}

impl Node {
    /// The key of the last entry.
    pub(super) fn last_key(&self) -> Result<&Key, TreeError> {
        self.entries.last().map(|entry| &entry.key).ok_or(TreeError::Corrupt("no entries"))
    }
}

/// The bytes of a node with these entries.
pub(super) fn encode(level: u8, entries: &[Entry]) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    out.push(level);
    let (mut ty, mut state_key) = ("", "");
    for entry in entries {
        if *entry.key.ty == *ty {
            out.push(0);
        } else {
            put_part(&mut out, ty, &entry.key.ty, 1);
            ty = &entry.key.ty;
        }
        put_part(&mut out, state_key, &entry.key.state_key, 0);
        state_key = &entry.key.state_key;
        match entry.payload {
            Payload::Value(value) => put_number(&mut out, value),
            Payload::Child(id) => out.extend_from_slice(&id.0),
        }
    }
    out.into()
}

fn put_part(out: &mut Vec<u8>, previous: &str, part: &str, offset: u32) {
    let shared = previous.bytes().zip(part.bytes()).take_while(|(a, b)| a == b).count();
    let rest = part.as_bytes().get(shared..).unwrap_or_default();
    put_number(out, shared as u32 + offset);
    put_number(out, rest.len() as u32);
    out.extend_from_slice(rest);
}

fn put_number(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads entries one after the other without allocating for each.
struct Reader<'a> {
    level: u8,
    rest: &'a [u8],
    ty: Vec<u8>,
    state_key: Vec<u8>,
    started: bool,
    same_type: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], expected_level: Option<u8>) -> Result<Self, TreeError> {
        if bytes.len() > MAX_NODE_BYTES {
            return Err(TreeError::Corrupt("too long"));
        }
        let (&level, rest) = bytes.split_first().ok_or(TreeError::Corrupt("no bytes"))?;
        if level > MAX_LEVEL || expected_level.is_some_and(|expected| expected != level) {
            return Err(TreeError::Corrupt("wrong level"));
        }
        if rest.is_empty() {
            return Err(TreeError::Corrupt("no entries"));
        }
        Ok(Self { level, rest, ty: Vec::new(), state_key: Vec::new(), started: false, same_type: false })
    }

    /// The next entry's payload; its key is then in `ty` and `state_key`. `None` at the end.
    fn next(&mut self) -> Result<Option<Payload>, TreeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let header = number(&mut self.rest)?;
        self.same_type = header == 0;
        let types = match header.checked_sub(1) {
            Some(shared) => replace_tail(&mut self.rest, &mut self.ty, shared)?,
            None => Ordering::Equal,
        };
        let shared = number(&mut self.rest)?;
        let keys = replace_tail(&mut self.rest, &mut self.state_key, shared)?;
        if self.started && types.then(keys) != Ordering::Less {
            return Err(TreeError::Corrupt("entries out of order"));
        }
        self.started = true;
        Ok(Some(match self.level {
            0 => Payload::Value(number(&mut self.rest)?),
            _ => {
                let (id, rest) = self.rest.split_first_chunk().ok_or(TreeError::Corrupt("cut off"))?;
                self.rest = rest;
                Payload::Child(NodeId(*id))
            }
        }))
    }

    fn compare(&self, ty: &str, state_key: &str) -> Ordering {
        self.ty.as_slice().cmp(ty.as_bytes()).then_with(|| self.state_key.as_slice().cmp(state_key.as_bytes()))
    }
}

/// Keeps `shared` bytes of `part`, reads the others, and tells how the old part compares with the new one.
fn replace_tail(rest: &mut &[u8], part: &mut Vec<u8>, shared: u32) -> Result<Ordering, TreeError> {
    let old = part.get(shared as usize..).ok_or(TreeError::Corrupt("shared prefix too long"))?;
    let length = number(rest)? as usize;
    let (new, after) = rest.split_at_checked(length).ok_or(TreeError::Corrupt("cut off"))?;
    if shared as usize + length > MAX_KEY_PART_BYTES {
        return Err(TreeError::Corrupt("key too long"));
    }
    let order = old.cmp(new);
    part.truncate(shared as usize);
    part.extend_from_slice(new);
    *rest = after;
    Ok(order)
}

fn number(rest: &mut &[u8]) -> Result<u32, TreeError> {
    let mut value = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, after) = rest.split_first().ok_or(TreeError::Corrupt("cut off"))?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| TreeError::Corrupt("number too large"));
        }
    }
    Err(TreeError::Corrupt("number too large"))
}

/// The node in these bytes; its level must be `expected_level` if that is given.
pub(super) fn decode(bytes: &[u8], expected_level: Option<u8>) -> Result<Node, TreeError> {
    let mut reader = Reader::new(bytes, expected_level)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(48);
    while let Some(payload) = reader.next()? {
        let ty = match entries.last() {
            Some(previous) if reader.same_type => previous.key.ty.clone(),
            _ => text(&reader.ty)?,
        };
        entries.push(Entry { key: Key { ty, state_key: text(&reader.state_key)? }, payload });
    }
    Ok(Node { level: reader.level, entries })
}

fn text(bytes: &[u8]) -> Result<Arc<str>, TreeError> {
    std::str::from_utf8(bytes).map(Arc::from).map_err(|_| TreeError::Corrupt("not UTF-8"))
}

/// Where a look-up goes on after a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To this node, which has this level.
    Down(u8, NodeId),
    /// It ends here.
    Found(Option<u32>),
}

/// One step of a look-up, without decoding the whole node.
pub(super) fn step(bytes: &[u8], expected_level: Option<u8>, ty: &str, state_key: &str) -> Result<Step, TreeError> {
    let mut reader = Reader::new(bytes, expected_level)?;
    while let Some(payload) = reader.next()? {
        match (reader.compare(ty, state_key), payload) {
            (Ordering::Less, _) => {}
            (_, Payload::Child(id)) => return Ok(Step::Down(reader.level - 1, id)),
            (Ordering::Equal, Payload::Value(value)) => return Ok(Step::Found(Some(value))),
            (Ordering::Greater, Payload::Value(_)) => break,
        }
    }
    Ok(Step::Found(None))
}
