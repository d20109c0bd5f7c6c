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

    fn letters<const N: usize>(&self) -> String {
        let letter = |byte: u8| LETTERS.get(usize::from(byte) % LETTERS.len()).copied().map_or('A', char::from);
        self.bytes::<N>().into_iter().map(letter).collect()
    }
}
