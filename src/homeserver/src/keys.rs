//! The key that signs this server's events: made at the first start, kept in the data folder with those that were used before it.
//! [Signing keys](https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys).

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use federation::OldKey;
use rand::RngExt as _;
use room::SigningKey;
use ruma::signatures::Ed25519KeyPair;
use serde::{Deserialize, Serialize};

use crate::error::StartError;

#[derive(Serialize, Deserialize)]
struct KeyFile {
    /// The version: what stands behind `ed25519:` in key ids.
    version: String,
    /// The PKCS#8 document, hexadecimal.
    pkcs8: String,
    /// Those that were used before, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    old: Vec<OldKeyEntry>,
}

#[derive(Serialize, Deserialize)]
struct SealKeyFile {
    /// The key, hexadecimal.
    key: String,
}

#[derive(Serialize, Deserialize)]
struct OldKeyEntry {
    version: String,
    pkcs8: String,
    /// When it went out of use, in milliseconds since the Unix epoch.
    expired_ts: u64,
}

/// This server's keys.
pub struct Keys {
    /// The one that signs.
    pub current: SigningKey,
    /// Those that signed before.
    pub old: Vec<OldKey>,
}

/// Reads the keys, or makes one where there is none.
pub fn load_or_make(data_dir: &Path) -> Result<Keys, StartError> {
    let path = path(data_dir);
    let file = if path.exists() {
        read(&path)?
    } else {
        let (version, pkcs8) = make(&[]);
        let file = KeyFile { version, pkcs8, old: Vec::new() };
        write(&path, &file)?;
        file
    };
    let current = parse(&path, &file.version, &file.pkcs8)?;
    let old = file.old.iter().map(|old| {
        let key = parse(&path, &old.version, &old.pkcs8)?;
        Ok(OldKey { version: old.version.clone(), public_key: key.public_key(), expired_ms: old.expired_ts })
    });
    Ok(Keys { current, old: old.collect::<Result<_, StartError>>()? })
}

/// Makes a new key; the one in use goes out of use at `now_ms`. Returns the new one's version.
pub fn rotate(data_dir: &Path, now_ms: u64) -> Result<String, StartError> {
    let path = path(data_dir);
    let KeyFile { version, pkcs8, mut old } = read(&path)?;
    old.push(OldKeyEntry { version, pkcs8, expired_ts: now_ms });
    let (version, pkcs8) = make(&old);
    write(&path, &KeyFile { version: version.clone(), pkcs8, old })?;
    Ok(version)
}

/// The key that encrypts what other services entrust to this server: made when it is needed first.
pub fn load_or_make_seal_key(data_dir: &Path) -> Result<[u8; auth::SEAL_KEY_LENGTH], StartError> {
    let path = data_dir.join("seal-key.json");
    let file: SealKeyFile = if path.exists() {
        let text = std::fs::read_to_string(&path).map_err(StartError::Io)?;
        serde_json::from_str(&text).map_err(|error| refused(&path, error))?
    } else {
        let file = SealKeyFile { key: encode(&rand::rng().random::<[u8; auth::SEAL_KEY_LENGTH]>()) };
        write(&path, &file)?;
        file
    };
    let key = decode(&file.key).and_then(|bytes| bytes.try_into().ok());
    key.ok_or_else(|| refused(&path, "not 32 bytes in hexadecimal"))
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("signing-key.json")
}

fn refused(path: &Path, why: impl ToString) -> StartError {
    StartError::Key(path.display().to_string(), why.to_string())
}

fn read(path: &Path) -> Result<KeyFile, StartError> {
    let text = std::fs::read_to_string(path).map_err(StartError::Io)?;
    serde_json::from_str(&text).map_err(|error| refused(path, error))
}

fn parse(path: &Path, version: &str, pkcs8: &str) -> Result<SigningKey, StartError> {
    let der = decode(pkcs8).ok_or_else(|| refused(path, "not hexadecimal"))?;
    SigningKey::from_pkcs8(&der, version).map_err(|error| refused(path, error))
}

/// A new key: its version, which none of the old ones has, and its PKCS#8 document.
fn make(old: &[OldKeyEntry]) -> (String, String) {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut rng = rand::rng();
    let version = loop {
        let version: String = (0..6)
            .filter_map(|_| LETTERS.get(rng.random_range(0..LETTERS.len())))
            .map(|letter| char::from(*letter))
            .collect();
        if old.iter().all(|old| old.version != version) {
            break version;
        }
    };
    let der = Ed25519KeyPair::generate();
    (version, encode(&der))
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Whole or not at all: a server that lost half its key would have to give up its rooms.
fn write(path: &Path, file: &impl Serialize) -> Result<(), StartError> {
    let text = serde_json::to_string_pretty(file).map_err(|error| StartError::Io(error.into()))?;
    let fresh = path.with_extension("new");
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(StartError::Io)?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(StartError::Io)?;
    std::fs::rename(&fresh, path).map_err(StartError::Io)?;
    if let Some(folder) = path.parent() {
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(StartError::Io)?;
    }
    Ok(())
}

fn decode(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ruma::signatures::KeyPair as _;

    use super::*;

    #[test]
    fn the_key_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let first = load_or_make(folder.path()).unwrap().current.sign(b"x");
        let second = load_or_make(folder.path()).unwrap().current.sign(b"x");
        assert_eq!((first.id(), first.base64()), (second.id(), second.base64()));
    }

    #[test]
    fn the_seal_key_stays_the_same_and_a_broken_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = load_or_make_seal_key(folder.path()).unwrap();
        assert_eq!(load_or_make_seal_key(folder.path()).unwrap(), first);
        assert_ne!(load_or_make_seal_key(tempfile::tempdir().unwrap().path()).unwrap(), first);
        std::fs::write(folder.path().join("seal-key.json"), "{\"key\":\"00\"}").unwrap();
        assert!(load_or_make_seal_key(folder.path()).is_err());
    }

    #[test]
    fn a_new_key_leaves_the_old_ones_known() {
        let folder = tempfile::tempdir().unwrap();
        let first = load_or_make(folder.path()).unwrap().current;
        let version = rotate(folder.path(), 5).unwrap();
        rotate(folder.path(), 9).unwrap();
        let keys = load_or_make(folder.path()).unwrap();
        assert_ne!(keys.current.version(), version);
        let old: Vec<_> = keys.old.iter().map(|old| (old.version.as_str(), old.expired_ms)).collect();
        assert_eq!(old, [(first.version(), 5), (version.as_str(), 9)]);
        assert_eq!(keys.old.first().unwrap().public_key, first.public_key());
    }
}
