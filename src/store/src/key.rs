//! Order-preserving key encodings: comparing encoded bytes compares the tuples.

use bytes::Bytes;

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const END: u8 = 0x01;

/// A key that could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key ended early.
    #[error("key ends early")]
    Short,
    /// Bytes were left over.
    #[error("key has bytes left over")]
    Long,
    /// A string in the key is not UTF-8 or is wrongly escaped.
    #[error("key has a broken string")]
    String,
}

/// Builds a key, part by part.
#[derive(Debug, Default)]
pub struct KeyWriter {
    bytes: Vec<u8>,
}

impl KeyWriter {
    /// Starts a key with its table byte.
    pub fn table(prefix: u8) -> Self {
        let mut bytes = Vec::with_capacity(40);
        bytes.push(prefix);
        Self { bytes }
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Appends a big-endian number.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends a big-endian number.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends a signed number so that negative ones sort first.
    pub fn i64(&mut self, value: i64) {
        self.u64(value.cast_unsigned() ^ (1 << 63));
    }

    /// Appends bytes of a length that the table fixes.
    pub fn fixed(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// Appends bytes of any length, escaped and terminated, so that a shorter string sorts before its extensions.
    pub fn bytes(&mut self, value: &[u8]) {
        for &byte in value {
            self.bytes.push(byte);
            if byte == ESCAPE {
                self.bytes.push(ESCAPED_ZERO);
            }
        }
        self.bytes.extend_from_slice(&[ESCAPE, END]);
    }

    /// Appends a string as [`KeyWriter::bytes`].
    pub fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// The key.
    pub fn finish(self) -> Bytes {
        Bytes::from(self.bytes)
    }
}

/// Reads a key, part by part.
#[derive(Debug)]
pub struct KeyReader<'a> {
    rest: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// Reads behind the table byte.
    ///
    /// # Errors
    /// Where the key is empty.
    pub fn new(key: &'a [u8]) -> Result<Self, KeyError> {
        Ok(Self { rest: key.get(1..).ok_or(KeyError::Short)? })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(KeyError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// Where the key ends early.
    pub fn u8(&mut self) -> Result<u8, KeyError> {
        Ok(u8::from_be_bytes(self.take()?))
    }

    /// Reads a number.
    ///
    /// # Errors
    /// Where the key ends early.
    pub fn u32(&mut self) -> Result<u32, KeyError> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    /// Reads a number.
    ///
    /// # Errors
    /// Where the key ends early.
    pub fn u64(&mut self) -> Result<u64, KeyError> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    /// Reads a signed number.
    ///
    /// # Errors
    /// Where the key ends early.
    pub fn i64(&mut self) -> Result<i64, KeyError> {
        Ok((self.u64()? ^ (1 << 63)).cast_signed())
    }

    /// Reads bytes of a fixed length.
    ///
    /// # Errors
    /// Where the key ends early.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        self.take()
    }

    /// Reads escaped bytes.
    ///
    /// # Errors
    /// Where the terminator is missing or an escape is unknown.
    pub fn bytes(&mut self) -> Result<Vec<u8>, KeyError> {
        let mut out = Vec::new();
        loop {
            let byte = self.u8()?;
            if byte != ESCAPE {
                out.push(byte);
                continue;
            }
            match self.u8()? {
                ESCAPED_ZERO => out.push(ESCAPE),
                END => return Ok(out),
                _ => return Err(KeyError::String),
            }
        }
    }

    /// Reads an escaped string.
    ///
    /// # Errors
    /// As [`KeyReader::bytes`], and where it is not UTF-8.
    pub fn str(&mut self) -> Result<String, KeyError> {
        String::from_utf8(self.bytes()?).map_err(|_| KeyError::String)
    }

    /// Makes sure that the key is read to its end.
    ///
    /// # Errors
    /// Where bytes are left over.
    pub fn end(self) -> Result<(), KeyError> {
        if self.rest.is_empty() { Ok(()) } else { Err(KeyError::Long) }
    }
}

/// A part of a key, or a tuple of them, with an order-preserving encoding.
///
/// `write` of the first parts of a tuple is a prefix of the whole key, which is how ranges are scanned.
pub trait Key: Sized {
    /// Appends the encoding.
    fn write(&self, out: &mut KeyWriter);
    /// Reads it back.
    ///
    /// # Errors
    /// Where the bytes are no such key.
    fn read(from: &mut KeyReader<'_>) -> Result<Self, KeyError>;
}

macro_rules! number_key {
    ($($kind:ident),*) => {$(
        impl Key for $kind {
            fn write(&self, out: &mut KeyWriter) {
                out.$kind(*self);
            }
            fn read(from: &mut KeyReader<'_>) -> Result<Self, KeyError> {
                from.$kind()
            }
        }
    )*};
}
number_key!(u8, u32, u64, i64);

impl Key for String {
    fn write(&self, out: &mut KeyWriter) {
        out.str(self);
    }
    fn read(from: &mut KeyReader<'_>) -> Result<Self, KeyError> {
        from.str()
    }
}

impl<const N: usize> Key for [u8; N] {
    fn write(&self, out: &mut KeyWriter) {
        out.fixed(self);
    }
    fn read(from: &mut KeyReader<'_>) -> Result<Self, KeyError> {
        from.fixed()
    }
}

impl Key for () {
    fn write(&self, _: &mut KeyWriter) {}
    fn read(_: &mut KeyReader<'_>) -> Result<Self, KeyError> {
        Ok(())
    }
}

macro_rules! tuple_key {
    ($($name:ident),+) => {
        impl<$($name: Key),+> Key for ($($name,)+) {
            #[allow(non_snake_case)]
            fn write(&self, out: &mut KeyWriter) {
                let ($($name,)+) = self;
                $($name.write(out);)+
            }
            fn read(from: &mut KeyReader<'_>) -> Result<Self, KeyError> {
                Ok(($($name::read(from)?,)+))
            }
        }
    };
}
tuple_key!(A);
tuple_key!(A, B);
tuple_key!(A, B, C);
tuple_key!(A, B, C, D);
tuple_key!(A, B, C, D, E);

/// The first key behind all keys that start with `prefix`.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    Bytes::from(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Tuple = (String, i64, u32, String);

    fn encode(key: &Tuple) -> Bytes {
        let mut out = KeyWriter::table(7);
        key.write(&mut out);
        out.finish()
    }

    proptest! {
        #[test]
        fn encoding_keeps_order_and_reads_back(a: Tuple, b: Tuple) {
            let (ka, kb) = (encode(&a), encode(&b));
            prop_assert_eq!(a.cmp(&b), ka.cmp(&kb));
            let mut reader = KeyReader::new(&ka).unwrap();
            prop_assert_eq!(Tuple::read(&mut reader).unwrap(), a);
            reader.end().unwrap();
        }
    }

    #[test]
    fn a_prefix_ends_behind_all_its_keys() {
        assert_eq!(&prefix_end(b"a\xff")[..], b"b");
        assert_eq!(&prefix_end(b"ab")[..], b"ac");
    }
}
