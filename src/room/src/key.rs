//! A server's signing key. [Signing JSON](https://spec.matrix.org/v1.19/appendices/#signing-json).

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use ruma::{
    SigningKeyId,
    signatures::{KeyPair, Signature},
};

/// An ed25519 key with its version. Signing is most of what a small event costs, so it is done by the library that is fastest
/// at it; the signatures are those of any other (RFC 8032 leaves no choice).
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
    version: String,
    id: ruma::OwnedSigningKeyId<ruma::AnyKeyName>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A signing key or its version is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid signing key")]
pub struct InvalidKey;

impl SigningKey {
    /// The key of a 32-byte seed. `version` is the part of the key's id after `ed25519:`.
    ///
    /// # Errors
    /// [`InvalidKey`] if `version` has characters other than ASCII letters, digits and `_`, or none.
    pub fn from_seed(seed: &[u8; 32], version: &str) -> Result<Self, InvalidKey> {
        Self::new(Ed25519KeyPair::from_seed_unchecked(seed), version)
    }

    /// The key in a PKCS #8 document (RFC 8410), with or without its public half.
    ///
    /// # Errors
    /// [`InvalidKey`] if there is no such key in it, and as [`SigningKey::from_seed`].
    pub fn from_pkcs8(document: &[u8], version: &str) -> Result<Self, InvalidKey> {
        Self::new(Ed25519KeyPair::from_pkcs8_maybe_unchecked(document), version)
    }

    fn new<E>(pair: Result<Ed25519KeyPair, E>, version: &str) -> Result<Self, InvalidKey> {
        let is_valid = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let pair = pair.ok().filter(|_| is_valid).ok_or(InvalidKey)?;
        let id = SigningKeyId::parse(format!("ed25519:{version}")).map_err(|_| InvalidKey)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| InvalidKey)?;
        Ok(Self { pair, public, version: version.to_owned(), id })
    }

    /// The part of the key's id after `ed25519:`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The public half.
    pub fn public_key(&self) -> [u8; 32] {
        self.public
    }
}

impl KeyPair for SigningKey {
    fn sign(&self, message: &[u8]) -> Signature {
        Signature::new(self.id.clone(), self.pair.sign(message).as_ref().to_vec())
    }
}
