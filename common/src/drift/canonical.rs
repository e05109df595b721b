//! The one way to write down what counts of a record.
//!
//! The form of RFC 8785 (no white space, members in the order of their UTF-16 code units, doubles
//! as ECMAScript prints them) with one exception: an integer literal, one without `.`, `e` or `E`,
//! stays exact however large it is, where the RFC would round it to a double. Two ids that differ
//! in the twentieth digit are two ids. `-0` is `0`; `1.0` and `1e0` are `1`. Of members with the
//! same name the last one counts.

use std::fmt;

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::drift::raw::{elements, members};
use crate::drift::{Field, Shape};

/// Deepest nesting of arrays and objects in the part that counts.
pub const MAX_DEPTH: usize = 64;

/// Longest text that is read, in bytes.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What counts of a record, in its one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical(String);

impl Canonical {
    /// A text that is canonical.
    pub(super) fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The text, JSON itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// It is not JSON, or holds half of a surrogate pair.
    #[error("not JSON, at line {line} column {column}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A number such as `1e400`, which no double can hold.
    #[error("a number is too large for a double")]
    NumberTooLarge,
    /// More than [`MAX_DEPTH`] arrays and objects inside each other.
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Longer than [`MAX_BYTES`].
    #[error("longer than {MAX_BYTES} bytes")]
    TooLong,
}

impl From<serde_json::Error> for CanonicalError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }
}

/// Writes down what counts of `raw` when it does not matter when it was: [`canonical_at`] with a
/// time before all others, so that nothing is past.
///
/// # Errors
///
/// As [`canonical_at`].
pub fn canonical(raw: &str, shape: &Shape) -> Result<Canonical, CanonicalError> {
    canonical_at(raw, shape, Timestamp::MIN)
}

/// Writes down what counts of `raw`.
///
/// - `raw`: JSON as it came, of at most [`MAX_BYTES`].
/// - `shape`: [`Shape::Verbatim`] for all of it.
/// - `now`: when it was like this; decides what is past for [`Shape::Until`] and nothing else.
///
/// The canonical form of a canonical form is itself. What `shape` leaves out is checked for
/// syntax and not otherwise looked at.
///
/// # Errors
///
/// When `raw` is not JSON, or is too long, too deep or has a number too large for a double.
///
/// Source: RFC 8785 for strings, order and doubles.
pub fn canonical_at(raw: &str, shape: &Shape, now: Timestamp) -> Result<Canonical, CanonicalError> {
    if raw.len() > MAX_BYTES {
        return Err(CanonicalError::TooLong);
    }
    let value: &RawValue = serde_json::from_str(raw)?;
    let mut out = String::with_capacity(raw.len() / 2);
    write(&mut out, value, shape, now, 0)?;
    Ok(Canonical(out))
}

/// Writes one value. Each level reads the raw text below it again, because only the raw text has
/// all digits; with the bounds above that is at worst half a second.
fn write(
    out: &mut String,
    value: &RawValue,
    shape: &Shape,
    now: Timestamp,
    depth: usize,
) -> Result<(), CanonicalError> {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'{' | b'[') if depth == MAX_DEPTH => Err(CanonicalError::TooDeep),
        Some(b'{') => write_object(out, raw, shape, now, depth),
        Some(b'[') => write_array(out, raw, shape, now, depth),
        Some(b'"') => {
            write_string(out, &normal_string(raw, shape)?);
            Ok(())
        }
        Some(b'-' | b'0'..=b'9') => write_number(out, raw),
        _ => {
            out.push_str(raw); // true, false, null
            Ok(())
        }
    }
}

fn write_object(
    out: &mut String,
    raw: &str,
    shape: &Shape,
    now: Timestamp,
    depth: usize,
) -> Result<(), CanonicalError> {
    out.push('{');
    let mut first = true;
    for (name, value) in members(raw)? {
        let Some(member) = member_shape(shape, &name) else { continue };
        let null_counts = matches!(shape, Shape::Verbatim | Shape::Marks(_));
        if !null_counts && (value.get() == "null" || is_past(value, member, now)) {
            continue;
        }
        if !first {
            out.push(',');
        }
        first = false;
        write_string(out, &name);
        out.push(':');
        write(out, value, member, now, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

/// What counts of this member; `None` when it does not.
fn member_shape<'s>(shape: &'s Shape, name: &str) -> Option<&'s Shape> {
    match shape {
        Shape::Verbatim => Some(&Shape::Verbatim),
        Shape::Object(fields) | Shape::Marks(fields) => {
            fields.iter().find(|field| field.name == name).map(|Field { shape, .. }| shape)
        }
        _ => Some(&Shape::Whole),
    }
}

/// Whether what held until then holds no more.
fn is_past(value: &RawValue, shape: &Shape, now: Timestamp) -> bool {
    matches!(shape, Shape::Until)
        && serde_json::from_str::<Timestamp>(value.get()).is_ok_and(|until| until <= now)
}

fn write_array(
    out: &mut String,
    raw: &str,
    shape: &Shape,
    now: Timestamp,
    depth: usize,
) -> Result<(), CanonicalError> {
    let element_shape = match shape {
        Shape::List(of) | Shape::Set { of, .. } | Shape::NumberedSet { of, .. } => *of,
        Shape::Verbatim => &Shape::Verbatim,
        _ => &Shape::Whole,
    };
    let mut written = Vec::new();
    for value in elements(raw)? {
        let mut element = String::new();
        write(&mut element, value, element_shape, now, depth + 1)?;
        let key = match shape {
            Shape::Set { by: Some(by), .. } | Shape::NumberedSet { by: Some(by), .. } => {
                sort_key(&element, by)?
            }
            _ => String::new(),
        };
        written.push((key, element));
    }
    match shape {
        Shape::Set { .. } => written.sort(),
        Shape::NumberedSet { by, .. } => written.sort_by_cached_key(|(key, element)| {
            let number = number(if by.is_some() { key } else { element });
            (number, key.clone(), element.clone())
        }),
        _ => {}
    }
    out.push('[');
    for (n, (_, element)) in written.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push_str(element);
    }
    out.push(']');
    Ok(())
}

/// The value of the member `by` of an element that is canonical already; empty where it has none.
fn sort_key(element: &str, by: &str) -> Result<String, CanonicalError> {
    if !element.starts_with('{') {
        return Ok(String::new());
    }
    let key = members(element)?.into_iter().find(|(name, _)| name == by);
    Ok(key.map_or_else(String::new, |(_, value)| value.get().to_owned()))
}

/// The number that a literal or a text of digits stands for, so far as order goes: how many digits
/// it has, then the digits. What is no number comes last.
fn number(literal: &str) -> (usize, String) {
    let digits = literal.trim_matches('"').trim_start_matches('0');
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        (digits.len(), digits.to_owned())
    } else {
        (usize::MAX, String::new())
    }
}

/// The text of a string literal, with instants in UTC where the shape expects one, and URLs
/// without what stands before and after their path.
fn normal_string(raw: &str, shape: &Shape) -> Result<String, CanonicalError> {
    let text: String = serde_json::from_str(raw)?;
    Ok(match shape {
        Shape::Instant | Shape::Until => match text.parse::<Timestamp>() {
            Ok(instant) => instant.to_string(),
            Err(_) => text,
        },
        Shape::UrlPath => path(&text).to_owned(),
        _ => text,
    })
}

/// The path of a URL; what is no absolute URL only loses its query. The path of a path is itself.
fn path(url: &str) -> &str {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => url,
    }
}

/// Escapes what RFC 8785 section 3.2.2.2 escapes, and nothing else.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => {
                out.push_str("\\u00");
                out.push(if c < '\u{10}' { '0' } else { '1' });
                out.extend(char::from_digit(u32::from(c) % 16, 16));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

fn write_number(out: &mut String, raw: &str) -> Result<(), CanonicalError> {
    if !raw.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        out.push_str(if raw == "-0" { "0" } else { raw });
        return Ok(());
    }
    match raw.parse::<f64>() {
        Ok(double) if double.is_finite() => {
            out.push_str(ryu_js::Buffer::new().format_finite(double));
            Ok(())
        }
        _ => Err(CanonicalError::NumberTooLarge),
    }
}
