//! Durations as people write them: `500ms`, `30s`, `1h30m`.

use std::time::Duration;

use jiff::fmt::friendly::{Spacing, SpanParser, SpanPrinter};
use serde::{Deserialize, Deserializer, Serializer, de};

/// No setting is longer than this: a longer one is a slip of the unit.
const LONGEST: Duration = Duration::from_hours(31 * 24);

pub(super) fn parse(text: &str) -> Result<Duration, &'static str> {
    let duration = SpanParser::new()
        .parse_unsigned_duration(text)
        .map_err(|_| "is no duration: write a number with its unit, like 500ms, 30s, 5m or 1h")?;
    if duration > LONGEST { Err("is longer than 31 days: check the unit") } else { Ok(duration) }
}

pub(super) fn show(duration: Duration) -> String {
    SpanPrinter::new().spacing(Spacing::None).unsigned_duration_to_string(&duration)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(from)?).map_err(de::Error::custom)
}

pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&show(*duration))
}

/// The same for a setting that may be left out.
pub(super) mod optional {
    use super::{Deserialize, Deserializer, Duration, Serializer, de};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| super::parse(&text).map_err(de::Error::custom))
            .transpose()
    }

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => to.serialize_some(&super::show(*duration)),
            None => to.serialize_none(),
        }
    }
}

/// The same for a list that may be left out.
pub(super) mod list {
    use super::{Deserialize, Deserializer, Duration, Serializer, de};

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<Duration>>, D::Error> {
        Option::<Vec<String>>::deserialize(from)?
            .map(|texts| texts.iter().map(|text| super::parse(text)).collect())
            .transpose()
            .map_err(de::Error::custom)
    }

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(in super::super) fn serialize<S: Serializer>(
        durations: &Option<Vec<Duration>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match durations {
            Some(durations) => to.collect_seq(durations.iter().map(|d| super::show(*d))),
            None => to.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let cases = [
            ("500ms", Duration::from_millis(500)),
            ("30s", Duration::from_secs(30)),
            ("5m", Duration::from_mins(5)),
            ("1h30m", Duration::from_mins(90)),
            ("1h 30m", Duration::from_mins(90)),
            ("0s", Duration::ZERO),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
            assert_eq!(parse(&show(expected)), Ok(expected), "{text}");
        }
        for text in ["", "30", "-1s", "soon", "1000h"] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
