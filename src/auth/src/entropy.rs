//! Everything random comes from the one generator that was injected.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use rand::CryptoRng;
use ruma::OwnedDeviceId;

const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const DEVICE_ID_LENGTH: usize = 10;

/// Makes tokens, ids and salts.
pub(crate) struct Entropy(Mutex<Box<dyn CryptoRng + Send>>);

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

impl Entropy {
    pub(crate) fn new(rng: impl CryptoRng + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(rng)))
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().fill_bytes(&mut bytes);
        bytes
    }

    /// 256 random bits after a prefix by which leaked tokens can be found.
    pub(crate) fn token(&self, prefix: &str) -> String {
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(self.bytes::<32>()))
    }

    /// 144 random bits.
    pub(crate) fn session_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<18>())
    }

    pub(crate) fn device_id(&self) -> OwnedDeviceId {
        self.letters::<DEVICE_ID_LENGTH>().into()
    }

    /// The localpart of an account whose owner did not choose one.
    pub(crate) fn localpart(&self) -> String {
        self.letters::<12>().to_lowercase()
    }

    /// A code that people type, of 34 random bits: consonants alone, so that it spells nothing.
    pub(crate) fn user_code(&self) -> String {
        const CONSONANTS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
        // Of two bytes each letter is as likely as another, but for one in three thousand.
        let letter = |pair: [u8; 2]| {
            let index = usize::from(u16::from_be_bytes(pair)) % CONSONANTS.len();
            CONSONANTS.get(index).copied().map_or('B', char::from)
        };
        let pairs = [self.bytes::<8>(), self.bytes::<8>()];
        let half = |bytes: [u8; 8]| {
            let (pairs, _) = bytes.as_chunks::<2>();
            pairs.iter().copied().map(letter).collect::<String>()
        };
        pairs.map(half).join("-")
    }

    fn letters<const N: usize>(&self) -> String {
        let letter = |byte: u8| LETTERS.get(usize::from(byte) % LETTERS.len()).copied().map_or('A', char::from);
        self.bytes::<N>().into_iter().map(letter).collect()
    }
}
