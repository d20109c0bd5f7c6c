//! Providers' refresh tokens, encrypted: who reads the database alone cannot use them.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use crate::{config::Secret, entropy::Entropy};

/// What the key of a [`Sealer`] is made of.
pub const SEAL_KEY_LENGTH: usize = 32;

/// Encrypts and decrypts with ChaCha20-Poly1305.
pub(crate) struct Sealer(LessSafeKey);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// None only if the algorithm does not take keys of this length.
    pub(crate) fn new(key: &[u8; SEAL_KEY_LENGTH]) -> Option<Self> {
        UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// Nonce, ciphertext and tag in base64. It opens only for the same owner.
    pub(crate) fn seal(&self, text: &Secret, owner: &[&str], entropy: &Entropy) -> Option<String> {
        let nonce: [u8; NONCE_LEN] = entropy.bytes();
        let mut sealed = text.reveal().as_bytes().to_vec();
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(owner), &mut sealed).ok()?;
        let mut out = nonce.to_vec();
        out.append(&mut sealed);
        Some(STANDARD_NO_PAD.encode(out))
    }

    pub(crate) fn open(&self, sealed: &str, owner: &[&str]) -> Option<Secret> {
        let bytes = STANDARD_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let text = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), aad(owner), &mut sealed).ok()?;
        String::from_utf8(text.to_vec()).ok().map(Secret::from)
    }
}

/// Parts with their lengths, so that no two owners are the same text.
fn aad(owner: &[&str]) -> Aad<Vec<u8>> {
    let mut out = Vec::new();
    for part in owner {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    Aad::from(out)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn a_sealed_text_opens_with_its_key_for_its_owner_only() {
        let entropy = Entropy::new(StdRng::seed_from_u64(1));
        let (own, other) = (Sealer::new(&[1; 32]).unwrap(), Sealer::new(&[2; 32]).unwrap());
        let secret = Secret::from("refresh".to_owned());
        let sealed = own.seal(&secret, &["issuer", "ann"], &entropy).unwrap();
        assert!(!sealed.contains("refresh"));
        assert_ne!(own.seal(&secret, &["issuer", "ann"], &entropy).unwrap(), sealed);
        assert_eq!(own.open(&sealed, &["issuer", "ann"]), Some(secret));
        assert_eq!(own.open(&sealed, &["issuer", "bob"]), None);
        assert_eq!(own.open(&sealed, &["issuera", "nn"]), None);
        assert_eq!(other.open(&sealed, &["issuer", "ann"]), None);
        assert_eq!(own.open("", &["issuer", "ann"]), None);
    }
}
