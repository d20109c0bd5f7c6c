use std::marker::PhantomData;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::StoreError,
    key::{Key, KeyReader, KeyWriter, prefix_end},
    traits::{Keyspace, Op, Precondition},
};

/// A value with an encoding on disk.
pub trait Value: Sized {
    /// The bytes to store.
    fn encode(&self) -> Bytes;
    /// Reads the bytes back.
    ///
    /// # Errors
    /// A text that says what was wrong.
    fn decode(bytes: Bytes) -> Result<Self, String>;
}

impl Value for Bytes {
    fn encode(&self) -> Bytes {
        self.clone()
    }
    fn decode(bytes: Bytes) -> Result<Self, String> {
        Ok(bytes)
    }
}

impl Value for () {
    fn encode(&self) -> Bytes {
        Bytes::new()
    }
    fn decode(_: Bytes) -> Result<Self, String> {
        Ok(())
    }
}

impl Value for String {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
    fn decode(bytes: Bytes) -> Result<Self, String> {
        Self::from_utf8(bytes.into()).map_err(|error| error.to_string())
    }
}

macro_rules! number_value {
    ($($kind:ty),*) => {$(
        impl Value for $kind {
            fn encode(&self) -> Bytes {
                Bytes::copy_from_slice(&self.to_be_bytes())
            }
            fn decode(bytes: Bytes) -> Result<Self, String> {
                Ok(Self::from_be_bytes(bytes[..].try_into().map_err(|_| "wrong length".to_owned())?))
            }
        }
    )*};
}
number_value!(u32, u64, i64);

/// A value kept as JSON: for records that grow fields over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned> Value for Json<T> {
    fn encode(&self) -> Bytes {
        // Serialising our own record types to memory has no way to fail: no maps with non-string keys among them.
        serde_json::to_vec(&self.0).map(Bytes::from).unwrap_or_default()
    }
    fn decode(bytes: Bytes) -> Result<Self, String> {
        serde_json::from_slice(&bytes).map(Json).map_err(|error| error.to_string())
    }
}

/// A typed table: a keyspace, the byte that its keys start with, and the codecs of its keys and values.
///
/// The byte is unique within the keyspace; each crate lists its tables in one module, so that a clash is seen.
#[derive(Debug)]
pub struct Table<K, V> {
    /// Where its rows live.
    pub keyspace: Keyspace,
    /// The first byte of its keys.
    pub prefix: u8,
    /// The name in errors and dumps.
    pub name: &'static str,
    kind: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: Value> Table<K, V> {
    /// Declares a table.
    pub const fn new(keyspace: Keyspace, prefix: u8, name: &'static str) -> Self {
        Self { keyspace, prefix, name, kind: PhantomData }
    }

    /// The encoded key of a row.
    pub fn key(&self, key: &K) -> Bytes {
        let mut out = KeyWriter::table(self.prefix);
        key.write(&mut out);
        out.finish()
    }

    /// The encoded start of all keys that begin with the given parts: `from` of a range, inclusive.
    pub fn prefix<P: Key>(&self, parts: &P) -> Bytes {
        let mut out = KeyWriter::table(self.prefix);
        parts.write(&mut out);
        out.finish()
    }

    /// The end, exclusive, of all keys that begin with the given parts.
    pub fn prefix_end<P: Key>(&self, parts: &P) -> Bytes {
        prefix_end(&self.prefix(parts))
    }

    /// Reads a key of this table.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn decode_key(&self, key: &[u8]) -> Result<K, StoreError> {
        let mut reader = KeyReader::new(key).map_err(|error| (self.name, error))?;
        let decoded = K::read(&mut reader).map_err(|error| (self.name, error))?;
        reader.end().map_err(|error| (self.name, error))?;
        Ok(decoded)
    }

    /// Reads a value of this table.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub fn decode(&self, value: Bytes) -> Result<V, StoreError> {
        V::decode(value).map_err(|reason| StoreError::corrupt(self.name, reason))
    }

    /// The operation that sets a row.
    pub fn put(&self, key: &K, value: &V) -> Op {
        Op::Put(self.keyspace, self.key(key), value.encode())
    }

    /// The operation that removes a row.
    pub fn delete(&self, key: &K) -> Op {
        Op::Delete(self.keyspace, self.key(key))
    }

    /// The operation that removes all rows whose keys begin with the given parts.
    pub fn delete_prefix<P: Key>(&self, parts: &P) -> Op {
        Op::DeleteRange(self.keyspace, self.prefix(parts), self.prefix_end(parts))
    }

    /// Holds where the row is not there.
    pub fn absent(&self, key: &K) -> Precondition {
        Precondition::Absent(self.keyspace, self.key(key))
    }

    /// Holds where the row has this value.
    pub fn equals(&self, key: &K, value: &V) -> Precondition {
        Precondition::Equals(self.keyspace, self.key(key), value.encode())
    }
}
