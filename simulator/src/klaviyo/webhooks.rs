//! `/api/webhooks`: whether the platform still sends, and switching it on again; the topics.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::notice::TOPIC;
use super::{error_for, invalid, no_stray, page};
use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::clock::with_offset;
use crate::hook::Hook;

/// `GET /api/webhooks`.
pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    no_stray(call, &["fields[webhook]", "include"])?;
    let link = format!("{}/api/webhooks", page::origin(call));
    let links = json!({ "self": link, "next": Value::Null, "prev": Value::Null });
    let data: Value =
        account.courier.hooks(|hooks| hooks.iter().map(|hook| shown(call, hook)).collect());
    Ok(Answer::ok(json!({ "data": data, "links": links })))
}

/// `GET /api/webhooks/{id}`.
pub(super) fn one(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    no_stray(call, &["fields[webhook]", "include"])?;
    let data = account
        .courier
        .hooks(|hooks| hooks.iter().find(|hook| hook.id == id).map(|hook| shown(call, hook)));
    let data = data.ok_or_else(|| error_for(StatusCode::NOT_FOUND))?;
    Ok(Answer::ok(json!({ "data": data })))
}

/// `PATCH /api/webhooks/{id}`.
pub(super) fn patch(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    let body: Value = serde_json::from_slice(&call.body)
        .map_err(|_| invalid("body", "The body is not valid JSON."))?;
    let enabled = body.pointer("/data/attributes/enabled").and_then(Value::as_bool);
    let enabled = enabled.ok_or_else(|| invalid("enabled", "'enabled' must be true or false."))?;
    account.courier.hooks(|hooks| {
        if let Some(hook) = hooks.iter_mut().find(|hook| hook.id == id) {
            hook.set_enabled(enabled);
        }
    });
    one(account, call, id)
}

/// `GET /api/webhook-topics`.
pub(super) fn topics(call: &Call) -> Result<Answer, Answer> {
    no_stray(call, &[])?;
    let link = format!("{}/api/webhook-topics", page::origin(call));
    let topic = |id: &str| json!({ "type": "webhook-topic", "id": id, "links": { "self": format!("{link}/{id}") } });
    let links = json!({ "self": link, "next": Value::Null, "prev": Value::Null });
    let data = [topic(TOPIC), topic("event:klaviyo.sent_sms")];
    Ok(Answer::ok(json!({ "data": data, "links": links })))
}

fn shown(call: &Call, hook: &Hook) -> Value {
    let link = format!("{}/api/webhooks/{}", page::origin(call), hook.id);
    json!({
        "type": "webhook",
        "id": hook.id,
        "attributes": {
            "name": "Mirror",
            "description": Value::Null,
            "endpoint_url": hook.target,
            "enabled": hook.enabled,
            "created_at": with_offset(hook.created),
            "updated_at": with_offset(hook.created),
        },
        "relationships": {
            "webhook-topics": { "data": [{ "type": "webhook-topic", "id": TOPIC }] },
        },
        "links": { "self": link },
    })
}
