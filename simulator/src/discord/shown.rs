//! How Discord's records look in an answer: arrays in any order, keys that no document has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::chance::Chance;
use crate::record::{Fields, RecordId, RecordType, Version};
use crate::records::Records;

/// A member with its roles in any order.
pub(super) fn member(version: &Version, chance: &mut Chance) -> Value {
    let mut fields = version.fields.clone();
    shuffle(&mut fields, "roles", chance);
    undocumented(&mut fields, chance, "hoisted_role", &json!(null));
    Value::Object(fields)
}

/// A role.
pub(super) fn role(version: &Version, chance: &mut Chance) -> Value {
    let mut fields = version.fields.clone();
    let moved = json!(chance.number(0, 1_000_000));
    undocumented(&mut fields, chance, "version", &moved);
    Value::Object(fields)
}

/// A guild with its roles, with counts that are estimates if they are asked for.
pub(super) fn guild(
    records: &Records,
    id: &RecordId,
    version: &Version,
    counts: bool,
    chance: &mut Chance,
) -> Value {
    let mut fields = version.fields.clone();
    shuffle(&mut fields, "features", chance);
    let roles = roles_of(records, id).into_values();
    let mut roles: Vec<Value> = roles.map(|version| role(version, chance)).collect();
    chance.shuffle(&mut roles);
    fields.insert("roles".to_owned(), Value::Array(roles));
    undocumented(&mut fields, chance, "latest_onboarding_question_id", &json!(null));
    if counts {
        approximate(records, id, &mut fields, chance);
    }
    Value::Object(fields)
}

/// What a list of the bot's guilds shows of one.
pub(super) fn partial_guild(
    records: &Records,
    id: &RecordId,
    version: &Version,
    counts: bool,
    chance: &mut Chance,
) -> Value {
    let mut fields: Fields = version
        .fields
        .iter()
        .filter(|(name, _)| ["id", "name", "icon", "banner", "features"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    shuffle(&mut fields, "features", chance);
    fields.insert("owner".to_owned(), json!(false));
    fields.insert("permissions".to_owned(), json!("2248473465835073"));
    if counts {
        approximate(records, id, &mut fields, chance);
    }
    Value::Object(fields)
}

/// The roles of a guild.
pub(super) fn roles_of<'a>(
    records: &'a Records,
    guild: &RecordId,
) -> BTreeMap<&'a RecordId, &'a Version> {
    let roles = records.live(RecordType::Role);
    let here = roles.filter(|(id, _)| id.parent() == Some(guild.external_id.as_str()));
    here.map(|(id, version)| (id, &**version)).collect()
}

fn approximate(records: &Records, id: &RecordId, fields: &mut Fields, chance: &mut Chance) {
    let members = records.live(RecordType::Member);
    let here = members.filter(|(one, _)| one.parent() == Some(id.external_id.as_str())).count();
    let count = u64::try_from(here).unwrap_or(u64::MAX).saturating_add(chance.number(0, 9));
    fields.insert("approximate_member_count".to_owned(), json!(count));
    fields.insert("approximate_presence_count".to_owned(), json!(chance.number(0, count + 1)));
}

fn shuffle(fields: &mut Fields, name: &str, chance: &mut Chance) {
    if let Some(items) = fields.get_mut(name).and_then(Value::as_array_mut) {
        chance.shuffle(items);
    }
}

/// Now and then a key of which nobody has written anything down.
fn undocumented(fields: &mut Fields, chance: &mut Chance, name: &str, value: &Value) {
    if chance.happens(0.5) {
        fields.insert(name.to_owned(), value.clone());
    }
}
