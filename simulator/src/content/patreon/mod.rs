//! Campaigns with their tiers, and members with their users, addresses and pledges.
//!
//! A record's fields: `attributes`, and the ids of what it is related to. How much of that an
//! answer shows is decided by who asks.

mod edit;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CITIES, FIRST_NAMES, LAST_NAMES, inner, long_ago, object, replace};
use crate::chance::Chance;
use crate::clock::{whole_seconds, with_offset};
use crate::record::{RecordId, RecordType, Version};
use crate::records::{ChangeError, ChangeKind, Records, Write};

const CRAFTS: &[&str] = &["letterpress tutorials", "field recordings", "linocuts", "Kalligraphie"];
const TIERS: &[&str] = &["Workbench", "Apprentice", "Atelier ✂️", "Patron der Künste"];
const NOTES: &[&str] = &["", "met at the fair", "wants stickers", "Übergabe im März"];
const AMOUNTS: [u64; 5] = [300, 500, 700, 1_500, 4_000];

/// A campaign; a tier of some campaign; a member of some campaign.
pub(super) fn make(
    records: &Records,
    record_type: RecordType,
    number: u64,
    chance: &mut Chance,
    at: Option<Timestamp>,
) -> Option<(RecordId, Version)> {
    let created = whole_seconds(at.unwrap_or_else(|| long_ago(chance)));
    let (id, fields) = match record_type {
        RecordType::Campaign => {
            let id = format!("{}", 4_455_000 + number);
            (id.clone(), campaign(chance, &id, created))
        }
        RecordType::Tier => {
            let campaigns = records.live_ids(RecordType::Campaign);
            let campaign = chance.pick(&campaigns)?.external_id.clone();
            let id = format!("{campaign}/{}", 8_112_000 + number);
            (id, tier(chance, &campaign, created))
        }
        RecordType::Member => {
            let campaigns = records.live_ids(RecordType::Campaign);
            let campaign = chance.pick(&campaigns)?.external_id.clone();
            (uuid(chance), member(records, &campaign, number, chance, created))
        }
        _ => return None,
    };
    Some((RecordId::new(record_type, id), Version { changed: created, fields: object(fields) }))
}

/// Joining for money fires two triggers, joining for free fires one.
pub(super) fn actions_of_creation(version: &Version) -> &'static [&'static str] {
    if attribute(version, "patron_status").is_null() {
        &["members:create"]
    } else {
        // The pledge comes first, says a developer; nobody promises it.
        &["members:pledge:create", "members:create"]
    }
}

/// What happens to a record of Patreon's.
///
/// A member who ever paid is not removed but becomes a former patron.
pub(super) fn alter(
    records: &Records,
    kind: ChangeKind,
    id: &RecordId,
    mut version: Version,
    chance: &mut Chance,
    at: Timestamp,
) -> Result<Vec<Write>, ChangeError> {
    let (actions, next): (&'static [&'static str], _) = match (kind, id.record_type) {
        (ChangeKind::Edit, RecordType::Campaign) => {
            inner(&mut version.fields, "attributes", |attributes| {
                replace(attributes, "creation_name", CRAFTS, chance);
            });
            (&[], Some(version))
        }
        (ChangeKind::Edit, RecordType::Tier) => {
            inner(&mut version.fields, "attributes", |attributes| {
                let title = attributes.get("title").and_then(Value::as_str).map(str::to_owned);
                let other = chance.other(TIERS, title.as_deref());
                attributes.insert("title".to_owned(), json!(other));
                attributes.insert("edited_at".to_owned(), json!(with_offset(at)));
            });
            (&[], Some(version))
        }
        (ChangeKind::Edit, RecordType::Member) => {
            let actions = edit::member(records, &mut version, chance);
            (actions, Some(version))
        }
        (ChangeKind::Delete, RecordType::Member) if has_paid(&version) => {
            if attribute(&version, "patron_status") == "former_patron" {
                return Err(ChangeError::NotPossible);
            }
            inner(&mut version.fields, "attributes", |attributes| {
                attributes.insert("patron_status".to_owned(), json!("former_patron"));
                attributes.insert("currently_entitled_amount_cents".to_owned(), json!(0));
                attributes.insert("will_pay_amount_cents".to_owned(), json!(0));
                attributes.insert("next_charge_date".to_owned(), Value::Null);
            });
            version.fields.insert("tiers".to_owned(), json!([]));
            (&["members:pledge:delete", "members:update"], Some(version))
        }
        (ChangeKind::Delete, RecordType::Member) => (&["members:delete"], None),
        _ => return Err(ChangeError::NotPossible),
    };
    Ok(vec![Write { kind, id: id.clone(), next, actions }])
}

/// An attribute of a record; null when there is none.
pub(crate) fn attribute<'a>(version: &'a Version, name: &str) -> &'a Value {
    let attributes = version.fields.get("attributes");
    attributes.and_then(|attributes| attributes.get(name)).unwrap_or(&Value::Null)
}

fn has_paid(version: &Version) -> bool {
    attribute(version, "campaign_lifetime_support_cents").as_u64().unwrap_or_default() > 0
}

fn tiers_of(records: &Records, campaign: &str) -> Vec<String> {
    let tiers = records.live(RecordType::Tier);
    let of_campaign =
        |(_, version): &(&RecordId, &Arc<Version>)| version.text("campaign") == campaign;
    tiers.filter(of_campaign).map(|(id, _)| id.own().to_owned()).collect()
}

fn campaign(chance: &mut Chance, id: &str, created: Timestamp) -> Value {
    let vanity = format!("maker{id}");
    json!({
        "creator": format!("{}", 1_200_000 + chance.number(0, 1_000_000)),
        "attributes": {
            "created_at": with_offset(created),
            "creation_name": chance.word(CRAFTS),
            "discord_server_id": "1002003004005000000",
            "google_analytics_id": Value::Null,
            "has_rss": false, "has_sent_rss_notify": false,
            "image_small_url": Value::Null, "image_url": Value::Null,
            "is_charged_immediately": true, "is_monthly": true, "is_nsfw": false,
            "main_video_embed": Value::Null, "main_video_url": Value::Null,
            "one_liner": Value::Null,
            "patron_count": 0,
            "pay_per_name": Value::Null,
            "pledge_url": format!("/join/{vanity}"),
            "published_at": with_offset(created),
            "rss_artwork_url": Value::Null, "rss_feed_title": Value::Null,
            "show_earnings": false,
            "summary": "<p>Weekly bench notes – ça continue.</p>",
            "thanks_embed": Value::Null, "thanks_msg": "", "thanks_video_url": Value::Null,
            "url": format!("https://www.patreon.com/{vanity}"),
            "vanity": vanity,
        },
    })
}

fn tier(chance: &mut Chance, campaign: &str, created: Timestamp) -> Value {
    json!({
        "campaign": campaign,
        "attributes": {
            "amount_cents": chance.pick(&AMOUNTS).copied().unwrap_or(500),
            "created_at": with_offset(created),
            "description": "All of the bench notes.",
            "discord_role_ids": ["1002003004005006007", "1002003004005006003"],
            "edited_at": with_offset(created),
            "image_url": Value::Null,
            "patron_count": 0,
            "post_count": chance.number(0, 50),
            "published": true,
            "published_at": with_offset(created),
            "remaining": Value::Null,
            "requires_shipping": false,
            "title": chance.word(TIERS),
            "unpublished_at": Value::Null,
            "url": format!("/join/{campaign}/checkout"),
            "user_limit": Value::Null,
        },
    })
}

fn member(
    records: &Records,
    campaign: &str,
    number: u64,
    chance: &mut Chance,
    created: Timestamp,
) -> Value {
    let (first, last) = (chance.word(FIRST_NAMES), chance.word(LAST_NAMES));
    let name = format!("{first} {last}");
    let tiers = tiers_of(records, campaign);
    let status = chance.pick(&["active_patron", "active_patron", "declined_patron", ""]);
    let status = status.copied().filter(|status| !status.is_empty());
    let pays = status.is_some();
    let cents = if pays { chance.pick(&AMOUNTS).copied().unwrap_or(500) } else { 0 };
    let mut entitled: Vec<String> =
        chance.pick(&tiers).filter(|_| pays).cloned().into_iter().collect();
    entitled.extend(chance.pick(&tiers).filter(|tier| pays && !entitled.contains(tier)).cloned());
    let when = with_offset(created);
    let user = 90_817_000 + number;
    let lives_somewhere = pays && chance.happens(0.4);
    let address = lives_somewhere.then(|| {
        json!({ "id": format!("{}", 5_500_000 + number), "attributes": {
            "addressee": name, "city": chance.word(CITIES), "country": "PT",
            "created_at": when, "line_1": format!("Rua do Alecrim {number}"),
            "line_2": "", "phone_number": Value::Null, "postal_code": "1200-018", "state": Value::Null,
        } })
    });
    let pledges: Vec<Value> = (0..if pays { chance.number(1, 4) } else { 0 })
        .map(|nth| {
            json!({ "id": format!("pledge_start:{}", number * 10 + nth), "attributes": {
                "amount_cents": cents, "currency_code": "USD", "date": when,
                "payment_status": "Paid", "pledge_payment_status": "valid",
                "tier_id": entitled.first(), "tier_title": "Workbench",
                "type": if nth == 0 { "pledge_start" } else { "subscription" },
            } })
        })
        .collect();
    json!({
        "campaign": campaign,
        "tiers": entitled,
        "address": address,
        "pledges": pledges,
        "user": {
            "id": format!("{user}"),
            "attributes": {
                "about": Value::Null, "can_see_nsfw": false, "created": when,
                "email": format!("member.{number}@example.org"),
                "first_name": first, "full_name": name, "hide_pledges": true,
                "image_url": Value::Null, "is_creator": false, "is_email_verified": true,
                "last_name": last, "like_count": 0, "social_connections": {},
                "thumb_url": Value::Null,
                "url": format!("https://www.patreon.com/user?u={user}"), "vanity": Value::Null,
            },
        },
        "attributes": {
            "campaign_lifetime_support_cents": cents * 9,
            "currently_entitled_amount_cents": cents,
            "email": format!("member.{number}@example.org"),
            "full_name": name,
            "is_follower": !pays,
            "is_free_trial": false, "is_gifted": false,
            "last_charge_date": pays.then_some(&when),
            "last_charge_status": pays.then_some("Paid"),
            "lifetime_support_cents": cents * 9,
            "next_charge_date": pays.then_some("2026-12-01T08:00:00+00:00"),
            "note": chance.word(NOTES),
            "patron_status": status,
            "pledge_cadence": pays.then_some(1),
            "pledge_relationship_start": pays.then_some(&when),
            "will_pay_amount_cents": cents,
        },
    })
}

fn uuid(chance: &mut Chance) -> String {
    let mut part = |length| chance.text("0123456789abcdef", length);
    format!("{}-{}-4{}-8{}-{}", part(8), part(4), part(3), part(3), part(12))
}
