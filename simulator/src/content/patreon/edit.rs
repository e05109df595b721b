//! What changes in a member, and which triggers that fires.

use serde_json::{Value, json};

use super::{NOTES, attribute, tiers_of};
use crate::chance::Chance;
use crate::content::{FIRST_NAMES, inner, replace};
use crate::record::Version;
use crate::records::Records;

/// Alters something that a mirror must notice.
pub(super) fn member(
    records: &Records,
    version: &mut Version,
    chance: &mut Chance,
) -> &'static [&'static str] {
    let former = attribute(version, "patron_status") == "former_patron";
    let tiers: Vec<String> = tiers_of(records, version.text("campaign"));
    let pays = !former && !attribute(version, "patron_status").is_null();
    if pays && !tiers.is_empty() && chance.happens(0.4) {
        let held = version.texts("tiers").into_iter().map(str::to_owned).collect::<Vec<_>>();
        let others: Vec<String> = tiers.into_iter().filter(|tier| !held.contains(tier)).collect();
        let mut next: Vec<String> = held.into_iter().take(1).collect();
        next.extend(chance.pick(&others).cloned());
        if next.len() < 2 || chance.happens(0.5) {
            next.reverse();
            next.truncate(1);
        }
        version.fields.insert("tiers".to_owned(), json!(next));
        inner(&mut version.fields, "attributes", |attributes| {
            for name in ["currently_entitled_amount_cents", "will_pay_amount_cents"] {
                let cents = attributes.get(name).and_then(Value::as_u64).unwrap_or_default();
                attributes.insert(name.to_owned(), json!(cents + 100 * chance.number(1, 5)));
            }
        });
        return &["members:pledge:update", "members:update"];
    }
    let other_name = chance.happens(0.5);
    let mut name = String::new();
    inner(&mut version.fields, "attributes", |attributes| {
        if !other_name {
            replace(attributes, "note", NOTES, chance);
            return;
        }
        let current = attributes.get("full_name").and_then(Value::as_str).unwrap_or_default();
        let (first, last) = current.split_once(' ').unwrap_or((current, ""));
        name = format!("{} {last}", chance.other(FIRST_NAMES, Some(first)));
        attributes.insert("full_name".to_owned(), json!(name));
    });
    if other_name {
        // The user is the same person.
        inner(&mut version.fields, "user", |user| {
            inner(user, "attributes", |user| {
                user.insert("full_name".to_owned(), json!(name));
            });
        });
    }
    &["members:update"]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::record::{Fields, Platform, RecordType};

    fn parts(fields: &Fields) -> (Value, Value) {
        (fields["attributes"].clone(), fields["tiers"].clone())
    }

    #[test]
    fn every_edit_of_a_member_alters_attributes_or_tiers() {
        let records = Records::generate(Platform::Patreon, &Arc::new(Config::default()));
        let mut chance = Chance::of(7, "test");
        for (id, version) in records.live(RecordType::Member) {
            let mut next = Version::clone(version);
            for round in 0..20 {
                let before = parts(&next.fields);
                member(&records, &mut next, &mut chance);
                assert_ne!(parts(&next.fields), before, "{id:?}, edit {round}");
            }
        }
    }
}
