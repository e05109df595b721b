//! Events, attendees and orders.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{FIRST_NAMES, LAST_NAMES, long_ago};
use crate::chance::Chance;
use crate::clock::{whole_seconds, with_z};
use crate::record::{Fields, Version};

const NAMES: &[&str] =
    &["Harbour Print Fair", "Nuit Blanche", "春の音楽会", "Typography 101", "Šumava Run"];
const SUMMARIES: &[&str] =
    &["Two floors of small presses.", "Encore plus de bruit.", "Bring a coat."];
const SIZES: &[&str] = &["XS", "S", "M", "L", "XL"];
const DIETS: &[&str] = &["none", "végétarien", "vegan", "halal", "kosher"];
const TICKETS: &[&str] = &["General admission", "Early bird", "Concession", "VIP – balcony"];
/// The life of an event after its publication, moved by the clock.
const BY_THE_CLOCK: &[(&str, &str)] = &[("live", "started"), ("started", "ended")];

/// An event of `organization`.
pub(crate) fn event(
    chance: &mut Chance,
    organization: &str,
    id: &str,
    at: Option<Timestamp>,
) -> Version {
    let created = whole_seconds(at.unwrap_or_else(|| long_ago(chance)));
    let (name, summary) = (chance.word(NAMES), chance.word(SUMMARIES));
    let day = chance.number(1, 28);
    let status = if at.is_some() { "draft" } else { "live" };
    let fields = json!({
        "id": id,
        "name": both_forms(name),
        "summary": summary,
        "description": both_forms(summary),
        "url": format!("https://www.eventbrite.com/e/tickets-{id}"),
        "start": { "timezone": "Europe/Lisbon", "local": format!("2027-05-{day:02}T10:00:00"), "utc": format!("2027-05-{day:02}T09:00:00Z") },
        "end": { "timezone": "Europe/Lisbon", "local": format!("2027-05-{day:02}T18:00:00"), "utc": format!("2027-05-{day:02}T17:00:00Z") },
        "organization_id": organization,
        "created": with_z(created),
        "published": if at.is_some() { Value::Null } else { json!(with_z(created)) },
        "status": status,
        "currency": "EUR",
        "online_event": false, "hide_start_date": false, "hide_end_date": false,
        "listed": true, "shareable": true, "invite_only": false, "show_remaining": false,
        "password": Value::Null,
        "capacity": chance.number(50, 500),
        "capacity_is_custom": false,
        "organizer_id": "55500001", "venue_id": "66600002", "logo_id": "77700003",
        "format_id": "6", "category_id": "105", "subcategory_id": Value::Null,
    });
    Version { changed: created, fields: object(fields) }
}

/// A purchase of tickets to `event`.
pub(crate) fn order(chance: &mut Chance, event: &str, id: &str, at: Option<Timestamp>) -> Version {
    let created = whole_seconds(at.unwrap_or_else(|| long_ago(chance)));
    let (first, last) = (chance.word(FIRST_NAMES), chance.word(LAST_NAMES));
    let fields = json!({
        "id": id,
        "created": with_z(created),
        "name": format!("{first} {last}"), "first_name": first, "last_name": last,
        "email": format!("buyer.{id}@example.org"),
        "costs": costs(chance.number(5, 90) * 100),
        "event_id": event,
        "status": "placed",
        "promo_code": Value::Null,
    });
    Version { changed: created, fields: object(fields) }
}

/// A ticket of `order` to `event`.
pub(crate) fn attendee(
    chance: &mut Chance,
    event: &str,
    order: &str,
    id: &str,
    at: Option<Timestamp>,
) -> Version {
    let created = whole_seconds(at.unwrap_or_else(|| long_ago(chance)));
    let (first, last) = (chance.word(FIRST_NAMES), chance.word(LAST_NAMES));
    let barcodes: Vec<Value> = (1..=chance.number(1, 4))
        .map(|n| {
            json!({
                "barcode": format!("{order}{id}{n:03}"), "status": "unused",
                "created": with_z(created), "changed": with_z(created), "is_printed": false,
            })
        })
        .collect();
    let fields = json!({
        "id": id,
        "created": with_z(created),
        "ticket_class_id": "330044", "variant_id": Value::Null,
        "ticket_class_name": chance.word(TICKETS),
        "quantity": 1,
        "costs": costs(chance.number(5, 90) * 100),
        "profile": {
            "name": format!("{first} {last}"), "first_name": first, "last_name": last,
            "email": format!("guest.{id}@example.org"),
            "addresses": { "home": {}, "ship": {}, "work": {} },
        },
        "addresses": {},
        "questions": [],
        "answers": [
            { "question_id": "20090", "question": "T-shirt size", "type": "multiple_choice", "answer": chance.word(SIZES) },
            { "question_id": "20091", "question": "Régime ?", "type": "text", "answer": chance.word(DIETS) },
            { "question_id": "20092", "question": "How many?", "type": "text", "answer": "1" },
        ],
        "barcodes": barcodes,
        "team": Value::Null, "affiliate": Value::Null,
        "checked_in": false, "cancelled": false, "refunded": false,
        "status": "Attending",
        "event_id": event, "order_id": order,
        "guestlist_id": Value::Null, "invited_by": Value::Null,
        "delivery_method": "electronic",
    });
    Version { changed: created, fields: object(fields) }
}

/// Alters an event; says which webhook tells of it.
pub(crate) fn edit_event(fields: &mut Fields, chance: &mut Chance, at: Timestamp) -> &'static str {
    let draft = fields.get("status").and_then(Value::as_str) == Some("draft");
    match chance.number(0, 3) {
        0 if draft => {
            fields.insert("status".to_owned(), json!("live"));
            fields.insert("published".to_owned(), json!(with_z(at)));
            return "event.published";
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
    "event.updated"
}

/// Lets the clock move an event's status; `changed` stays and no webhook tells of it.
pub(crate) fn advance_event(fields: &mut Fields) -> bool {
    let status = fields.get("status").and_then(Value::as_str).unwrap_or_default();
    let next = BY_THE_CLOCK.iter().find(|(from, _)| *from == status).map(|(_, to)| *to);
    next.is_some_and(|next| fields.insert("status".to_owned(), json!(next)).is_some())
}

/// Alters an order; says which webhook tells of it.
pub(crate) fn edit_order(fields: &mut Fields, chance: &mut Chance) -> &'static str {
    if chance.happens(0.1) && fields.get("status").and_then(Value::as_str) == Some("placed") {
        fields.insert("status".to_owned(), json!("refunded"));
        return "order.refunded";
    }
    rename(fields, chance);
    "order.updated"
}

/// Alters an attendee; says which webhook tells of it.
pub(crate) fn edit_attendee(
    fields: &mut Fields,
    chance: &mut Chance,
    at: Timestamp,
) -> &'static str {
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
    "attendee.updated"
}

/// A deleted attendee stays, under another status.
pub(crate) fn delete_attendee(fields: &mut Fields) {
    fields.insert("status".to_owned(), json!("Deleted"));
    fields.insert("cancelled".to_owned(), json!(true));
}

fn check_in_or_out(fields: &mut Fields, at: Timestamp) -> &'static str {
    let inside = fields.get("checked_in").and_then(Value::as_bool).unwrap_or_default();
    let (status, barcode_status, action) = if inside {
        ("Attending", "unused", "attendee.checked_out")
    } else {
        ("Checked In", "used", "attendee.checked_in")
    };
    fields.insert("checked_in".to_owned(), json!(!inside));
    fields.insert("status".to_owned(), json!(status));
    let barcodes = fields.get_mut("barcodes").and_then(Value::as_array_mut);
    for barcode in barcodes.into_iter().flatten().filter_map(Value::as_object_mut) {
        barcode.insert("status".to_owned(), json!(barcode_status));
        barcode.insert("changed".to_owned(), json!(with_z(at)));
    }
    action
}

fn rename(fields: &mut Fields, chance: &mut Chance) {
    let first = chance.other(FIRST_NAMES, fields.get("first_name").and_then(Value::as_str));
    let last = fields.get("last_name").and_then(Value::as_str).unwrap_or_default();
    let name = format!("{first} {last}");
    fields.insert("first_name".to_owned(), json!(first));
    fields.insert("name".to_owned(), json!(name));
}

fn both_forms(text: &str) -> Value {
    json!({ "text": text, "html": text })
}

fn costs(base: u64) -> Value {
    let (fee, payment) = (base * 8 / 100, base * 3 / 100);
    json!({
        "base_price": money(base), "eventbrite_fee": money(fee), "payment_fee": money(payment),
        "tax": money(0), "gross": money(base + fee + payment),
    })
}

fn money(cents: u64) -> Value {
    let major = format!("{}.{:02}", cents / 100, cents % 100);
    json!({ "display": format!("${major}"), "currency": "USD", "value": cents, "major_value": major })
}

fn object(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}
