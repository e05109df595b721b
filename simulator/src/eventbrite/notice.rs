//! Eventbrite's webhooks: a pointer to one record, unsigned.

use serde_json::json;

use crate::config::EventbriteConfig;
use crate::hook::Hook;
use crate::notice::{Delivery, Dispatch};
use crate::record::{RecordId, RecordType};

/// The pointer; `None` when the webhook has no address.
pub(crate) fn delivery(
    config: &EventbriteConfig,
    hook: &Hook,
    dispatch: &Dispatch,
) -> Option<Delivery> {
    let notice = &dispatch.notice;
    let body = json!({
        "config": {
            "action": notice.action,
            "user_id": config.user_id,
            "endpoint_url": hook.target.as_ref()?.as_str(),
            "webhook_id": hook.id,
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
        ("x-eventbrite-delivery", hook.id.clone()),
    ];
    Some(Delivery { headers, body })
}

/// Where a record stands at the real platform, whatever host simulates it.
pub(crate) fn api_url(id: &RecordId) -> String {
    let own = id.own();
    let path = match id.record_type {
        RecordType::Attendee => {
            format!("events/{}/attendees/{own}", id.parent().unwrap_or_default())
        }
        RecordType::Order => format!("orders/{own}"),
        _ => format!("events/{own}"),
    };
    format!("https://www.eventbriteapi.com/v3/{path}/")
}
