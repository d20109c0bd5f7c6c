//! An event as push rules see it: its scalar properties by their dot-separated paths.

use std::{borrow::Cow, fmt, sync::OnceLock};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Paths longer than this are not kept: no rule that this server accepts asks for one.
pub(crate) const MAX_PATH: usize = 512;

/// Numbers beyond this are not integers in Matrix (appendices, "Canonical JSON").
const MAX_INT: i64 = (1 << 53) - 1;

/// A property that rules can ask for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Leaf<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Str(Cow<'a, str>),
    Array(Vec<Leaf<'a>>),
    EmptyObject,
}

impl Leaf<'_> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Entry<'a> {
    path: std::ops::Range<u32>,
    leaf: Leaf<'a>,
}

/// An event, taken apart once for all who may be notified of it.
#[derive(Debug)]
pub struct PushEvent<'a> {
    /// All paths, one behind the other.
    paths: String,
    /// Sorted by path.
    entries: Vec<Entry<'a>>,
    mentions: bool,
    lower_body: OnceLock<Option<String>>,
}

impl<'a> PushEvent<'a> {
    /// Takes apart an event's JSON: the client's form of it or the PDU, whose `content`, `sender`, `state_key` and
    /// `type` are the same.
    ///
    /// # Errors
    /// Where it is no JSON object.
    pub fn parse(json: &'a str) -> serde_json::Result<Self> {
        let mut flat = Flat { paths: String::with_capacity(256), entries: Vec::with_capacity(16), ..Flat::default() };
        let mut deserializer = serde_json::Deserializer::from_str(json);
        flat.object(&mut deserializer)?;
        deserializer.end()?;
        let Flat { paths, mut entries, mentions, .. } = flat;
        entries.sort_by(|a, b| slice(&paths, &a.path).cmp(slice(&paths, &b.path)));
        Ok(Self { paths, entries, mentions, lower_body: OnceLock::new() })
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Leaf<'a>> {
        // The last of several with the same path counts.
        let end = self.entries.partition_point(|entry| slice(&self.paths, &entry.path) <= path);
        let entry = self.entries.get(end.checked_sub(1)?)?;
        (slice(&self.paths, &entry.path) == path).then_some(&entry.leaf)
    }

    pub(crate) fn get_str(&self, path: &str) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// Whether the content has `m.mentions`, which switches the older rules about mentions off.
    pub(crate) fn has_mentions(&self) -> bool {
        self.mentions
    }

    /// The body in lower case, made when first asked for.
    pub(crate) fn lower_body(&self) -> Option<&str> {
        self.lower_body.get_or_init(|| self.get_str("content.body").map(str::to_lowercase)).as_deref()
    }
}

fn slice<'p>(paths: &'p str, range: &std::ops::Range<u32>) -> &'p str {
    paths.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// An event being taken apart.
#[derive(Default)]
struct Flat<'a> {
    /// The path of what is being read.
    at: String,
    paths: String,
    entries: Vec<Entry<'a>>,
    mentions: bool,
}

const MENTIONS: &str = r"content.m\.mentions";

impl<'de> Flat<'de> {
    fn object<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(ObjectVisitor { flat: self })
    }

    fn add<E: serde::de::Error>(&mut self, leaf: Leaf<'de>) -> Result<(), E> {
        self.mentions |= self.at.strip_prefix(MENTIONS).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if self.at.len() > MAX_PATH {
            return Ok(());
        }
        let offset = |length: usize| u32::try_from(length).map_err(|_| E::custom("the event is too large"));
        let start = offset(self.paths.len())?;
        self.paths.push_str(&self.at);
        self.entries.push(Entry { path: start..offset(self.paths.len())?, leaf });
        Ok(())
    }

    /// Appends a key to the current path; dots and backslashes in it are escaped.
    fn enter(&mut self, key: &str) {
        if !self.at.is_empty() {
            self.at.push('.');
        }
        if !key.contains(['.', '\\']) {
            self.at.push_str(key);
            return;
        }
        for c in key.chars() {
            if matches!(c, '.' | '\\') {
                self.at.push('\\');
            }
            self.at.push(c);
        }
    }
}

struct ObjectVisitor<'f, 'de> {
    flat: &'f mut Flat<'de>,
}

impl<'de> Visitor<'de> for ObjectVisitor<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut empty = true;
        while let Some(key) = map.next_key_seed(Text)? {
            empty = false;
            let back = self.flat.at.len();
            self.flat.enter(&key);
            if let Some(leaf) = map.next_value_seed(Node { flat: Some(&mut *self.flat) })? {
                self.flat.add(leaf)?;
            }
            self.flat.at.truncate(back);
        }
        if empty { self.flat.add(Leaf::EmptyObject) } else { Ok(()) }
    }
}

/// A text, borrowed where it has no escapes.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Reads a value: a leaf is returned, objects go into `flat`. Without `flat` we are in an array, where only scalars
/// count.
struct Node<'f, 'de> {
    flat: Option<&'f mut Flat<'de>>,
}

impl<'de> DeserializeSeed<'de> for Node<'_, 'de> {
    type Value = Option<Leaf<'de>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, 'de> {
    type Value = Option<Leaf<'de>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Some(Leaf::Null))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(Leaf::Bool(value)))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok((-MAX_INT..=MAX_INT).contains(&value).then_some(Leaf::Int(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).ok().filter(|value| *value <= MAX_INT).map(Leaf::Int))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Leaf::Str(Cow::Borrowed(text))))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Leaf::Str(Cow::Owned(text.to_owned()))))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        if self.flat.is_none() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(None);
        }
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Node { flat: None })? {
            items.extend(item);
        }
        Ok(Some(Leaf::Array(items)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        match self.flat {
            Some(flat) => ObjectVisitor { flat }.visit_map(map)?,
            None => while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {},
        }
        Ok(None)
    }
}
