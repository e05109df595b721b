//! What a webhook says, and how it is signed.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use crate::clock::{http_date, with_space};
use crate::config::{EventbriteConfig, KlaviyoConfig};
use crate::record::{RecordId, RecordType};

/// Something happened to a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Notice {
    pub(crate) id: RecordId,
    /// Eventbrite's action; of no meaning for Klaviyo.
    pub(crate) action: &'static str,
}

/// A notice under way, with the id by which Klaviyo tells its events apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dispatch {
    pub(crate) notice: Notice,
    pub(crate) event_id: String,
    pub(crate) at: Timestamp,
}

/// A request that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// What became of the notices, in counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeliveryStats {
    /// Changes for which the platform has no webhook (deletions, the clock).
    pub without_webhook: u64,
    /// Changes that stayed silent by the configured share.
    pub silent: u64,
    /// Notices due to be sent, lost ones included and second copies not.
    pub notices: u64,
    /// Notices lost on purpose.
    pub lost: u64,
    /// Notices sent twice.
    pub duplicated: u64,
    /// Notices, second copies included, that were accepted by the target.
    pub arrived: u64,
    /// Notices given up after the last attempt.
    pub abandoned: u64,
    /// Notices dropped because nobody listens or the webhook is disabled.
    pub dropped: u64,
    /// HTTP requests that were accepted.
    pub deliveries: u64,
    /// HTTP requests in all.
    pub attempts: u64,
    /// Of these, not the first for their delivery.
    pub retries: u64,
    /// Answers by class.
    pub answered_2xx: u64,
    /// Answers by class.
    pub answered_3xx: u64,
    /// Answers by class.
    pub answered_4xx: u64,
    /// Answers by class.
    pub answered_5xx: u64,
    /// No connection, no answer in time, or a broken one.
    pub unanswered: u64,
    /// Notices that wait or are under way now.
    pub pending: u64,
    /// False once the platform has switched the webhook off.
    pub enabled: bool,
}

/// Klaviyo's delivery of up to 1,000 events, signed at `at`.
pub(crate) fn klaviyo(config: &KlaviyoConfig, dispatches: &[Dispatch], at: Timestamp) -> Delivery {
    let data: Vec<Value> = dispatches.iter().map(klaviyo_event).collect();
    let body = json!({
        "data": data,
        "meta": {
            "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
            "klaviyo_webhook_id": config.webhook_id,
            "klaviyo_account_id": config.account_id,
            "version": config.revisions.last(),
        },
    })
    .to_string();
    let timestamp = http_date(at);
    let signature = sign(config.webhook_secret.0.as_bytes(), &body, &timestamp);
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("klaviyo-signature", signature),
        ("klaviyo-timestamp", timestamp),
        ("klaviyo-webhook-id", config.webhook_id.clone()),
    ];
    Delivery { headers, body }
}

/// Eventbrite's pointer to one record; unsigned.
pub(crate) fn eventbrite(config: &EventbriteConfig, dispatch: &Dispatch, target: &Url) -> Delivery {
    let notice = &dispatch.notice;
    let body = json!({
        "config": {
            "action": notice.action,
            "user_id": config.user_id,
            "endpoint_url": target.as_str(),
            "webhook_id": config.webhook_id,
        },
        "api_url": api_url(&notice.id),
    })
    .to_string();
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("accept", "text/plain".to_owned()),
        ("user-agent", "Eventbrite Hookshot simulated".to_owned()),
        ("x-eventbrite-event", notice.action.to_owned()),
        // Not unique: the same for every delivery of a webhook.
        ("x-eventbrite-delivery", config.webhook_id.clone()),
    ];
    Delivery { headers, body }
}

/// Where a record stands at the real platform, whatever host simulates it.
pub(crate) fn api_url(id: &RecordId) -> String {
    let own = id.own();
    let path = match id.record_type {
        RecordType::Attendee => {
            format!("events/{}/attendees/{own}", id.event().unwrap_or_default())
        }
        RecordType::Order => format!("orders/{own}"),
        RecordType::Event | RecordType::Profile => format!("events/{own}"),
    };
    format!("https://www.eventbriteapi.com/v3/{path}/")
}

fn klaviyo_event(dispatch: &Dispatch) -> Value {
    let Dispatch { notice, event_id, at } = dispatch;
    json!({
        "topic": "event:klaviyo.subscribed_to_email_marketing",
        "external_id": event_id,
        "payload": { "data": {
            "type": "event",
            "id": event_id,
            "attributes": {
                "timestamp": at.as_second(),
                "event_properties": { "List": "Autumn newsletter", "$extra": {} },
                "datetime": with_space(*at),
                "uuid": format!("b6f1a080-c651-11f1-8001-{:012x}", at.as_microsecond() & 0xffff_ffff_ffff),
            },
            "relationships": {
                "profile": { "data": { "type": "profile", "id": notice.id.external_id } },
                "metric": { "data": { "type": "metric", "id": "UvWxYz" } },
            },
            "links": { "self": format!("https://a.klaviyo.com/api/events/{event_id}") },
        } },
    })
}

/// Hex HMAC-SHA256 over the body followed directly by the timestamp header.
fn sign(secret: &[u8], body: &str, timestamp: &str) -> String {
    // HMAC takes keys of any length: the error does not occur.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(body.as_bytes());
    mac.update(timestamp.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}
