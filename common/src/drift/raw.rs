//! One level of a JSON text at a time, with the values below it as they were written.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::drift::CanonicalError;

/// The members of an object in canonical order, the last one of each name.
pub(super) fn members(raw: &str) -> Result<Vec<(String, &RawValue)>, CanonicalError> {
    let Members(mut members) = serde_json::from_str(raw)?;
    // Stable, so that members of the same name stay in the order in which they came.
    members.sort_by(|(a, _), (b, _)| utf16_order(a, b));
    members.reverse();
    members.dedup_by(|(a, _), (b, _)| a == b);
    members.reverse();
    Ok(members)
}

/// UTF-16 puts U+10000 and above, which it writes with surrogates, before U+E000.
fn utf16_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// The elements of an array.
pub(super) fn elements(raw: &str) -> Result<Vec<&RawValue>, CanonicalError> {
    let Elements(elements) = serde_json::from_str(raw)?;
    Ok(elements)
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }

        deserializer.deserialize_seq(Collect)
    }
}
