//! `/applications/@me`: where the webhook events go, which, and whether they still do.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use url::Url;

use super::notice::{self, public_key};
use super::{Route, invalid, no_stray};
use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::clock::now;
use crate::hook::{Channel, Hook};
use crate::post::{client, request};

const TYPES: [&str; 6] = [
    "APPLICATION_AUTHORIZED",
    "APPLICATION_DEAUTHORIZED",
    "ENTITLEMENT_CREATE",
    "ENTITLEMENT_UPDATE",
    "ENTITLEMENT_DELETE",
    "QUEST_USER_ENROLLMENT",
];
/// Discord's own limit.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// `GET /applications/@me`.
pub(super) fn get(account: &Account, call: &Call) -> Result<Answer, Answer> {
    no_stray(call, &[])?;
    Ok(Answer::ok(shown(account)))
}

/// `PATCH /applications/@me`: only what concerns the webhook events can be altered here.
pub(super) fn patch(account: &Account, call: &Call) -> Result<Answer, Answer> {
    no_stray(call, &[])?;
    let fields = serde_json::from_slice::<Map<String, Value>>(&call.body)
        .map_err(|_| invalid("body", "The request body contains invalid JSON."))?;
    let known = ["event_webhooks_url", "event_webhooks_status", "event_webhooks_types"];
    if let Some(stray) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(invalid(stray, "Unknown field."));
    }
    let url = match fields.get("event_webhooks_url") {
        None => None,
        Some(Value::Null) => Some(None),
        Some(value) => Some(Some(url(value)?)),
    };
    if matches!(url, Some(Some(_))) && call.endpoint_answers != Some(true) {
        return Err(invalid("event_webhooks_url", "The endpoint could not be verified."));
    }
    let status = match fields.get("event_webhooks_status").map(Value::as_u64) {
        None => None,
        Some(Some(1)) => Some(false),
        Some(Some(2)) => Some(true),
        Some(_) => return Err(invalid("event_webhooks_status", "Value must be one of {1, 2}.")),
    };
    let types = fields.get("event_webhooks_types").map(types).transpose()?;
    account.courier.hooks(|hooks| {
        if let Some(hook) = hooks.iter_mut().find(|hook| hook.channel == Channel::DiscordEvents) {
            hook.target = url.unwrap_or_else(|| hook.target.take());
            hook.actions = types.or_else(|| hook.actions.take());
            if let Some(enabled) = status {
                hook.set_enabled(enabled);
            }
        }
    });
    Ok(Answer::ok(shown(account)))
}

/// Whether the endpoint that a call wants to set answers a PING with 204 and a content type, and
/// refuses one with a wrong signature with 401; `None` when the call sets none.
pub(crate) async fn test_endpoint(account: &Account, call: &Call) -> Option<bool> {
    if !matches!(Route::of(&call.path), Route::Application) || call.method != Method::PATCH {
        return None;
    }
    let body: Value = serde_json::from_slice(&call.body).ok()?;
    let url = url(body.get("event_webhooks_url")?).ok()?;
    let ping = notice::ping(&account.config.discord, now())?;
    let wrong = ping.with_wrong_signature()?;
    let client = client(ANSWER_WITHIN).ok()?;
    let right = request(&client, url.clone(), ping).await?;
    let taken =
        right.status() == StatusCode::NO_CONTENT && right.headers().contains_key("content-type");
    let refused = request(&client, url, wrong).await?.status() == StatusCode::UNAUTHORIZED;
    Some(taken && refused)
}

fn shown(account: &Account) -> Value {
    let config = &account.config.discord;
    let (url, status, types) = account.courier.hooks(|hooks| {
        let hook = hooks.iter().find(|hook| hook.channel == Channel::DiscordEvents);
        let url = hook.and_then(|hook| hook.target.clone());
        (url, hook.map(status_of), hook.and_then(|hook| hook.actions.clone()))
    });
    json!({
        "id": config.application_id,
        "name": "Mirror",
        "icon": null,
        "description": "",
        "bot_public": false,
        "bot_require_code_grant": false,
        "verify_key": public_key(config),
        "flags": 0,
        "event_webhooks_url": url,
        "event_webhooks_status": status,
        "event_webhooks_types": types,
    })
}

/// 1 is off, 2 is on, 3 is switched off by Discord.
fn status_of(hook: &Hook) -> u8 {
    match (hook.enabled, hook.by_platform) {
        (true, _) => 2,
        (false, true) => 3,
        (false, false) => 1,
    }
}

fn url(value: &Value) -> Result<Url, Answer> {
    let url = value.as_str().and_then(|text| text.parse().ok());
    url.ok_or_else(|| invalid("event_webhooks_url", "Not a well formed URL."))
}

fn types(value: &Value) -> Result<Vec<String>, Answer> {
    let names: Option<Vec<String>> = value.as_array().and_then(|all| {
        all.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    });
    let known = |names: &Vec<String>| names.iter().all(|one| TYPES.contains(&one.as_str()));
    names.filter(known).ok_or_else(|| invalid("event_webhooks_types", "Unknown type of event."))
}
