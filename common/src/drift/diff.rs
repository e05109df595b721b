//! What is different, field by field.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::drift::raw::{elements, members};
use crate::drift::{Canonical, CanonicalError};

/// Most changes that are told one by one.
pub const MAX_CHANGES: usize = 100;

/// Longest value that is told in full, in bytes.
const MAX_VALUE_BYTES: usize = 2048;

/// One value that differs.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Where: a JSON Pointer (RFC 6901) into the canonical form, `/attributes/email`.
    pub path: String,
    /// What it was, digits and all; absent when there was nothing. A value of more than 2 KiB is
    /// replaced by a text that says how long it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Box<RawValue>>,
    /// What it is, in the same manner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Box<RawValue>>,
}

/// All that differs between two records.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Difference {
    /// The first [`MAX_CHANGES`], in canonical order.
    pub changes: Vec<Change>,
    /// How many there are beyond those.
    pub more: usize,
}

impl Difference {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn add(&mut self, path: &str, old: Option<&RawValue>, new: Option<&RawValue>) {
        if self.changes.len() == MAX_CHANGES {
            self.more += 1;
            return;
        }
        self.changes.push(Change { path: path.to_owned(), old: told(old), new: told(new) });
    }
}

/// Compares two canonical forms. Objects member by member; arrays element by element, by place
/// (sets are sorted by what tells their elements apart); anything else as a whole.
///
/// # Errors
///
/// None for forms of the same release; a stored form could be damaged.
pub fn difference(old: &Canonical, new: &Canonical) -> Result<Difference, CanonicalError> {
    let mut difference = Difference::default();
    let (old, new) = (serde_json::from_str(old.as_str())?, serde_json::from_str(new.as_str())?);
    compare(&mut difference, &mut String::new(), old, new)?;
    Ok(difference)
}

/// As deep as a canonical form can be; the depth was bounded when it was made.
fn compare(
    difference: &mut Difference,
    path: &mut String,
    old: &RawValue,
    new: &RawValue,
) -> Result<(), CanonicalError> {
    let (old_raw, new_raw) = (old.get(), new.get());
    if old_raw == new_raw {
        return Ok(());
    }
    let pairs = match (old_raw.as_bytes().first(), new_raw.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => by_name(members(old_raw)?, members(new_raw)?),
        (Some(b'['), Some(b'[')) => by_place(&elements(old_raw)?, &elements(new_raw)?),
        _ => {
            difference.add(path, Some(old), Some(new));
            return Ok(());
        }
    };
    for (step, old, new) in pairs {
        let parent = path.len();
        path.push('/');
        path.push_str(&step.replace('~', "~0").replace('/', "~1"));
        match (old, new) {
            (Some(old), Some(new)) => compare(difference, path, old, new)?,
            (old, new) => difference.add(path, old, new),
        }
        path.truncate(parent);
    }
    Ok(())
}

/// A step of the path, and what is there on each side.
type Pair<'a> = (String, Option<&'a RawValue>, Option<&'a RawValue>);

fn by_name<'a>(
    old: Vec<(String, &'a RawValue)>,
    new: Vec<(String, &'a RawValue)>,
) -> Vec<Pair<'a>> {
    let mut pairs: BTreeMap<String, (Option<&RawValue>, Option<&RawValue>)> =
        old.into_iter().map(|(name, value)| (name, (Some(value), None))).collect();
    for (name, value) in new {
        pairs.entry(name).or_default().1 = Some(value);
    }
    pairs.into_iter().map(|(name, (old, new))| (name, old, new)).collect()
}

fn by_place<'a>(old: &[&'a RawValue], new: &[&'a RawValue]) -> Vec<Pair<'a>> {
    (0..old.len().max(new.len()))
        .map(|n| (n.to_string(), old.get(n).copied(), new.get(n).copied()))
        .collect()
}

/// The value, or how long it is.
fn told(value: Option<&RawValue>) -> Option<Box<RawValue>> {
    let value = value?;
    if value.get().len() <= MAX_VALUE_BYTES {
        return Some(value.to_owned());
    }
    RawValue::from_string(format!("\"({} bytes)\"", value.get().len())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{Shape, canonical};

    fn told_as(old: &str, new: &str) -> String {
        let form = |raw| canonical(raw, &Shape::Verbatim).unwrap();
        let difference = difference(&form(old), &form(new)).unwrap();
        serde_json::to_string(&difference).unwrap()
    }

    #[test]
    fn equal_records_have_no_difference() {
        assert_eq!(
            told_as(r#"{"a":[1,{"b":2}]}"#, r#"{"a":[1.0,{"b":2}]}"#),
            r#"{"changes":[],"more":0}"#
        );
    }

    #[test]
    fn a_difference_names_the_path_the_old_and_the_new() {
        insta::assert_snapshot!(
            told_as(
                r#"{"gone":1,"same":0,"deep":{"a/b":[1,2,3],"~":12345678901234567890123}}"#,
                r#"{"come":null,"same":0,"deep":{"a/b":[1,5],"~":12345678901234567890124}}"#
            ),
            @r#"{"changes":[{"path":"/come","new":null},{"path":"/deep/a~1b/1","old":2,"new":5},{"path":"/deep/a~1b/2","old":3},{"path":"/deep/~0","old":12345678901234567890123,"new":12345678901234567890124},{"path":"/gone","old":1}],"more":0}"#
        );
    }

    #[test]
    fn a_value_of_another_kind_is_one_change() {
        insta::assert_snapshot!(told_as(r#"{"a":{"b":1}}"#, r#"{"a":[1]}"#), @r#"{"changes":[{"path":"/a","old":{"b":1},"new":[1]}],"more":0}"#);
    }

    #[test]
    fn what_is_told_is_bounded() {
        let new: Vec<usize> = (0..MAX_CHANGES + 7).collect();
        let form = |raw: &str| canonical(raw, &Shape::Verbatim).unwrap();
        let many = difference(&form("[]"), &form(&serde_json::to_string(&new).unwrap())).unwrap();
        assert_eq!((many.changes.len(), many.more), (MAX_CHANGES, 7));

        let long = format!("\"{}\"", "x".repeat(5000));
        insta::assert_snapshot!(told_as("1", &long), @r#"{"changes":[{"path":"","old":1,"new":"(5002 bytes)"}],"more":0}"#);
    }
}
