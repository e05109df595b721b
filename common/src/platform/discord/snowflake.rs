//! Discord's ids: 64 bits, written as text.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// An id. Compared as a number: as text, `9` would come after `10`, and as a double the last
/// digits would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Snowflake(pub(super) u64);

impl Snowflake {
    /// The id that this text is the one way to write. Zero is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let plain = !text.starts_with(['0', '+']);
        text.parse().ok().filter(|_| plain).map(Self)
    }
}

impl fmt::Display for Snowflake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Snowflake {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not an id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number_in_its_one_form_and_compared_as_one() {
        for text in ["1", "810000000000000001", "18446744073709551615"] {
            assert_eq!(Snowflake::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "0", "007", "+7", "-7", " 7", "7.0", "1e3", "18446744073709551616", "a"] {
            assert_eq!(Snowflake::parse(bad), None, "{bad:?}");
        }
        assert!(Snowflake::parse("9") < Snowflake::parse("10"));
        // Equal as doubles.
        assert!(Snowflake::parse("810000000000000001") > Snowflake::parse("810000000000000000"));
    }
}
