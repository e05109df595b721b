//! Profiles: free-form properties, unicode, and numbers that a double cannot hold.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CITIES, FIRST_NAMES, LAST_NAMES, long_ago};
use crate::chance::Chance;
use crate::clock::{whole_seconds, with_offset};
use crate::record::{Fields, Version};

const TITLES: &[&str] = &["Buyer", "Editor", "Chef de cuisine", "Ingénieure", "店長", "VP 🚀"];
const ORGANIZATIONS: &[&str] = &["Cais Press", "Harbour Prints", "Œuvre GmbH", "Ξένιος & Co."];
const COLOURS: &[&str] = &["teal", "ochre", "ébène", "緑", "rosé", "smalt"];

/// `01J...`: 26 characters like a ULID.
pub(crate) fn profile_id(chance: &mut Chance) -> String {
    format!("01J{}", chance.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 23))
}

/// A profile created at `at`, or long ago.
pub(crate) fn profile(chance: &mut Chance, number: u64, at: Option<Timestamp>) -> Version {
    let created = whole_seconds(at.unwrap_or_else(|| long_ago(chance)));
    let first = chance.word(FIRST_NAMES);
    let properties = json!({
        "favourite_colours": colours(chance),
        "points": big_number(chance),
        "balance": -i64::try_from(number).unwrap_or_default(),
        "score": chance.fraction() * 1e3,
        "ratio": 0.1 + 0.2,
        "tiny": 5e-324,
        "vip": chance.happens(0.2),
        "note": format!("{first} said \"hé\u{301}\" \u{1F44B}\u{1F3FD}\u{200D}\n\ttab \\ slash / end"),
        "": "a key without a name",
        "€uro": { "nested": [ { "b": 1, "a": [null, true, {}] }, [], "10" ], "深い": { "deeper": [] } },
    });
    let fields = json!({
        "email": format!("profile.{number}@example.org"),
        "phone_number": format!("+3512{number:08}"),
        "external_id": format!("crm-{number}"),
        "first_name": first,
        "last_name": chance.word(LAST_NAMES),
        "organization": chance.word(ORGANIZATIONS),
        "locale": "pt-PT",
        "title": chance.word(TITLES),
        "image": Value::Null,
        "created": with_offset(created),
        "last_event_date": with_offset(created),
        "location": {
            "address1": format!("Rua do Alecrim {}", chance.number(1, 200)),
            "address2": Value::Null,
            "city": chance.word(CITIES),
            "country": "Portugal",
            "latitude": 38.0 + chance.fraction(),
            "longitude": -9.0 - chance.fraction(),
            "region": Value::Null,
            "zip": "1200-018",
            "timezone": "Europe/Lisbon",
            "ip": address(chance),
        },
        "properties": properties,
    });
    Version { changed: created, fields: object(fields) }
}

/// Alters one field that a mirror must notice.
pub(crate) fn edit(fields: &mut Fields, chance: &mut Chance) {
    match chance.number(0, 8) {
        0 => replace(fields, "first_name", FIRST_NAMES, chance),
        1 => replace(fields, "last_name", LAST_NAMES, chance),
        2 => replace(fields, "title", TITLES, chance),
        3 => replace(fields, "organization", ORGANIZATIONS, chance),
        4 => inner(fields, "location", |location| replace(location, "city", CITIES, chance)),
        5 => inner(fields, "properties", |properties| {
            // Flips at least one low bit: the new number differs where a double would not show it.
            let points = properties.get("points").and_then(Value::as_u64).unwrap_or_default();
            properties.insert("points".to_owned(), json!(points ^ chance.number(1, 1 << 20)));
        }),
        6 => inner(fields, "properties", |properties| {
            let vip = properties.get("vip").and_then(Value::as_bool).unwrap_or_default();
            properties.insert("vip".to_owned(), json!(!vip));
        }),
        _ => inner(fields, "properties", |properties| {
            let score = properties.get("score").and_then(Value::as_f64).unwrap_or_default();
            properties.insert("score".to_owned(), json!(score + 0.25 + chance.fraction()));
        }),
    }
}

/// Something happened with the person: dates and scores move, content does not.
pub(crate) fn touch(fields: &mut Fields, chance: &mut Chance, at: Timestamp) {
    fields.insert("last_event_date".to_owned(), json!(with_offset(at)));
    let ip = address(chance);
    inner(fields, "location", |location| {
        location.insert("ip".to_owned(), json!(ip));
    });
}

fn inner(fields: &mut Fields, name: &str, alter: impl FnOnce(&mut Fields)) {
    if let Some(object) = fields.get_mut(name).and_then(Value::as_object_mut) {
        alter(object);
    }
}

fn replace(fields: &mut Fields, name: &str, words: &[&'static str], chance: &mut Chance) {
    let word = chance.other(words, fields.get(name).and_then(Value::as_str));
    fields.insert(name.to_owned(), json!(word));
}

fn colours(chance: &mut Chance) -> Vec<&'static str> {
    let count = chance.number(0, 4);
    (0..count).map(|_| chance.word(COLOURS)).collect()
}

/// Beyond 2^53, where a double would round.
fn big_number(chance: &mut Chance) -> u64 {
    chance.number(1 << 53, u64::MAX) | 1
}

/// In the range set aside for documentation.
fn address(chance: &mut Chance) -> String {
    format!("203.0.113.{}", chance.number(1, 255))
}

fn object(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edit_alters_content_and_no_touch_does() {
        let mut chance = Chance::of(7, "test");
        let mut version = profile(&mut chance, 1, None);
        for round in 0..200 {
            let before = version.fields.clone();
            edit(&mut version.fields, &mut chance);
            assert_ne!(version.fields, before, "edit {round} altered nothing");
        }
        let strip = |mut fields: Fields| {
            fields.remove("last_event_date");
            inner(&mut fields, "location", |location| {
                location.remove("ip");
            });
            fields
        };
        let before = strip(version.fields.clone());
        touch(&mut version.fields, &mut chance, Timestamp::UNIX_EPOCH);
        assert_eq!(strip(version.fields), before);
    }
}
