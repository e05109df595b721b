//! Profiles with free-form properties, unicode, and numbers that a double cannot hold; lists, and
//! who is on them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CITIES, FIRST_NAMES, LAST_NAMES, inner, long_ago, object, replace};
use crate::chance::Chance;
use crate::clock::{whole_seconds, with_offset};
use crate::record::{Fields, RecordId, RecordType, Version};
use crate::records::{ChangeError, ChangeKind, Records, Write};

const TITLES: &[&str] = &["Buyer", "Editor", "Chef de cuisine", "Ingénieure", "店長", "VP 🚀"];
const ORGANIZATIONS: &[&str] = &["Cais Press", "Harbour Prints", "Œuvre GmbH", "Ξένιος & Co."];
const COLOURS: &[&str] = &["teal", "ochre", "ébène", "緑", "rosé", "smalt"];

const LISTS: &[&str] = &["Autumn newsletter", "VIP", "Gäste 2026", "ニュース", "Win back"];
const LETTERS: &str = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789";

/// A profile, a list, or that somebody is on a list; for the last, `<list>/<profile>` may be wanted.
pub(super) fn make(
    records: &Records,
    record_type: RecordType,
    wanted: Option<&str>,
    number: u64,
    chance: &mut Chance,
    at: Option<Timestamp>,
) -> Option<(RecordId, Version)> {
    match record_type {
        RecordType::Profile => {
            let id = profile_id(chance);
            Some((RecordId::new(record_type, id), profile(chance, number, at)))
        }
        RecordType::List => {
            let id = chance.text(LETTERS, 6);
            Some((RecordId::new(record_type, id), list(chance, number, at)))
        }
        RecordType::Membership => {
            let (list, profile) = match wanted.and_then(|wanted| wanted.split_once('/')) {
                Some((list, profile)) => (list.to_owned(), profile.to_owned()),
                None => free_place(records, chance)?,
            };
            let both = [
                RecordId::new(RecordType::List, list.as_str()),
                RecordId::new(RecordType::Profile, profile.as_str()),
            ];
            let lives = both.iter().all(|id| records.now(id).is_some());
            let joined = whole_seconds(at.unwrap_or_else(|| long_ago(chance)));
            let fields = object(json!({ "joined_group_at": with_offset(joined) }));
            let id = RecordId::new(record_type, format!("{list}/{profile}"));
            lives.then_some((id, Version { changed: joined, fields }))
        }
        _ => None,
    }
}

/// What happens to a record of Klaviyo's; with a profile or a list its memberships go.
pub(super) fn alter(
    records: &Records,
    kind: ChangeKind,
    id: &RecordId,
    mut version: Version,
    chance: &mut Chance,
    at: Timestamp,
) -> Result<Vec<Write>, ChangeError> {
    let write = |next, actions| vec![Write { kind, id: id.clone(), next, actions }];
    match (kind, id.record_type) {
        (ChangeKind::Edit, RecordType::Profile) => {
            edit(&mut version.fields, chance);
            Ok(write(Some(version), &["profile"]))
        }
        (ChangeKind::Touch, RecordType::Profile) => {
            touch(&mut version.fields, chance, at);
            Ok(write(Some(version), &["profile"]))
        }
        // No delete topic exists; but what the person did before may still be told of.
        (ChangeKind::Delete, RecordType::Profile) => {
            let mut writes = write(None, &["profile"]);
            writes.extend(memberships_of(records, id));
            Ok(writes)
        }
        (ChangeKind::Merge, RecordType::Profile) => {
            let others = records.live_ids(RecordType::Profile);
            let others: Vec<RecordId> = others.into_iter().filter(|other| other != id).collect();
            let winner = chance.pick(&others).ok_or(ChangeError::NotPossible)?;
            let mut next = Version::clone(records.now(winner).ok_or(ChangeError::NoRecord)?);
            next.changed = version.changed.max(next.changed);
            edit(&mut next.fields, chance);
            let mut writes = write(None, &["profile"]);
            writes.extend(memberships_of(records, id));
            writes.push(Write {
                kind: ChangeKind::Edit,
                id: winner.clone(),
                next: Some(next),
                actions: &["profile"],
            });
            Ok(writes)
        }
        (ChangeKind::Edit, RecordType::List) => {
            replace(&mut version.fields, "name", LISTS, chance);
            Ok(write(Some(version), &[]))
        }
        (ChangeKind::Delete, RecordType::List) => {
            let mut writes = write(None, &[]);
            writes.extend(memberships_of(records, id));
            Ok(writes)
        }
        (ChangeKind::Delete, RecordType::Membership) => Ok(write(None, &[])),
        _ => Err(ChangeError::NotPossible),
    }
}

/// Ends the memberships of a profile or in a list.
fn memberships_of<'a>(records: &'a Records, of: &'a RecordId) -> impl Iterator<Item = Write> + 'a {
    let live = records.live(RecordType::Membership).map(|(id, _)| id);
    let theirs = live.filter(|id| match of.record_type {
        RecordType::List => id.parent() == Some(of.external_id.as_str()),
        _ => id.own() == of.external_id,
    });
    theirs.map(|id| Write { kind: ChangeKind::Delete, id: id.clone(), next: None, actions: &[] })
}

/// A list and a profile that is not on it.
fn free_place(records: &Records, chance: &mut Chance) -> Option<(String, String)> {
    let lists = records.live_ids(RecordType::List);
    let profiles = records.live_ids(RecordType::Profile);
    // Some tries find one unless nearly everybody is on every list.
    (0..50).find_map(|_| {
        let list = chance.pick(&lists)?.external_id.clone();
        let profile = chance.pick(&profiles)?.external_id.clone();
        let id = RecordId::new(RecordType::Membership, format!("{list}/{profile}"));
        records.now(&id).is_none().then_some((list, profile))
    })
}

/// A list created at `at`, or long ago.
fn list(chance: &mut Chance, number: u64, at: Option<Timestamp>) -> Version {
    let created = whole_seconds(at.unwrap_or_else(|| long_ago(chance)));
    let fields = json!({
        "name": format!("{} {number}", chance.word(LISTS)),
        "created": with_offset(created),
        "opt_in_process": chance.word(&["single_opt_in", "double_opt_in"]),
    });
    Version { changed: created, fields: object(fields) }
}

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
