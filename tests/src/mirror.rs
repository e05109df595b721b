//! The mirror against the truth, record by record, by a rule of its own: it shares nothing with
//! the adapters' idea of what counts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{PgPool, Row};

/// A record's name: platform, type, id.
pub type Name = (String, String, String);

/// A record of the mirror: its payload and whether it is marked as deleted.
pub type Mirrored = BTreeMap<Name, (Value, bool)>;

/// What the mirror calls a record that the simulated platforms call so.
pub fn name(platform: &str, record_type: &str, external_id: String) -> Name {
    let record_type = match record_type {
        "membership" => "list-membership",
        same => same,
    };
    (platform.to_owned(), record_type.to_owned(), external_id)
}

/// What is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which record.
    pub name: Name,
    /// How it is wrong.
    pub what: String,
}

/// The whole mirror.
///
/// # Errors
///
/// When the database fails.
pub async fn mirrored(db: &PgPool) -> sqlx::Result<Mirrored> {
    let rows = sqlx::query(
        "select c.platform, r.record_type, r.external_id, r.payload::text as payload,
                r.flags & 1 <> 0 as deleted
           from external_integrations r join connections c on c.id = r.connection_id",
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let name = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let payload: Option<String> = row.try_get(3)?;
            let payload = payload
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| sqlx::Error::Decode(error.into()))?;
            Ok((name, (payload.unwrap_or(Value::Null), row.try_get(4)?)))
        })
        .collect()
}

/// Every difference between the mirror and the truth.
///
/// A payload is right when it has every value that the truth names (fields that the platform adds
/// or that move by themselves are not in the truth), whatever the order of array elements and
/// however an instant is written.
pub fn compare(truth: &BTreeMap<Name, Value>, mirror: &Mirrored) -> Vec<Mismatch> {
    let mut wrong = Vec::new();
    for (name, payload) in truth {
        let what = match mirror.get(name) {
            None => "is not mirrored".to_owned(),
            Some((_, true)) => "is marked as deleted".to_owned(),
            Some((mirrored, false)) => match difference(payload, mirrored, "") {
                Some(what) => what,
                None => continue,
            },
        };
        wrong.push(Mismatch { name: name.clone(), what });
    }
    for (name, (_, deleted)) in mirror {
        if !deleted && !truth.contains_key(name) {
            let what = "is gone from the platform, and not marked as deleted".to_owned();
            wrong.push(Mismatch { name: name.clone(), what });
        }
    }
    wrong
}

/// The first place at which `mirrored` lacks what `truth` has. Null and absent are the same.
fn difference(truth: &Value, mirrored: &Value, at: &str) -> Option<String> {
    match (truth, mirrored) {
        (Value::Object(truth), Value::Object(mirrored)) => truth.iter().find_map(|(key, value)| {
            let there = mirrored.get(key).unwrap_or(&Value::Null);
            difference(value, there, &format!("{at}/{key}"))
        }),
        (Value::Array(truth), Value::Array(mirrored)) if truth.len() == mirrored.len() => {
            let mut left: Vec<&Value> = mirrored.iter().collect();
            for (n, value) in truth.iter().enumerate() {
                let Some(found) =
                    left.iter().position(|there| difference(value, there, "").is_none())
                else {
                    return Some(format!("{at}/{n} is not mirrored: {value}"));
                };
                left.swap_remove(found);
            }
            None
        }
        (Value::Object(truth), Value::Null) if truth.values().all(Value::is_null) => None,
        (truth, mirrored) if truth == mirrored || is_same_instant(truth, mirrored) => None,
        (truth, mirrored) => Some(format!("{at} is {mirrored} and should be {truth}")),
    }
}

/// Patreon writes an instant now with milliseconds, now without.
fn is_same_instant(a: &Value, b: &Value) -> bool {
    let instant = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    instant(a).is_some_and(|a| instant(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(id: &str) -> Name {
        ("p".to_owned(), "t".to_owned(), id.to_owned())
    }

    #[test]
    fn every_kind_of_wrong_record_is_found() {
        let truth = BTreeMap::from([
            (name("same"), json!({"a": [1, 2], "n": null, "at": "2026-01-02T03:04:05+00:00"})),
            (name("differs"), json!({"a": {"b": 1}})),
            (name("lacks"), json!({})),
            (name("deleted"), json!({})),
        ]);
        let mirror = Mirrored::from([
            (
                name("same"),
                (json!({"a": [2, 1], "more": true, "at": "2026-01-02T03:04:05.000Z"}), false),
            ),
            (name("differs"), (json!({"a": {"b": 2}}), false)),
            (name("deleted"), (json!({}), true)),
            (name("gone"), (json!({}), false)),
            (name("long gone"), (json!({}), true)),
        ]);
        let wrong: Vec<_> =
            compare(&truth, &mirror).into_iter().map(|m| (m.name.2, m.what)).collect();
        assert_eq!(
            wrong,
            [
                ("deleted", "is marked as deleted"),
                ("differs", "/a/b is 2 and should be 1"),
                ("lacks", "is not mirrored"),
                ("gone", "is gone from the platform, and not marked as deleted"),
            ]
            .map(|(id, what)| (id.to_owned(), what.to_owned()))
        );
    }
}
