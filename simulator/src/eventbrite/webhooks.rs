//! The webhooks of the organization: listed, made, removed.

use axum::http::StatusCode;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::{bad_argument, error_for, no_stray};
use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::clock::with_z;
use crate::config::Credential;
use crate::hook::{Channel, Hook, MOST_HOOKS};

/// What a webhook can tell about. Nothing here tells of a deletion.
const ACTIONS: [&str; 15] = [
    "attendee.checked_in",
    "attendee.checked_out",
    "attendee.updated",
    "event.created",
    "event.published",
    "event.updated",
    "event.unpublished",
    "order.placed",
    "order.refunded",
    "order.updated",
    "organizer.updated",
    "ticket_class.created",
    "ticket_class.deleted",
    "ticket_class.updated",
    "venue.updated",
];

/// `GET /organizations/{org}/webhooks/`: those that still send.
pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    no_stray(call, &["token", "continuation", "page", "page_size"])?;
    let hooks: Vec<Value> = account.courier.hooks(|hooks| {
        let sending = hooks.iter().filter(|hook| hook.enabled && hook.target.is_some());
        sending.map(|hook| shown(account, hook)).collect()
    });
    let pagination = json!({
        "object_count": hooks.len(), "page_number": 1, "page_size": 50, "page_count": 1,
        "continuation": Value::Null, "has_more_items": false,
    });
    Ok(Answer::ok(json!({ "pagination": pagination, "webhooks": hooks })))
}

/// `POST /organizations/{org}/webhooks/`, as JSON or as a form.
pub(super) fn create(account: &Account, call: &Call) -> Result<Answer, Answer> {
    no_stray(call, &["token"])?;
    let fields: Vec<(String, String)> = match serde_json::from_slice::<Value>(&call.body) {
        Ok(Value::Object(fields)) => {
            let texts = fields.into_iter().filter_map(|(name, value)| match value {
                Value::String(text) => Some((name, text)),
                Value::Null => None,
                other => Some((name, other.to_string())),
            });
            texts.collect()
        }
        _ => form_urlencoded::parse(&call.body).into_owned().collect(),
    };
    let known = ["endpoint_url", "actions", "event_id"];
    if let Some((stray, _)) = fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(bad_argument(stray));
    }
    let field =
        |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let url: Option<Url> = field("endpoint_url").and_then(|text| text.parse().ok());
    let url = url.ok_or_else(|| bad_argument("endpoint_url"))?;
    let actions: Vec<String> =
        field("actions").unwrap_or_default().split(',').map(str::to_owned).collect();
    if !actions.iter().all(|action| ACTIONS.contains(&action.as_str())) {
        return Err(bad_argument("actions"));
    }
    let id = account.looks.lock().text("123456789", 7);
    let mut hook = Hook::new(&id, Channel::Eventbrite, Some(url), Credential(String::new()));
    hook.actions = Some(actions);
    hook.event = field("event_id").filter(|id| !id.is_empty()).map(str::to_owned);
    let shown = shown(account, &hook);
    let kept = account.courier.hooks(|hooks| {
        let room = hooks.len() < MOST_HOOKS;
        hooks.extend(room.then_some(hook));
        room
    });
    if kept { Ok(Answer::ok(shown)) } else { Err(error_for(StatusCode::CONFLICT)) }
}

/// `DELETE /webhooks/{id}/`.
pub(super) fn delete(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    no_stray(call, &["token"])?;
    let gone = account.courier.hooks(|hooks| {
        let before = hooks.len();
        hooks.retain(|hook| hook.id != id);
        hooks.len() < before
    });
    if gone {
        Ok(Answer::ok(json!({ "success": true })))
    } else {
        Err(error_for(StatusCode::NOT_FOUND))
    }
}

fn shown(account: &Account, hook: &Hook) -> Value {
    let own = &account.config.eventbrite;
    let actions = hook.actions.as_ref();
    json!({
        "id": hook.id,
        "endpoint_url": hook.target,
        "actions": actions.map_or_else(|| ACTIONS.join(","), |actions| actions.join(",")),
        "event_id": hook.event,
        "organization_id": own.organization_id,
        "user_id": own.user_id,
        "created": with_z(hook.created),
        "resource_uri": format!("https://www.eventbriteapi.com/v3/webhooks/{}/", hook.id),
    })
}
