//! Events, attendees and orders.

mod edit;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{FIRST_NAMES, LAST_NAMES, long_ago, object};
use crate::chance::Chance;
use crate::clock::{whole_seconds, with_z};
use crate::record::{RecordId, RecordType, Version};
use crate::records::{ChangeError, ChangeKind, Records, Write};
use edit::{advance_event, delete_attendee, edit_attendee, edit_event, edit_order};

const NAMES: &[&str] =
    &["Harbour Print Fair", "Nuit Blanche", "春の音楽会", "Typography 101", "Šumava Run"];
const SUMMARIES: &[&str] =
    &["Two floors of small presses.", "Encore plus de bruit.", "Bring a coat."];
const SIZES: &[&str] = &["XS", "S", "M", "L", "XL"];
const DIETS: &[&str] = &["none", "végétarien", "vegan", "halal", "kosher"];
const TICKETS: &[&str] = &["General admission", "Early bird", "Concession", "VIP – balcony"];

/// An event; an order for some event; an attendee of some order.
pub(super) fn make(
    records: &Records,
    record_type: RecordType,
    number: u64,
    chance: &mut Chance,
    at: Option<Timestamp>,
) -> Option<(RecordId, Version)> {
    match record_type {
        RecordType::Event => {
            let id = format!("{}", 880_011_000_000 + number * 97);
            let organization = &records.config.eventbrite.organization_id;
            let version = event(chance, organization, &id, at);
            Some((RecordId::new(record_type, id), version))
        }
        RecordType::Order => {
            let events = records.live_ids(RecordType::Event);
            let event = chance.pick(&events)?.external_id.clone();
            let id = format!("{}", 9_100_000_000 + number * 31);
            let version = order(chance, &event, &id, at);
            Some((RecordId::new(record_type, id), version))
        }
        RecordType::Attendee => {
            let orders = records.live_ids(RecordType::Order);
            let order = chance.pick(&orders)?.clone();
            let event = records.now(&order)?.text("event_id").to_owned();
            let id = format!("{}", 12_100_000_000 + number * 13);
            let version = attendee(chance, &event, order.own(), &id, at);
            Some((RecordId::new(record_type, format!("{event}/{id}")), version))
        }
        _ => None,
    }
}

/// What happens to a record of Eventbrite's.
pub(super) fn alter(
    records: &Records,
    kind: ChangeKind,
    id: &RecordId,
    mut version: Version,
    chance: &mut Chance,
    at: Timestamp,
) -> Result<Vec<Write>, ChangeError> {
    if version.text("status") == "Deleted" {
        return Err(ChangeError::NoRecord);
    }
    let fields = &mut version.fields;
    let (actions, next): (&'static [&'static str], _) = match (kind, id.record_type) {
        (ChangeKind::Edit, RecordType::Event) => (edit_event(fields, chance, at), Some(version)),
        (ChangeKind::Clock, RecordType::Event) => {
            if !advance_event(fields) {
                return Err(ChangeError::NotPossible);
            }
            // The clock moves the status and not the date of the last change.
            version.changed = records.now(id).map_or(version.changed, |before| before.changed);
            (&[], Some(version))
        }
        (ChangeKind::Edit, RecordType::Attendee) => {
            (edit_attendee(fields, chance, at), Some(version))
        }
        (ChangeKind::Delete, RecordType::Attendee) => {
            delete_attendee(fields);
            (&[], Some(version))
        }
        (ChangeKind::Edit, RecordType::Order) => (edit_order(fields, chance), Some(version)),
        (ChangeKind::Delete, RecordType::Event) if in_use(records, &id.external_id) => {
            return Err(ChangeError::InUse);
        }
        // An order that was never paid for runs out and is gone: see `expired` at the API.
        (ChangeKind::Clock | ChangeKind::Delete, RecordType::Order)
        | (ChangeKind::Delete, RecordType::Event) => (&[], None),
        _ => return Err(ChangeError::NotPossible),
    };
    Ok(vec![Write { kind, id: id.clone(), next, actions }])
}

fn in_use(records: &Records, event: &str) -> bool {
    let of_event =
        |(_, version): (&RecordId, &std::sync::Arc<Version>)| version.text("event_id") == event;
    records.live(RecordType::Order).any(of_event)
        || records.live(RecordType::Attendee).any(of_event)
}

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
