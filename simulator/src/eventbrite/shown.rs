//! How a record looks in an answer: the same content never quite the same twice.

use serde_json::{Value, json};

use super::notice::api_url;
use crate::account::Account;
use crate::chance::Chance;
use crate::clock::with_z;
use crate::record::{Fields, RecordId, RecordType, Version};

/// The record with everything that differs from read to read: null fields that are left out,
/// arrays in any order, counters, and the shape of `resource_uri`.
pub(super) fn record(account: &Account, id: &RecordId, version: &Version) -> Value {
    let mut chance = account.looks.lock();
    let mut fields = version.fields.clone();
    fields.insert("changed".to_owned(), json!(with_z(version.changed)));
    fields.insert("resource_uri".to_owned(), json!(resource_uri(id, version, &mut chance)));
    if id.record_type == RecordType::Order {
        let left = if chance.happens(0.5) { json!(chance.number(1, 480)) } else { Value::Null };
        fields.insert("time_remaining".to_owned(), left);
    }
    for name in ["barcodes", "answers", "questions"] {
        if let Some(items) = fields.get_mut(name).and_then(Value::as_array_mut) {
            chance.shuffle(items);
        }
    }
    let share = account.config.eventbrite.null_left_out;
    leave_out_nulls(&mut fields, share, &mut chance);
    Value::Object(fields)
}

fn resource_uri(id: &RecordId, version: &Version, chance: &mut Chance) -> String {
    if id.record_type == RecordType::Attendee && chance.happens(0.5) {
        let order = version.text("order_id");
        return format!("https://www.eventbriteapi.com/v3/orders/{order}/attendees/{}/", id.own());
    }
    api_url(id)
}

fn leave_out_nulls(fields: &mut Fields, share: f64, chance: &mut Chance) {
    fields.retain(|_, value| !(value.is_null() && chance.happens(share)));
    for value in fields.values_mut() {
        if let Value::Object(inner) = value {
            leave_out_nulls(inner, share, chance);
        }
    }
}
