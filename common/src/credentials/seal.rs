//! Sealing and opening.
//!
//! A sealed value is one byte for its form, 8 bytes for the key's id, 24 bytes of nonce, and what
//! XChaCha20-Poly1305 made of the secret. The nonce is random: of 24 bytes, so many can be drawn
//! without counting.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, Generate, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretString};

use super::key::{self, BadKey, KeyId, NoRandomness};
use crate::ids::Lane;

/// The first byte of a sealed value.
const FORM: u8 = 1;
const NONCE_BYTES: usize = 24;

/// Where a secret stands. Goes into the seal: a value that was moved elsewhere does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whose it is.
    pub lane: &'a Lane,
    /// The kind of row it is in.
    pub row: &'a str,
    /// What it is: the name of its column.
    pub what: &'a str,
}

impl Place<'_> {
    /// None of its parts has a line break.
    fn associated(&self) -> String {
        format!("syncline credential\n{}\n{}\n{}", self.lane, self.row, self.what)
    }
}

/// Why a sealed value cannot be opened. It stays as it is.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenError {
    /// The key is not among those of this process.
    #[error(
        "it is sealed under the key {0}, which is not among credentials.key_file: add that key as a further line"
    )]
    UnknownKey(KeyId),
    /// It was changed, or stood elsewhere when it was sealed.
    #[error("it was changed or moved since it was sealed: put it in again")]
    Tampered,
    /// It has another form: written by a newer version, or no sealed value at all.
    #[error("it is no sealed value of this version")]
    Form,
}

/// The keys of a process: the first seals, all open. Cheap to clone; never shown.
#[derive(Clone)]
pub struct Keyring {
    first: KeyId,
    ciphers: Arc<[(KeyId, XChaCha20Poly1305)]>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("first", &self.first).finish_non_exhaustive()
    }
}

impl Keyring {
    /// The keys of a text: one on each line, 32 bytes in hex or base64.
    ///
    /// # Errors
    ///
    /// [`BadKey`], which names a line and never its content.
    pub fn parse(text: &SecretString) -> Result<Self, BadKey> {
        let keys = key::parse(text)?;
        let ciphers: Arc<[_]> =
            keys.iter().map(|(id, key)| (*id, XChaCha20Poly1305::new((&**key).into()))).collect();
        let (first, _) = ciphers.first().ok_or(BadKey::None)?;
        Ok(Self { first: *first, ciphers })
    }

    /// The key that seals.
    pub fn first(&self) -> KeyId {
        self.first
    }

    /// Seals a secret for its place, under the first key.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn seal(&self, place: Place<'_>, secret: &SecretString) -> Result<Vec<u8>, NoRandomness> {
        let nonce = XNonce::try_generate().map_err(|_| NoRandomness)?;
        let (_, cipher) = self.ciphers.first().ok_or(NoRandomness)?;
        let (msg, aad) = (secret.expose_secret().as_bytes(), place.associated());
        let payload = Payload { msg, aad: aad.as_bytes() };
        // It fails for messages of 256 GB.
        let sealed = cipher.encrypt(&nonce, payload).map_err(|_| NoRandomness)?;
        Ok([&[FORM], self.first.as_bytes(), &nonce, &sealed].concat())
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    ///
    /// When the key is unknown, or the value is not what was sealed for this place.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<SecretString, OpenError> {
        let id = key_of(sealed).ok_or(OpenError::Form)?;
        let rest = sealed.get(1 + KeyId::BYTES..).ok_or(OpenError::Form)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES).ok_or(OpenError::Form)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| OpenError::Form)?;
        let (_, cipher) =
            self.ciphers.iter().find(|(known, _)| *known == id).ok_or(OpenError::UnknownKey(id))?;
        let aad = place.associated();
        let payload = Payload { msg: sealed, aad: aad.as_bytes() };
        let opened = cipher.decrypt(&nonce, payload).map_err(|_| OpenError::Tampered)?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| OpenError::Form)
    }

    /// Whether a sealed value is under another key than the first.
    pub fn is_old(&self, sealed: &[u8]) -> bool {
        key_of(sealed) != Some(self.first)
    }
}

/// The key that a value is sealed under; `None` where it is of another form.
fn key_of(sealed: &[u8]) -> Option<KeyId> {
    let (form, rest) = sealed.split_first()?;
    let (id, _) = rest.split_first_chunk()?;
    (*form == FORM).then_some(KeyId(*id))
}
