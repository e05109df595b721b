//! What is true on the platforms, in the form in which a mirror can be compared with it.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::with_z;
use crate::record::{Fields, Platform, RecordId, RecordType, Version};
use crate::records::Records;

/// One record that lives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveRecord {
    /// Where.
    pub platform: Platform,
    /// What kind.
    pub record_type: RecordType,
    /// For an attendee `<event id>/<attendee id>`.
    pub external_id: String,
    /// The platform's own watermark: `updated` or `changed`.
    pub changed_at: Timestamp,
    /// The record as the platform would show it, less what moves without a change.
    ///
    /// Klaviyo: `type`, `id`, `attributes` without `updated`, `last_event_date` and
    /// `location.ip`; no links. Eventbrite: without `time_remaining` and `resource_uri`, with
    /// `barcodes` sorted by barcode and `answers` by question; null fields stand as null.
    pub payload: Value,
}

/// One record that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeletedRecord {
    /// Where.
    pub platform: Platform,
    /// What kind.
    pub record_type: RecordType,
    /// For an attendee `<event id>/<attendee id>`.
    pub external_id: String,
}

/// Everything on both platforms.
///
/// An attendee that Eventbrite marks `Deleted` lives: the platform goes on showing it. Deleted are
/// profiles, orders and events that answer 404.
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
                let payload = payload(id, version);
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

fn payload(id: &RecordId, version: &Version) -> Value {
    let mut fields = version.fields.clone();
    if id.record_type == RecordType::Profile {
        fields.remove("last_event_date");
        if let Some(location) = fields.get_mut("location").and_then(Value::as_object_mut) {
            location.remove("ip");
        }
        return json!({ "type": "profile", "id": id.external_id, "attributes": fields });
    }
    fields.insert("changed".to_owned(), json!(with_z(version.changed)));
    sort(&mut fields, "barcodes", "barcode");
    sort(&mut fields, "answers", "question_id");
    Value::Object(fields)
}

fn sort(fields: &mut Fields, name: &str, by: &str) {
    if let Some(items) = fields.get_mut(name).and_then(Value::as_array_mut) {
        items.sort_by_cached_key(|item| item.get(by).and_then(Value::as_str).map(str::to_owned));
    }
}
