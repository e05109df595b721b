//! Names and numbers that must not be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// A kind of record on a platform: `profile`, `attendee`.
    RecordType
}
text_id! {
    /// A record's id on its platform. Where a platform needs a parent to find it, the parent
    /// comes first: `880011223344/12100200301` is an attendee of an event.
    ExternalId
}

/// The row number of a connection in Postgres.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct ConnectionId(pub i32);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that only grows, handed out with each lease and carried by every write under it.
///
/// It is the Redis server's time in microseconds, or one more than the last fence where that is
/// larger; so it grows across a lost Redis too, and fits the 53 bits that Lua's numbers hold.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Fence(pub i64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All the work of one connection: `klaviyo/main`. The unit to which quotas, pauses and fairness
/// apply, and the connection's name everywhere outside Postgres.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type,
)]
#[serde(try_from = "String", into = "String")]
#[sqlx(transparent)]
pub struct Lane(String);

/// A text that does not name a lane.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} does not name a connection: write <platform>/<name> in lower case letters, digits, - and _, 64 at most each"
)]
pub struct InvalidLane(String);

impl Lane {
    /// The platform's name, the part before the slash.
    pub fn platform(&self) -> &str {
        self.0.split_once('/').map_or("", |(platform, _)| platform)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Lane {
    type Err = InvalidLane;

    fn from_str(text: &str) -> Result<Self, InvalidLane> {
        let word = |part: &str| {
            (1..=64).contains(&part.len())
                && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
        };
        match text.split_once('/') {
            Some((platform, name)) if word(platform) && word(name) => Ok(Self(text.to_owned())),
            _ => Err(InvalidLane(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Lane {
    type Error = InvalidLane;

    fn try_from(text: String) -> Result<Self, InvalidLane> {
        text.parse()
    }
}

impl From<Lane> for String {
    fn from(lane: Lane) -> Self {
        lane.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_a_platform_and_a_name() {
        let lane: Lane = "klaviyo/main".parse().unwrap();
        assert_eq!(lane.platform(), "klaviyo");
        for bad in ["", "klaviyo", "/main", "klaviyo/", "a/b/c", "Klaviyo/main", "a/b c", "a/{b}"] {
            assert!(bad.parse::<Lane>().is_err(), "{bad:?} was accepted");
        }
    }
}
