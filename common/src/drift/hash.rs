//! The hash of a canonical form.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::Xxh3;

use crate::drift::Canonical;

/// What counts of a record, in 128 bits of xxh3. Not a secret and not against forgers: it tells
/// whether the platform's record is the one that we hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 16]);

/// Hashes a record of one kind.
///
/// - `kind`: the record type; records of two kinds never compare equal.
/// - `schema_version`: raised with the shape, so that hashes made under an older one differ.
pub fn content_hash(kind: &str, schema_version: u16, canonical: &Canonical) -> ContentHash {
    let mut hasher = Xxh3::new();
    hasher.update(&schema_version.to_be_bytes());
    hasher.update(kind.as_bytes());
    hasher.update(&[0]); // ends the kind: no name has a zero byte
    hasher.update(canonical.as_str().as_bytes());
    ContentHash(hasher.digest128().to_be_bytes())
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

/// A text that is no hash.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no content hash: write 32 hexadecimal digits")]
pub struct InvalidContentHash(String);

impl FromStr for ContentHash {
    type Err = InvalidContentHash;

    fn from_str(text: &str) -> Result<Self, InvalidContentHash> {
        let mut bytes = [0; 16];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(InvalidContentHash(text.chars().take(40).collect())),
        }
    }
}

impl From<[u8; 16]> for ContentHash {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for ContentHash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{Shape, canonical};

    fn hash(kind: &str, version: u16, raw: &str) -> ContentHash {
        content_hash(kind, version, &canonical(raw, &Shape::Verbatim).unwrap())
    }

    #[test]
    fn a_hash_depends_on_content_kind_and_schema() {
        let one = hash("profile", 1, r#"{"a":1}"#);
        assert_eq!(one, hash("profile", 1, r#" { "a" : 1.0 } "#));
        assert_ne!(one, hash("profile", 1, r#"{"a":2}"#));
        assert_ne!(one, hash("profile", 2, r#"{"a":1}"#));
        assert_ne!(one, hash("order", 1, r#"{"a":1}"#));
    }

    /// A hash that changes by accident makes every record of every mirror look changed.
    #[test]
    fn a_hash_is_the_same_in_every_release() {
        insta::assert_snapshot!(hash("profile", 1, r#"{"a":1}"#), @"c43fc441765b248c5838dd678d462142");
    }

    #[test]
    fn a_hash_is_written_in_hex_and_read_back() {
        let one = hash("profile", 1, "{}");
        assert_eq!(one.to_string().len(), 32);
        assert_eq!(one.to_string().parse(), Ok(one));
        for bad in ["", "00", &"g".repeat(32), &"0".repeat(33)] {
            assert!(bad.parse::<ContentHash>().is_err(), "{bad:?} was accepted");
        }
    }
}
