//! Klaviyo's system webhooks: up to 1,000 events in one signed delivery.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::events::shown;
use crate::clock::http_date;
use crate::config::KlaviyoConfig;
use crate::hook::Hook;
use crate::notice::{Delivery, Dispatch};
use crate::sign::hmac_sha256;

/// The topic of all events here.
pub(crate) const TOPIC: &str = "event:klaviyo.subscribed_to_email_marketing";

/// The events, signed at `at`: hex HMAC-SHA256 over the body followed directly by the timestamp
/// header.
pub(crate) fn delivery(
    config: &KlaviyoConfig,
    hook: &Hook,
    dispatches: &[Dispatch],
    at: Timestamp,
) -> Delivery {
    let data: Vec<Value> = dispatches.iter().map(item).collect();
    let body = json!({
        "data": data,
        "meta": {
            "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
            "klaviyo_webhook_id": hook.id,
            "klaviyo_account_id": config.account_id,
            "version": config.revisions.last(),
        },
    })
    .to_string();
    let timestamp = http_date(at);
    let signature = hmac_sha256(hook.secret.0.as_bytes(), &[&body, &timestamp]);
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("klaviyo-signature", signature),
        ("klaviyo-timestamp", timestamp),
        ("klaviyo-webhook-id", hook.id.clone()),
    ];
    Delivery { headers, body }
}

fn item(dispatch: &Dispatch) -> Value {
    let Dispatch { notice, event_id, at, .. } = dispatch;
    let event = shown("https://a.klaviyo.com", event_id, &notice.id.external_id, *at);
    json!({ "topic": TOPIC, "external_id": event_id, "payload": { "data": event } })
}
