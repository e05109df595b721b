//! Rates as people write them.

use std::str::FromStr;

/// A rate per day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PerDay(pub(crate) f64);

/// More than any platform allows.
const MOST_PER_DAY: f64 = 1e12;

impl FromStr for PerDay {
    type Err = String;

    /// `1000/hour`: a number, a slash, and s, second, m, min, minute, h, hour, d, day or week.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no rate: write a number, a slash and a time, like 1000/hour, 50/s or 48000/day"
            )
        };
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let times_a_day = match unit.trim() {
            "s" | "sec" | "second" => 86_400.0,
            "m" | "min" | "minute" => 1_440.0,
            "h" | "hour" => 24.0,
            "d" | "day" => 1.0,
            "w" | "week" => 1.0 / 7.0,
            _ => return Err(wrong()),
        };
        let per_day = number.trim().parse::<f64>().map_err(|_| wrong())? * times_a_day;
        if (0.0..=MOST_PER_DAY).contains(&per_day) {
            Ok(Self(per_day))
        } else {
            Err(format!("{text:?}: must be 0 to 1e12 a day"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_time() {
        for (text, per_day) in [
            ("1000/hour", 24_000.0),
            ("50/s", 4_320_000.0),
            ("48000/day", 48_000.0),
            ("0.5/minute", 720.0),
            ("7 / week", 1.0),
            ("0/d", 0.0),
        ] {
            assert_eq!(text.parse(), Ok(PerDay(per_day)), "{text}");
        }
        for bad in ["", "1000", "1000/", "x/hour", "-1/hour", "NaN/hour", "inf/s", "1/fortnight"] {
            assert!(bad.parse::<PerDay>().is_err(), "{bad} was accepted");
        }
    }
}
