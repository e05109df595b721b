//! What changes in Eventbrite's records, and which webhook tells of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{SIZES, SUMMARIES, TICKETS, both_forms};
use crate::chance::Chance;
use crate::clock::with_z;
use crate::content::FIRST_NAMES;
use crate::record::Fields;

/// The life of an event after its publication, moved by the clock.
const BY_THE_CLOCK: &[(&str, &str)] = &[("live", "started"), ("started", "ended")];

/// Alters an event; says which webhook tells of it.
pub(super) fn edit_event(
    fields: &mut Fields,
    chance: &mut Chance,
    at: Timestamp,
) -> &'static [&'static str] {
    let draft = fields.get("status").and_then(Value::as_str) == Some("draft");
    match chance.number(0, 3) {
        0 if draft => {
            fields.insert("status".to_owned(), json!("live"));
            fields.insert("published".to_owned(), json!(with_z(at)));
            return &["event.published"];
        }
        0 | 1 => {
            let capacity = fields.get("capacity").and_then(Value::as_u64).unwrap_or_default();
            fields.insert("capacity".to_owned(), json!(capacity + chance.number(1, 50)));
        }
        _ => {
            let summary = chance.other(SUMMARIES, fields.get("summary").and_then(Value::as_str));
            fields.insert("summary".to_owned(), json!(summary));
            fields.insert("description".to_owned(), both_forms(summary));
        }
    }
    &["event.updated"]
}

/// Lets the clock move an event's status; `changed` stays and no webhook tells of it.
pub(super) fn advance_event(fields: &mut Fields) -> bool {
    let status = fields.get("status").and_then(Value::as_str).unwrap_or_default();
    let next = BY_THE_CLOCK.iter().find(|(from, _)| *from == status).map(|(_, to)| *to);
    next.is_some_and(|next| fields.insert("status".to_owned(), json!(next)).is_some())
}

/// Alters an order; says which webhook tells of it.
pub(super) fn edit_order(fields: &mut Fields, chance: &mut Chance) -> &'static [&'static str] {
    if chance.happens(0.1) && fields.get("status").and_then(Value::as_str) == Some("placed") {
        fields.insert("status".to_owned(), json!("refunded"));
        return &["order.refunded"];
    }
    rename(fields, chance);
    &["order.updated"]
}

/// Alters an attendee; says which webhook tells of it.
pub(super) fn edit_attendee(
    fields: &mut Fields,
    chance: &mut Chance,
    at: Timestamp,
) -> &'static [&'static str] {
    match chance.number(0, 4) {
        0 => return check_in_or_out(fields, at),
        1 => {
            let answers = fields.get_mut("answers").and_then(Value::as_array_mut);
            if let Some(Value::Object(answer)) = answers.and_then(|answers| answers.first_mut()) {
                let size = chance.other(SIZES, answer.get("answer").and_then(Value::as_str));
                answer.insert("answer".to_owned(), json!(size));
            }
        }
        2 => {
            let current = fields.get("ticket_class_name").and_then(Value::as_str);
            let ticket = chance.other(TICKETS, current);
            fields.insert("ticket_class_name".to_owned(), json!(ticket));
        }
        _ => {
            if let Some(profile) = fields.get_mut("profile").and_then(Value::as_object_mut) {
                rename(profile, chance);
            }
        }
    }
    &["attendee.updated"]
}

/// A deleted attendee stays, under another status.
pub(super) fn delete_attendee(fields: &mut Fields) {
    fields.insert("status".to_owned(), json!("Deleted"));
    fields.insert("cancelled".to_owned(), json!(true));
}

fn check_in_or_out(fields: &mut Fields, at: Timestamp) -> &'static [&'static str] {
    let inside = fields.get("checked_in").and_then(Value::as_bool).unwrap_or_default();
    let (status, barcode_status, actions): (_, _, &[&str]) = if inside {
        ("Attending", "unused", &["attendee.checked_out"])
    } else {
        ("Checked In", "used", &["attendee.checked_in"])
    };
    fields.insert("checked_in".to_owned(), json!(!inside));
    fields.insert("status".to_owned(), json!(status));
    let barcodes = fields.get_mut("barcodes").and_then(Value::as_array_mut);
    for barcode in barcodes.into_iter().flatten().filter_map(Value::as_object_mut) {
        barcode.insert("status".to_owned(), json!(barcode_status));
        barcode.insert("changed".to_owned(), json!(with_z(at)));
    }
    actions
}

fn rename(fields: &mut Fields, chance: &mut Chance) {
    let first = chance.other(FIRST_NAMES, fields.get("first_name").and_then(Value::as_str));
    let last = fields.get("last_name").and_then(Value::as_str).unwrap_or_default();
    let name = format!("{first} {last}");
    fields.insert("first_name".to_owned(), json!(first));
    fields.insert("name".to_owned(), json!(name));
}
