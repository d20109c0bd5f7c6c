//! The key that signs this server's events: made at the first start, kept in the data folder.
//! [Signing keys](https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys).

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

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
}

/// Reads the key, or makes one where there is none.
pub fn load_or_make(data_dir: &Path) -> Result<SigningKey, StartError> {
    let path = data_dir.join("signing-key.json");
    let refused = |why: String| StartError::Key(path.display().to_string(), why);
    let file = if path.exists() {
        let text = std::fs::read_to_string(&path).map_err(StartError::Io)?;
        serde_json::from_str::<KeyFile>(&text).map_err(|error| refused(error.to_string()))?
    } else {
        make(&path)?
    };
    let der = decode(&file.pkcs8).ok_or_else(|| refused("not hexadecimal".to_owned()))?;
    SigningKey::from_pkcs8(&der, &file.version).map_err(|error| refused(error.to_string()))
}

fn make(path: &PathBuf) -> Result<KeyFile, StartError> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut rng = rand::rng();
    let version: String = (0..6)
        .filter_map(|_| LETTERS.get(rng.random_range(0..LETTERS.len())))
        .map(|letter| char::from(*letter))
        .collect();
    let der = Ed25519KeyPair::generate();
    let pkcs8 = der.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let file = KeyFile { version, pkcs8 };
    let text = serde_json::to_string_pretty(&file).map_err(|error| StartError::Io(error.into()))?;
    // Whole or not at all: a server that lost half its key would have to give up its rooms.
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
    Ok(file)
}

fn decode(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ruma::signatures::KeyPair as _;

    #[test]
    fn the_key_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let first = super::load_or_make(folder.path()).unwrap().sign(b"x");
        let second = super::load_or_make(folder.path()).unwrap().sign(b"x");
        assert_eq!((first.id(), first.base64()), (second.id(), second.base64()));
    }
}
