//! What is true on the platforms, in the form in which a mirror can be compared with it.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::with_z;
use crate::json::put;
use crate::record::{Fields, Platform, RecordId, RecordType, Version};
use crate::records::Records;

/// One record that lives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveRecord {
    /// Where.
    pub platform: Platform,
    /// What kind.
    pub record_type: RecordType,
    /// With the id of what it belongs to in front, see [`RecordType`].
    pub external_id: String,
    /// The platform's own watermark, `updated` or `changed`; elsewhere when it last changed.
    pub changed_at: Timestamp,
    /// The record as the platform would show it, less what moves without a change.
    ///
    /// Klaviyo: `type`, `id`, `attributes` without `updated`, `last_event_date` and
    /// `location.ip`; no links. A membership is of type `profile` and has `joined_group_at` alone.
    /// Eventbrite: without `time_remaining` and `resource_uri`, with `barcodes` sorted by barcode
    /// and `answers` by question; null fields stand as null. Patreon: `type`, `id`, `attributes`
    /// with instants ending in `+00:00`, without pictures and the counters `patron_count`,
    /// `post_count` and `remaining`; of a member's
    /// `relationships` `campaign`, `user` and `currently_entitled_tiers`, sorted. Discord: the
    /// object, with `roles` and `features` sorted; of a guild without its roles and
    /// `premium_subscription_count`, of a role without `color`, of a member without
    /// `communication_disabled_until`.
    pub payload: Value,
}

/// One record that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeletedRecord {
    /// Where.
    pub platform: Platform,
    /// What kind.
    pub record_type: RecordType,
    /// With the id of what it belongs to in front, see [`RecordType`].
    pub external_id: String,
}

/// Everything on all platforms.
///
/// What is deleted softly lives, for the platform goes on showing it: an attendee of status
/// `Deleted`, a former patron, an entitlement with `deleted`. Deleted are records that answer 404
/// or 410.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Truth {
    /// By platform, kind and id.
    pub records: Vec<LiveRecord>,
    /// Deleted since the start.
    pub deleted: Vec<DeletedRecord>,
}

impl Truth {
    pub(crate) fn add(&mut self, platform: Platform, records: &Records) {
        for (id, version) in records.latest() {
            let (record_type, external_id) = (id.record_type, id.external_id.clone());
            if let Some(version) = version {
                let payload = payload(platform, id, version);
                let changed_at = version.changed;
                self.records.push(LiveRecord {
                    platform,
                    record_type,
                    external_id,
                    changed_at,
                    payload,
                });
            } else {
                self.deleted.push(DeletedRecord { platform, record_type, external_id });
            }
        }
    }
}

fn payload(platform: Platform, id: &RecordId, version: &Version) -> Value {
    match platform {
        Platform::Klaviyo => klaviyo(id, version),
        Platform::Eventbrite => eventbrite(version),
        Platform::Patreon => patreon(id, version),
        Platform::Discord => discord(version),
    }
}

fn klaviyo(id: &RecordId, version: &Version) -> Value {
    let mut fields = version.fields.clone();
    fields.remove("last_event_date");
    if let Some(location) = fields.get_mut("location").and_then(Value::as_object_mut) {
        location.remove("ip");
    }
    let kind = if id.record_type == RecordType::List { "list" } else { "profile" };
    json!({ "type": kind, "id": id.own(), "attributes": fields })
}

fn eventbrite(version: &Version) -> Value {
    let mut fields = version.fields.clone();
    fields.insert("changed".to_owned(), json!(with_z(version.changed)));
    sort(&mut fields, "barcodes", "barcode");
    sort(&mut fields, "answers", "question_id");
    Value::Object(fields)
}

fn patreon(id: &RecordId, version: &Version) -> Value {
    let mut attributes = version.fields.get("attributes").cloned().unwrap_or_default();
    if let Some(attributes) = attributes.as_object_mut() {
        let counters = ["patron_count", "post_count", "remaining"];
        for volatile in ["image_url", "image_small_url"].into_iter().chain(counters) {
            attributes.remove(volatile);
        }
    }
    let kind = match id.record_type {
        RecordType::Campaign => "campaign",
        RecordType::Tier => "tier",
        _ => "member",
    };
    let mut payload = json!({ "type": kind, "id": id.own(), "attributes": attributes });
    if id.record_type == RecordType::Member {
        let user = version.fields.get("user").and_then(|user| user.get("id"));
        let mut tiers = version.texts("tiers");
        tiers.sort_unstable();
        let tiers: Value = tiers.iter().map(|id| json!({ "id": id, "type": "tier" })).collect();
        let relationships = json!({
            "campaign": { "data": { "id": version.text("campaign"), "type": "campaign" } },
            "user": { "data": { "id": user, "type": "user" } },
            "currently_entitled_tiers": { "data": tiers },
        });
        put(&mut payload, "relationships", relationships);
    }
    payload
}

fn discord(version: &Version) -> Value {
    let mut fields = version.fields.clone();
    for volatile in ["premium_subscription_count", "color", "communication_disabled_until"] {
        fields.remove(volatile);
    }
    for name in ["roles", "features"] {
        if let Some(items) = fields.get_mut(name).and_then(Value::as_array_mut) {
            items.sort_by_cached_key(|item| {
                let text = item.as_str().unwrap_or_default().to_owned();
                (text.len(), text)
            });
        }
    }
    Value::Object(fields)
}

fn sort(fields: &mut Fields, name: &str, by: &str) {
    if let Some(items) = fields.get_mut(name).and_then(Value::as_array_mut) {
        items.sort_by_cached_key(|item| item.get(by).and_then(Value::as_str).map(str::to_owned));
    }
}
