//! Keys: how they are written, made and told apart.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::Generate;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// More keys than a rotation ever needs.
const MOST_KEYS: usize = 16;
/// Bytes of an endpoint id before it is written in hex.
const ENDPOINT_ID_BYTES: usize = 24;

/// 32 random bytes, gone from memory when dropped.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// Which key a value was sealed under: the first eight bytes of a hash of the key, from which
/// nothing about it follows. In hex for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; KeyId::BYTES]);

impl KeyId {
    /// Its length.
    pub const BYTES: usize = 8;

    fn of(key: &Key) -> Self {
        let hash = Sha256::new()
            .chain_update(b"syncline key id\n")
            .chain_update(key.as_slice())
            .finalize();
        let mut id = [0; Self::BYTES];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(id)
    }

    /// As it stands in a sealed value.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A text that holds no keys. Says nothing of its content.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadKey {
    /// Nothing but empty lines and comments.
    #[error("holds no key: make one with syncline new-key, or with openssl rand -hex 32")]
    None,
    /// Neither 64 digits of hex nor base64 of 32 bytes.
    #[error(
        "line {0} is no key: a line is 32 bytes in hex (64 digits) or in base64; make one with syncline new-key"
    )]
    Line(usize),
    /// The same key stands there twice.
    #[error("line {0} repeats a key: each stands there once, the one that seals first")]
    Twice(usize),
    /// Too many lines.
    #[error("holds more than {MOST_KEYS} keys: run syncline rotate-key and remove the old ones")]
    TooMany,
}

/// The system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// The keys of a text with one on each line; the first seals, all open. Empty lines and those that
/// begin with `#` do not count.
pub(super) fn parse(text: &SecretString) -> Result<Vec<(KeyId, Key)>, BadKey> {
    let mut keys: Vec<(KeyId, Key)> = Vec::new();
    for (n, line) in text.expose_secret().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = decode(line).ok_or(BadKey::Line(n + 1))?;
        let id = KeyId::of(&key);
        if keys.iter().any(|(known, _)| *known == id) {
            return Err(BadKey::Twice(n + 1));
        }
        if keys.len() == MOST_KEYS {
            return Err(BadKey::TooMany);
        }
        keys.push((id, key));
    }
    if keys.is_empty() { Err(BadKey::None) } else { Ok(keys) }
}

fn decode(line: &str) -> Option<Key> {
    let from_base64 = || {
        [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
            .iter()
            .find_map(|e| e.decode(line).ok())
    };
    let bytes = Zeroizing::new(hex::decode(line).ok().or_else(from_base64)?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

/// A new key, as a line of a key file.
///
/// # Errors
///
/// When the system gives no random bytes.
pub fn new_key() -> Result<SecretString, NoRandomness> {
    let key: Key = Zeroizing::new(<[u8; 32]>::try_generate().map_err(|_| NoRandomness)?);
    Ok(hex::encode(key.as_slice()).into())
}

/// The last part of a webhook's address, which nobody can guess.
///
/// # Errors
///
/// When the system gives no random bytes.
pub fn new_endpoint_id() -> Result<SecretString, NoRandomness> {
    let id = <[u8; ENDPOINT_ID_BYTES]>::try_generate().map_err(|_| NoRandomness)?;
    Ok(hex::encode(id).into())
}
