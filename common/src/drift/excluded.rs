//! Fields that a person excluded from the comparison.

use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

use crate::drift::raw::{elements, members};
use crate::drift::{Canonical, CanonicalError};

/// The most fields of one record type that can be excluded.
pub const MAX_EXCLUDED: usize = 100;

/// Fields of a record type that do not count, whatever its shape says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excluded {
    /// As given, sorted.
    pointers: Vec<String>,
    /// Their steps.
    paths: Vec<Vec<String>>,
}

/// A text that names no field.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidExclusion {
    /// It is no JSON Pointer to something inside a record.
    #[error(
        "{0:?} is no JSON Pointer to a field: write /attributes/last_seen; * stands for any step"
    )]
    Pointer(String),
    /// There are more than [`MAX_EXCLUDED`].
    #[error("more than {MAX_EXCLUDED} fields are excluded")]
    TooMany,
}

impl Excluded {
    /// - `pointers`: JSON Pointers (RFC 6901) into the canonical form, as a difference names them;
    ///   a step `*` stands for every member or element.
    ///
    /// # Errors
    ///
    /// When one names no field, or they are too many.
    pub fn new(pointers: impl IntoIterator<Item = String>) -> Result<Self, InvalidExclusion> {
        let mut pointers: Vec<String> = pointers.into_iter().take(MAX_EXCLUDED + 1).collect();
        pointers.sort();
        pointers.dedup();
        if pointers.len() > MAX_EXCLUDED {
            return Err(InvalidExclusion::TooMany);
        }
        let paths = pointers.iter().map(|pointer| steps(pointer)).collect::<Result<_, _>>()?;
        Ok(Self { pointers, paths })
    }

    /// Whether all that the shape names counts.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The pointers, sorted.
    pub fn pointers(&self) -> &[String] {
        &self.pointers
    }

    /// The version of the rules that a hash is made by: the shape's own, and in the upper half
    /// what was excluded, so that hashes with and without it are never compared.
    pub fn version(&self, schema_version: u16) -> i32 {
        if self.is_empty() {
            return i32::from(schema_version);
        }
        // Newlines stand in no pointer's middle by accident: two sets that differ hash apart.
        let print = xxh3_64(self.pointers.join("\n").as_bytes()) & 0x7fff;
        let upper = i32::try_from(print).unwrap_or(1).max(1);
        upper << 16 | i32::from(schema_version)
    }

    /// `canonical` without them.
    ///
    /// # Errors
    ///
    /// None for forms of this release.
    pub fn without(&self, canonical: Canonical) -> Result<Canonical, CanonicalError> {
        if self.is_empty() {
            return Ok(canonical);
        }
        let value: &RawValue = serde_json::from_str(canonical.as_str())?;
        let paths: Vec<&[String]> = self.paths.iter().map(Vec::as_slice).collect();
        let mut out = String::with_capacity(canonical.as_str().len());
        write(&mut out, value, &paths)?;
        Ok(Canonical::from_text(out))
    }
}

fn steps(pointer: &str) -> Result<Vec<String>, InvalidExclusion> {
    let invalid = || InvalidExclusion::Pointer(pointer.chars().take(200).collect());
    let rest = pointer.strip_prefix('/').filter(|rest| !rest.is_empty()).ok_or_else(invalid)?;
    if pointer.len() > 1_000 {
        return Err(invalid());
    }
    Ok(rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

/// As deep as a canonical form can be; the depth was bounded when it was made.
fn write(out: &mut String, value: &RawValue, paths: &[&[String]]) -> Result<(), CanonicalError> {
    let raw = value.get();
    let (open, close, inside) = match raw.as_bytes().first() {
        Some(b'{') if !paths.is_empty() => {
            let named = |(name, value): (String, _)| (Some(name.clone()), name, value);
            ('{', '}', members(raw)?.into_iter().map(named).collect::<Vec<_>>())
        }
        Some(b'[') if !paths.is_empty() => {
            let placed = |(n, value): (usize, _)| (None, n.to_string(), value);
            ('[', ']', elements(raw)?.into_iter().enumerate().map(placed).collect())
        }
        _ => {
            out.push_str(raw);
            return Ok(());
        }
    };
    out.push(open);
    let mut first = true;
    for (name, step, value) in inside {
        let below: Vec<&[String]> = paths
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(head, _)| **head == step || *head == "*")
            .map(|(_, rest)| rest)
            .collect();
        if below.iter().any(|rest| rest.is_empty()) {
            continue;
        }
        if !first {
            out.push(',');
        }
        first = false;
        if let Some(name) = name {
            out.push_str(&serde_json::to_string(&name)?);
            out.push(':');
        }
        write(out, value, &below)?;
    }
    out.push(close);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{Shape, canonical};

    fn without(pointers: &[&str], json: &str) -> String {
        let excluded = Excluded::new(pointers.iter().map(|p| (*p).to_owned())).unwrap();
        excluded.without(canonical(json, &Shape::Verbatim).unwrap()).unwrap().to_string()
    }

    #[test]
    fn what_is_excluded_is_not_there_and_all_else_is_as_it_was() {
        let json = r#"{"a":{"b":1,"c/d":[{"x":1,"y":2},{"x":3}]},"e":12345678901234567890123}"#;
        for (pointers, left) in [
            (&["/a/b"][..], r#"{"a":{"c/d":[{"x":1,"y":2},{"x":3}]},"e":12345678901234567890123}"#),
            (&["/a/c~1d/*/x"], r#"{"a":{"b":1,"c/d":[{"y":2},{}]},"e":12345678901234567890123}"#),
            (&["/a/c~1d/0", "/e"], r#"{"a":{"b":1,"c/d":[{"x":3}]}}"#),
            (
                &["/*/b", "/nothing"],
                r#"{"a":{"c/d":[{"x":1,"y":2},{"x":3}]},"e":12345678901234567890123}"#,
            ),
        ] {
            assert_eq!(without(pointers, json), left, "{pointers:?}");
        }
        assert_eq!(without(&[], json), json);
    }

    #[test]
    fn each_set_of_exclusions_is_a_version_of_its_own() {
        let version = |pointers: &[&str]| {
            Excluded::new(pointers.iter().map(|p| (*p).to_owned())).unwrap().version(3)
        };
        assert_eq!(version(&[]), 3);
        assert_eq!(version(&["/a", "/b"]), version(&["/b", "/a", "/a"]));
        assert_ne!(version(&["/a", "/b"]), version(&["/a"]));
        assert_eq!(version(&["/a"]) & 0xffff, 3);
        assert!(version(&["/a"]) > 0xffff);
    }

    #[test]
    fn what_names_no_field_is_refused() {
        for bad in ["", "/", "a", "a/b"] {
            assert!(Excluded::new([bad.to_owned()]).is_err(), "{bad:?} was accepted");
        }
        let many = (0..=MAX_EXCLUDED).map(|n| format!("/{n}"));
        assert_eq!(Excluded::new(many), Err(InvalidExclusion::TooMany));
    }
}
