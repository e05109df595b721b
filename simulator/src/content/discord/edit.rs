//! What changes in Discord's records, and what follows from that elsewhere.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::{GUILDS, PERMISSIONS, ROLES};
use crate::chance::Chance;
use crate::clock::with_offset;
use crate::content::{FIRST_NAMES, inner, replace};
use crate::record::{Fields, RecordId, RecordType, Version};
use crate::records::{ChangeError, ChangeKind, Records, Write};

const NICKS: &[&str] = &["Mari", "der Lange", "写", "K. 🌊", "quiet one"];

/// Another name or another level of verification.
pub(super) fn guild(fields: &mut Fields, chance: &mut Chance) {
    if chance.happens(0.5) {
        replace(fields, "name", GUILDS, chance);
    } else {
        let level = fields.get("verification_level").and_then(Value::as_u64).unwrap_or_default();
        fields.insert("verification_level".to_owned(), json!((level + 1) % 5));
    }
}

/// Another name, colour or permissions, or the tag of the boosters on or off.
pub(super) fn role(fields: &mut Fields, chance: &mut Chance) {
    let everyone = fields.get("name").and_then(Value::as_str) == Some("@everyone");
    match chance.number(0, 4) {
        0 if !everyone => replace(fields, "name", ROLES, chance),
        1 if !everyone => {
            if fields.remove("tags").is_none() {
                fields.insert("tags".to_owned(), json!({ "premium_subscriber": null }));
            }
        }
        2 => {
            let colour = fields.get("color").and_then(Value::as_u64).unwrap_or_default() ^ 0x40;
            fields.insert("color".to_owned(), json!(colour));
            inner(fields, "colors", |colours| {
                colours.insert("primary_color".to_owned(), json!(colour));
            });
        }
        _ => replace(fields, "permissions", PERMISSIONS, chance),
    }
}

/// The roles that a member of the guild can have; everybody has `@everyone` unsaid.
pub(super) fn roles_of(records: &Records, guild: &str) -> Vec<String> {
    let roles = records.live(RecordType::Role).map(|(id, _)| id);
    let assignable = roles.filter(|id| id.parent() == Some(guild) && id.own() != guild);
    assignable.map(|id| id.own().to_owned()).collect()
}

/// A member's own edit, or one of the user behind it, which shows in every guild at once.
pub(super) fn member(
    records: &Records,
    id: &RecordId,
    mut version: Version,
    chance: &mut Chance,
    at: Timestamp,
) -> Vec<Write> {
    let write = |id: &RecordId, next| Write {
        kind: ChangeKind::Edit,
        id: id.clone(),
        next: Some(next),
        actions: &["member"],
    };
    match chance.number(0, 5) {
        0 => {
            let user = version.fields.get("user").and_then(|user| user.get("global_name"));
            let name = chance.other(FIRST_NAMES, user.and_then(Value::as_str));
            let renamed = |version: &Version| {
                let mut next = version.clone();
                next.changed = next.changed.max(at);
                inner(&mut next.fields, "user", |user| {
                    user.insert("global_name".to_owned(), json!(name));
                });
                next
            };
            let mut writes = vec![write(id, renamed(&version))];
            let elsewhere = records.live(RecordType::Member);
            let elsewhere = elsewhere.filter(|(other, _)| other.own() == id.own() && *other != id);
            writes.extend(elsewhere.map(|(other, version)| write(other, renamed(version))));
            return writes;
        }
        1 | 2 if change_roles(records, id, &mut version, chance) => {}
        3 => {
            // In the future while it holds; the API goes on showing it when it is over.
            let until = at.checked_add(10.minutes()).unwrap_or(at);
            version
                .fields
                .insert("communication_disabled_until".to_owned(), json!(with_offset(until)));
            // It alone would not count once it is past: something else is seen to change too.
            let flags = version.fields.get("flags").and_then(Value::as_u64).unwrap_or_default();
            version.fields.insert("flags".to_owned(), json!(flags ^ 2));
        }
        _ => replace(&mut version.fields, "nick", NICKS, chance),
    }
    vec![write(id, version)]
}

/// Gives or takes a role; false when the guild has none to give.
fn change_roles(
    records: &Records,
    id: &RecordId,
    version: &mut Version,
    chance: &mut Chance,
) -> bool {
    let all = roles_of(records, id.parent().unwrap_or_default());
    let Some(role) = chance.pick(&all) else { return false };
    let mut held: Vec<String> = version.texts("roles").into_iter().map(str::to_owned).collect();
    match held.iter().position(|one| one == role) {
        Some(place) => drop(held.remove(place)),
        None => held.push(role.clone()),
    }
    version.fields.insert("roles".to_owned(), json!(held));
    true
}

/// Members lose a role that is deleted, and nothing tells of each.
pub(super) fn without_role(
    records: &Records,
    role: &RecordId,
    at: Timestamp,
) -> impl Iterator<Item = Write> {
    let here = |(id, version): &(&RecordId, &Arc<Version>)| {
        id.parent() == role.parent() && version.texts("roles").contains(&role.own())
    };
    records.live(RecordType::Member).filter(here).map(move |(id, version)| {
        let mut next = Version::clone(version);
        next.changed = next.changed.max(at);
        let kept: Vec<&str> =
            version.texts("roles").into_iter().filter(|one| *one != role.own()).collect();
        next.fields.insert("roles".to_owned(), json!(kept));
        Write { kind: ChangeKind::Edit, id: id.clone(), next: Some(next), actions: &[] }
    })
}

/// The subscription ends, which is told; or what was bought is used up, which is not.
pub(super) fn entitlement(
    fields: &mut Fields,
    at: Timestamp,
) -> Result<&'static [&'static str], ChangeError> {
    if fields.get("deleted") == Some(&json!(true)) {
        return Err(ChangeError::NoRecord);
    }
    if fields.get("ends_at").is_none_or(Value::is_null) {
        fields.insert("ends_at".to_owned(), json!(with_offset(at)));
        return Ok(&["ENTITLEMENT_UPDATE"]);
    }
    let consumed = fields.get("consumed") == Some(&json!(true));
    fields.insert("consumed".to_owned(), json!(!consumed));
    Ok(&[])
}
