//! Guilds with their roles and members, and what users have bought.
//!
//! A record's fields are the object that the API shows, less what differs from read to read.

mod edit;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{FIRST_NAMES, long_ago, object};
use crate::chance::Chance;
use crate::clock::{with_micros, with_offset};
use crate::json::put;
use crate::record::{RecordId, RecordType, Version};
use crate::records::{ChangeError, ChangeKind, Records, Write};

const GUILDS: &[&str] = &["Okafor Press", "Läuferbund", "写真部", "Harbour Makers"];
const ROLES: &[&str] = &["Workbench", "Moderator", "Atelier ✂️", "VIP – early", "見習い"];
/// `VIEW_CHANNEL` and the like; as text, for they outgrow 53 bits.
const PERMISSIONS: &[&str] = &["104320577", "1071698660929", "2248473465835073"];
const HEX: &str = "0123456789abcdef";
/// What users can buy; a SKU of the application.
const SKU: &str = "1019475255913222999";

/// A guild; a role or a member of some guild, or of the one that is wanted; a purchase.
pub(super) fn make(
    records: &Records,
    record_type: RecordType,
    wanted: Option<&str>,
    number: u64,
    chance: &mut Chance,
    at: Option<Timestamp>,
) -> Option<(RecordId, Version)> {
    let created = at.unwrap_or_else(|| long_ago(chance));
    let version = |fields| Version { changed: created, fields: object(fields) };
    match record_type {
        RecordType::Guild => {
            let id = format!("{}", 1_002_003_004_005_000_000 + number * 1_000_000_000);
            Some((RecordId::new(record_type, id.as_str()), version(guild(chance, &id))))
        }
        RecordType::Role => {
            let everyone = guild_without_everyone(records);
            let (guild, own) = match everyone {
                Some(guild) => (guild.clone(), guild),
                None => (
                    guild_of(records, wanted, chance)?,
                    format!("{}", 1_102_003_004_005_006_001 + number),
                ),
            };
            let fields = role(chance, &own, guild == own, number);
            Some((RecordId::new(record_type, format!("{guild}/{own}")), version(fields)))
        }
        RecordType::Member => {
            let guild = guild_of(records, wanted, chance)?;
            let user = match wanted.and_then(|wanted| wanted.split_once('/')) {
                Some((_, user)) => {
                    known_user(records, user).unwrap_or_else(|| new_user(chance, user))
                }
                None => some_user(records, &guild, number, chance),
            };
            let own = user.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            let fields = member(records, &guild, &user, chance, created);
            Some((RecordId::new(record_type, format!("{guild}/{own}")), version(fields)))
        }
        RecordType::Entitlement => {
            let members = records.live_ids(RecordType::Member);
            let user = chance.pick(&members)?.own().to_owned();
            let id = format!("{}", 1_019_653_849_998_299_001 + number);
            let application = &records.config.discord.application_id;
            let fields = json!({
                "id": id, "sku_id": SKU, "application_id": application, "user_id": user,
                "type": 8, "deleted": false, "starts_at": with_offset(created), "ends_at": null,
                "consumed": false, "gift_code_flags": 0, "promotion_id": null,
            });
            Some((RecordId::new(record_type, id), version(fields)))
        }
        _ => None,
    }
}

/// What happens to a record of Discord's; see `edit` for what follows from it.
pub(super) fn alter(
    records: &Records,
    kind: ChangeKind,
    id: &RecordId,
    mut version: Version,
    chance: &mut Chance,
    at: Timestamp,
) -> Result<Vec<Write>, ChangeError> {
    let write = |next, actions| Write { kind, id: id.clone(), next, actions };
    match (kind, id.record_type) {
        (ChangeKind::Edit, RecordType::Guild) => {
            edit::guild(&mut version.fields, chance);
            Ok(vec![write(Some(version), &["guild"])])
        }
        // A counter that many hands move.
        (ChangeKind::Touch, RecordType::Guild) => {
            version.fields.insert("premium_subscription_count".into(), json!(chance.number(0, 50)));
            Ok(vec![write(Some(version), &[])])
        }
        (ChangeKind::Edit, RecordType::Role) => {
            edit::role(&mut version.fields, chance);
            Ok(vec![write(Some(version), &["role"])])
        }
        (ChangeKind::Delete, RecordType::Role) => {
            if id.parent() == Some(id.own()) {
                return Err(ChangeError::NotPossible);
            }
            let mut writes = vec![write(None, &["role"])];
            writes.extend(edit::without_role(records, id, at));
            Ok(writes)
        }
        (ChangeKind::Edit, RecordType::Member) => {
            Ok(edit::member(records, id, version, chance, at))
        }
        (ChangeKind::Delete, RecordType::Member) => Ok(vec![write(None, &["member"])]),
        (ChangeKind::Edit, RecordType::Entitlement) => {
            let actions = edit::entitlement(&mut version.fields, at)?;
            Ok(vec![write(Some(version), actions)])
        }
        (ChangeKind::Delete, RecordType::Entitlement) => {
            if version.fields.insert("deleted".into(), json!(true)) == Some(json!(true)) {
                return Err(ChangeError::NoRecord);
            }
            Ok(vec![write(Some(version), &["ENTITLEMENT_DELETE"])])
        }
        _ => Err(ChangeError::NotPossible),
    }
}

/// The guild that is wanted, or any.
fn guild_of(records: &Records, wanted: Option<&str>, chance: &mut Chance) -> Option<String> {
    let guilds = records.live_ids(RecordType::Guild);
    match wanted {
        Some(wanted) => {
            let guild = wanted.split_once('/').map_or(wanted, |(guild, _)| guild);
            guilds.iter().any(|id| id.external_id == guild).then(|| guild.to_owned())
        }
        None => chance.pick(&guilds).map(|id| id.external_id.clone()),
    }
}

fn guild_without_everyone(records: &Records) -> Option<String> {
    let mut guilds = records.live(RecordType::Guild).map(|(id, _)| id.external_id.clone());
    guilds.find(|guild| {
        records.now(&RecordId::new(RecordType::Role, format!("{guild}/{guild}"))).is_none()
    })
}

fn known_user(records: &Records, user: &str) -> Option<Value> {
    let mut members = records.live(RecordType::Member);
    members.find(|(id, _)| id.own() == user)?.1.fields.get("user").cloned()
}

/// Now and then somebody who is in another guild already, else somebody new.
fn some_user(records: &Records, guild: &str, number: u64, chance: &mut Chance) -> Value {
    if chance.happens(0.3) {
        let members = records.live_ids(RecordType::Member);
        let here: BTreeSet<&str> =
            members.iter().filter(|id| id.parent() == Some(guild)).map(RecordId::own).collect();
        let others: Vec<&RecordId> = members.iter().filter(|id| !here.contains(id.own())).collect();
        let known = chance.pick(&others).and_then(|id| known_user(records, id.own()));
        if let Some(known) = known {
            return known;
        }
    }
    // Accounts of three ages: 17, 18 and 19 digits, so that texts sort otherwise than numbers do;
    // all beyond 2^53, and so close together that doubles could not tell them apart.
    let base = match number % 3 {
        0 => 91_000_000_000_000_001,
        1 => 810_000_000_000_000_001,
        _ => 1_110_000_000_000_000_001,
    };
    let id = format!("{}", base + number);
    new_user(chance, &id)
}

fn new_user(chance: &mut Chance, id: &str) -> Value {
    let name = chance.word(FIRST_NAMES);
    json!({
        "id": id,
        "username": format!("user.{id}"),
        "global_name": name,
        "discriminator": "0",
        "avatar": chance.text(HEX, 32),
        "bot": false,
        "public_flags": 64,
        "banner": null,
        "accent_color": null,
        "avatar_decoration_data": null,
        "collectibles": null,
        "primary_guild": null,
    })
}

fn guild(chance: &mut Chance, id: &str) -> Value {
    json!({
        "id": id,
        "name": chance.word(GUILDS),
        "icon": chance.text(HEX, 32),
        "description": null, "splash": null, "discovery_splash": null,
        "owner_id": "810000000000000001",
        "afk_channel_id": null, "afk_timeout": 300,
        "verification_level": 1, "default_message_notifications": 1, "explicit_content_filter": 2,
        "emojis": [],
        "features": ["COMMUNITY", "NEWS", "ROLE_ICONS"],
        "mfa_level": 0,
        "application_id": null,
        "system_channel_id": "1002003004005000010", "system_channel_flags": 0,
        "rules_channel_id": "1002003004005000011",
        "max_members": 500_000,
        "vanity_url_code": null, "banner": null,
        "premium_tier": 1, "premium_subscription_count": 3,
        "preferred_locale": "en-GB",
        "public_updates_channel_id": "1002003004005000012",
        "nsfw_level": 0,
        "stickers": [],
        "premium_progress_bar_enabled": false,
        "safety_alerts_channel_id": null,
        "incidents_data": null,
    })
}

fn role(chance: &mut Chance, id: &str, everyone: bool, number: u64) -> Value {
    let colour = chance.number(0, 0xff_ffff);
    let mut role = json!({
        "id": id,
        "name": if everyone { "@everyone" } else { chance.word(ROLES) },
        "color": colour,
        "colors": { "primary_color": colour, "secondary_color": null, "tertiary_color": null },
        "hoist": true, "icon": null, "unicode_emoji": null,
        "position": if everyone { 0 } else { number },
        "permissions": chance.word(PERMISSIONS),
        "managed": false, "mentionable": false, "flags": 0,
    });
    if !everyone && chance.happens(0.3) {
        // The key alone says true; its value is always null.
        put(&mut role, "tags", json!({ "premium_subscriber": null }));
    }
    role
}

fn member(
    records: &Records,
    guild: &str,
    user: &Value,
    chance: &mut Chance,
    joined: Timestamp,
) -> Value {
    let mut roles = edit::roles_of(records, guild);
    chance.shuffle(&mut roles);
    roles.truncate(usize::try_from(chance.number(0, 4)).unwrap_or_default());
    json!({
        "user": user,
        "nick": null, "avatar": null, "banner": null,
        "roles": roles,
        "joined_at": with_micros(joined),
        "premium_since": null,
        "deaf": false, "mute": false, "flags": 0, "pending": false,
        "communication_disabled_until": null,
        "avatar_decoration_data": null, "collectibles": null,
    })
}
