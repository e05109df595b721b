//! Finds fields that do not settle: they change back and forth, and every look finds drift.

use std::collections::BTreeMap;

use common::fleet::Fleet;
use common::ids::{ConnectionId, RecordType};
use common::store::alerts::{self, Topic};
use common::store::flipping_fields::{self, Flips, RestlessEvent};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Reconcile;

/// A field went back and forth in a record when it did so this often in a day: A to B, B to A, and
/// to B again.
const FLIPS: i64 = 2;
/// Fields that are named at the most.
const MOST_FIELDS: usize = 100;
/// The kind of alert.
const KIND: &str = "field-flips";

/// See the module.
#[derive(Debug)]
pub struct FlipWatch {
    fleet: Fleet,
}

/// A difference as `common::drift` writes it.
#[derive(Deserialize)]
struct Difference {
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    path: String,
    old: Option<Value>,
    new: Option<Value>,
}

impl FlipWatch {
    /// Watches all of the fleet's connections.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

/// Which fields went back and forth, from events by record, each in the order in which they were
/// found. Pure.
fn flips(events: &[RestlessEvent]) -> Vec<Flips> {
    let mut fields: BTreeMap<(ConnectionId, RecordType, String), Flips> = BTreeMap::new();
    let same = |a: &RestlessEvent, b: &RestlessEvent| {
        (a.connection, &a.record_type, &a.external_id)
            == (b.connection, &b.record_type, &b.external_id)
    };
    for of_record in events.chunk_by(same) {
        let Some(first) = of_record.first() else { continue };
        for (pointer, count) in flips_of(of_record) {
            let key = (first.connection, first.record_type.clone(), pointer.clone());
            let field = fields.entry(key).or_insert_with(|| Flips {
                connection: first.connection,
                record_type: first.record_type.clone(),
                pointer,
                records: 0,
                flips: 0,
                external_id: first.external_id.clone(),
            });
            field.records += 1;
            field.flips += count;
        }
    }
    let mut fields: Vec<Flips> = fields.into_values().collect();
    fields.sort_by_key(|field| std::cmp::Reverse(field.flips));
    fields.truncate(MOST_FIELDS);
    fields
}

/// How often each field of one record went back to what it had been.
fn flips_of(events: &[RestlessEvent]) -> BTreeMap<String, i64> {
    let mut last: BTreeMap<String, (Option<Value>, Option<Value>)> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for event in events {
        let Ok(difference) = serde_json::from_str::<Difference>(&event.diff) else { continue };
        for Change { path, old, new } in difference.changes {
            if last.get(&path).is_some_and(|(was_old, was_new)| *was_old == new && *was_new == old)
            {
                *counts.entry(path.clone()).or_default() += 1;
            }
            last.insert(path, (old, new));
        }
    }
    counts.retain(|_, count| *count >= FLIPS);
    counts
}

fn subject(record_type: &RecordType, pointer: &str) -> String {
    format!("{record_type} {pointer}")
}

impl Reconcile for FlipWatch {
    const NAME: &'static str = "flip watch";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let db = &self.fleet.db;
        let found = flips(&flipping_fields::restless(db).await?);
        let settled = flipping_fields::replace(db, &found).await?;
        for (connection, record_type, pointer) in &settled {
            let subject = subject(record_type, pointer);
            let topic = Topic { connection: Some(*connection), kind: KIND, subject: &subject };
            alerts::clear(db, topic).await?;
        }
        let mut named = 0;
        for field in flipping_fields::all(db, 100).await? {
            let (lane, record_type, pointer) = (&field.lane, &field.record_type, &field.pointer);
            let subject = subject(record_type, pointer);
            let topic = Topic { connection: Some(field.connection), kind: KIND, subject: &subject };
            let message = format!(
                "{pointer} of {record_type} changes back and forth: {} times in {} records within a day; where it does not matter: syncline exclude-field {lane} {record_type} {pointer}",
                field.flips, field.records
            );
            let detail = json!({
                "pointer": pointer, "records": field.records, "flips": field.flips,
                "external_id": field.external_id,
            });
            alerts::raise(db, topic, &message, &detail).await?;
            named += 1;
        }
        Ok(named)
    }
}

#[cfg(test)]
mod tests {
    use common::ids::ExternalId;

    use super::*;

    fn event(id: &str, old: i32, new: i32) -> RestlessEvent {
        let changes = json!([{ "path": "/seen", "old": old, "new": new },
                             { "path": "/count", "old": old, "new": old + new }]);
        RestlessEvent {
            connection: ConnectionId(1),
            record_type: "profile".into(),
            external_id: ExternalId::from(id),
            diff: json!({ "changes": changes, "more": 0 }).to_string(),
        }
    }

    #[test]
    fn a_field_that_goes_back_and_forth_is_named_and_one_that_goes_on_is_not() {
        let there_and_back = [event("a", 1, 2), event("a", 2, 1), event("a", 1, 2)];
        let onward = [event("b", 1, 2), event("b", 2, 3), event("b", 3, 4)];
        let once = [event("c", 1, 2), event("c", 2, 1), event("c", 1, 7)];
        let found = flips(&[there_and_back, onward, once].concat());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].pointer.as_str(), found[0].records, found[0].flips), ("/seen", 1, 2));
    }
}
