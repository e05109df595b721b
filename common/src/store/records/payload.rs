//! JSON as a platform sends it, made fit for a `jsonb` column.

use std::borrow::Cow;

/// What stands for a character that jsonb cannot hold.
const REPLACEMENT: &str = "\\ufffd";
/// Longer numbers are kept as text. `numeric` ends at 131,072 digits before the point and 16,383
/// after it; no platform means a number beyond this.
const MAX_NUMBER_BYTES: usize = 1_000;
/// Digits of an exponent above which a number is kept as text, for the same reason.
const MAX_EXPONENT_DIGITS: usize = 3;

/// `json` with the few things replaced that Postgres refuses in `jsonb`; usually `json` itself.
///
/// - The escape `\u0000` and single halves of surrogate pairs become `\ufffd`.
/// - Numbers beyond the range of `numeric` become strings of their digits.
///
/// One such character in one record would otherwise stop the page it is on for ever. Only the
/// stored copy is changed: content hashes are made from the original.
pub(super) fn storable(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0; // `json` up to here is in `out`
    let mut at = 0;
    let mut in_string = false;
    while let Some(rest) = json.as_bytes().get(at..)
        && let Some(byte) = rest.first()
    {
        let (length, replacement) = match byte {
            b'"' => {
                in_string = !in_string;
                (1, None)
            }
            b'\\' => escape(rest),
            b'-' | b'0'..=b'9' if !in_string => number(rest),
            _ => (1, None),
        };
        if let Some(replacement) = replacement {
            out.push_str(json.get(copied..at).unwrap_or_default());
            out.push_str(&replacement);
            copied = at + length;
        }
        at += length;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// The length in bytes of the escape at the start of `rest`, and what must stand in its place.
fn escape(rest: &[u8]) -> (usize, Option<Cow<'static, str>>) {
    let unit = |at| {
        let escape = rest.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(escape).ok()?, 16).ok()
    };
    match (unit(0), unit(6)) {
        (None, _) => (2, None),
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, None),
        (Some(0 | 0xD800..=0xDFFF), _) => (6, Some(REPLACEMENT.into())),
        (Some(_), _) => (6, None),
    }
}

/// The length in bytes of the number at the start of `rest`, and what must stand in its place.
fn number(rest: &[u8]) -> (usize, Option<Cow<'static, str>>) {
    let digits = rest
        .split(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        .next()
        .unwrap_or_default();
    let exponent = digits.iter().position(|byte| matches!(byte, b'e' | b'E')).map_or(0, |e| {
        digits.iter().skip(e + 1).skip_while(|byte| matches!(byte, b'+' | b'-' | b'0')).count()
    });
    let replacement = (digits.len() > MAX_NUMBER_BYTES || exponent > MAX_EXPONENT_DIGITS)
        .then(|| format!("\"{}\"", String::from_utf8_lossy(digits)).into());
    (digits.len(), replacement)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_jsonb_refuses_is_replaced() {
        // as it came, as it is stored
        let cases = [
            (r#"{"a":"x\u0000y"}"#, r#"{"a":"x\ufffdy"}"#),
            (r#"{"\u0000":1}"#, r#"{"\ufffd":1}"#),
            (r#"["\ud83d\ude00"]"#, r#"["\ud83d\ude00"]"#),
            (r#"["\uD83Dx\uDE00"]"#, r#"["\ufffdx\ufffd"]"#),
            (r#"["\ud83d\ud83d\ude00"]"#, r#"["\ufffd\ud83d\ude00"]"#),
            (r#"["\\u0000","\"\\"]"#, r#"["\\u0000","\"\\"]"#),
            (r"[1e999,-2.5E-0000007]", r"[1e999,-2.5E-0000007]"),
            (r"[1e1000,-1E+200000]", r#"["1e1000","-1E+200000"]"#),
            (r#"["1e1000 ä"]"#, r#"["1e1000 ä"]"#),
        ];
        for (came, stored) in cases {
            assert_eq!(storable(came), stored, "{came}");
        }
        let long = "9".repeat(1_001);
        assert_eq!(storable(&long), format!("\"{long}\""));
    }

    #[test]
    fn what_can_be_stored_is_not_copied() {
        assert!(matches!(storable(r#"{"id":"01J","n":[1,2.5]}"#), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_to_its_end(text in r#"["\\\\u0-9a-fdD{}:,.eE+ äx-]{0,60}"#) {
            let stored = storable(&text);
            prop_assert!(!stored.is_empty() || text.is_empty());
        }
    }
}
