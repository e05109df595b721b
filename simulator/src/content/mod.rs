//! What records contain, and how a change alters them.

pub(crate) mod discord;
pub(crate) mod eventbrite;
pub(crate) mod klaviyo;
pub(crate) mod patreon;

use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use crate::chance::Chance;
use crate::config::Config;
use crate::record::{Fields, Platform, RecordId, RecordType, Version};
use crate::records::{ChangeError, ChangeKind, Records, Write};

const FIRST_NAMES: &[&str] =
    &["Inês", "Rui", "Zoë", "Oluwaseun", "李娜", "Søren", "Aino", "Łukasz", "Ana María", "D'Arcy"];
const LAST_NAMES: &[&str] = &[
    "Marvão",
    "Delgado",
    "Adébáyọ̀",
    "王",
    "Ødegård",
    "Virtanen",
    "Nowak",
    "O'Neill",
    "Garcia-Ruiz",
];
const CITIES: &[&str] = &["Lisboa", "Köln", "東京", "Kraków", "São Paulo", "Cork", "Ōsaka"];

/// How many records of which kind there are at the start, what belongs to others behind them.
pub(crate) fn sizes(platform: Platform, config: &Config) -> Vec<(RecordType, usize)> {
    match platform {
        Platform::Klaviyo => vec![
            (RecordType::Profile, config.klaviyo.profiles),
            (RecordType::List, config.klaviyo.lists),
            (RecordType::Membership, config.klaviyo.memberships),
        ],
        Platform::Eventbrite => vec![
            (RecordType::Event, config.eventbrite.events),
            (RecordType::Order, config.eventbrite.orders),
            (RecordType::Attendee, config.eventbrite.attendees),
        ],
        Platform::Patreon => vec![
            (RecordType::Campaign, config.patreon.campaigns),
            (RecordType::Tier, config.patreon.tiers),
            (RecordType::Member, config.patreon.members),
        ],
        Platform::Discord => vec![
            (RecordType::Guild, config.discord.guilds),
            // Each guild has `@everyone` besides.
            (RecordType::Role, config.discord.roles + config.discord.guilds),
            (RecordType::Member, config.discord.members),
            (RecordType::Entitlement, config.discord.entitlements),
        ],
    }
}

/// The `number`th record of an account, with the id that is `wanted` if that can be; long since
/// there when `at` is absent. `None` when there is nothing it could belong to.
pub(crate) fn make(
    records: &Records,
    record_type: RecordType,
    wanted: Option<&str>,
    number: u64,
    chance: &mut Chance,
    at: Option<Timestamp>,
) -> Option<(RecordId, Version)> {
    match records.platform {
        Platform::Klaviyo => klaviyo::make(records, record_type, wanted, number, chance, at),
        Platform::Eventbrite => eventbrite::make(records, record_type, number, chance, at),
        Platform::Patreon => patreon::make(records, record_type, number, chance, at),
        Platform::Discord => discord::make(records, record_type, wanted, number, chance, at),
    }
}

/// The webhooks that tell of a new record.
pub(crate) fn actions_of_creation(
    platform: Platform,
    record_type: RecordType,
    version: &Version,
) -> &'static [&'static str] {
    match (platform, record_type) {
        (Platform::Klaviyo, RecordType::Profile) => &["profile"],
        (Platform::Eventbrite, RecordType::Event) => &["event.created"],
        (Platform::Eventbrite, RecordType::Attendee) => &["attendee.updated"],
        (Platform::Eventbrite, RecordType::Order) => &["order.placed"],
        (Platform::Patreon, RecordType::Member) => patreon::actions_of_creation(version),
        (Platform::Discord, RecordType::Entitlement) => &["ENTITLEMENT_CREATE"],
        (Platform::Discord, RecordType::Member) => &["member"],
        (Platform::Discord, RecordType::Role) => &["role"],
        (Platform::Discord, RecordType::Guild) => &["guild", "APPLICATION_AUTHORIZED"],
        _ => &[],
    }
}

/// What a change does: first to the record itself, whose state so far is `version`, dated now.
pub(crate) fn alter(
    records: &Records,
    kind: ChangeKind,
    id: &RecordId,
    version: Version,
    chance: &mut Chance,
    at: Timestamp,
) -> Result<Vec<Write>, ChangeError> {
    match records.platform {
        Platform::Klaviyo => klaviyo::alter(records, kind, id, version, chance, at),
        Platform::Eventbrite => eventbrite::alter(records, kind, id, version, chance, at),
        Platform::Patreon => patreon::alter(records, kind, id, version, chance, at),
        Platform::Discord => discord::alter(records, kind, id, version, chance, at),
    }
}

/// A moment in the two years before 2026: the same for the same seed, whenever it runs.
fn long_ago(chance: &mut Chance) -> Timestamp {
    let seconds = chance.number(0, 2 * 365 * 24 * 3600);
    let start = Timestamp::from_second(1_704_067_200).unwrap_or(Timestamp::UNIX_EPOCH);
    let ago = i64::try_from(seconds).unwrap_or_default().seconds();
    start.checked_add(ago).unwrap_or(start)
}

/// Puts another of the words into a field.
fn replace(fields: &mut Fields, name: &str, words: &[&'static str], chance: &mut Chance) {
    let word = chance.other(words, fields.get(name).and_then(Value::as_str));
    fields.insert(name.to_owned(), Value::from(word));
}

/// Alters the object in a field.
fn inner(fields: &mut Fields, name: &str, alter: impl FnOnce(&mut Fields)) {
    if let Some(object) = fields.get_mut(name).and_then(Value::as_object_mut) {
        alter(object);
    }
}

fn object(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}
