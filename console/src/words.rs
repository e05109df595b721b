//! Numbers as people read them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// `850ms`, `12s`, `3m 4s`, `2h 5m`, `3d 4h`: no finer than anybody needs.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match seconds {
        0 if duration.is_zero() => "0s".to_owned(),
        0 => format!("{}ms", duration.as_millis().max(1)),
        1..3600 => format!("{:#}", SignedDuration::from_secs(seconds)),
        3600..172_800 => format!("{:#}", SignedDuration::from_secs(seconds - seconds % 60)),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long ago something was, by the clock of the same server.
pub(crate) fn age(now: Timestamp, at: Timestamp) -> String {
    duration(Duration::try_from(now.duration_since(at)).unwrap_or_default())
}

/// `1.25 %`; an unbreakable space.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2}\u{202f}%", 100.0 * share)
}

/// `1 234 567`, with spaces that do not break.
pub(crate) fn count(count: &impl ToString) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position != 0 && position % 3 == first {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_coarse_as_they_are_long() {
        let cases = [
            (Duration::ZERO, "0s"),
            (Duration::from_micros(3), "1ms"),
            (Duration::from_millis(850), "850ms"),
            (Duration::from_millis(12_400), "12s"),
            (Duration::from_secs(184), "3m 4s"),
            (Duration::from_secs(7503), "2h 5m"),
            (Duration::from_hours(47), "47h"),
            (Duration::from_secs(76 * 3600 + 59), "3d 4h"),
        ];
        for (length, expected) in cases {
            assert_eq!(duration(length), expected);
        }
        assert!(duration(Duration::MAX).ends_with('h'));
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(count(&0), "0");
        assert_eq!(count(&999), "999");
        assert_eq!(count(&1_000), "1\u{202f}000");
        assert_eq!(count(&1_234_567), "1\u{202f}234\u{202f}567");
    }
}
