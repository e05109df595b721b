//! `/api/webhooks`: whether the platform still sends, and switching it on again.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{error_for, invalid, no_stray};
use crate::account::Account;
use crate::answer::{Answer, Call};

pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    no_stray(call, &["fields[webhook]", "include"])?;
    let link = format!("{}/api/webhooks", call.origin("https://a.klaviyo.com"));
    let links = json!({ "self": link, "next": Value::Null, "prev": Value::Null });
    Ok(Answer::ok(json!({ "data": [webhook(account, call)], "links": links })))
}

pub(super) fn one(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    no_stray(call, &["fields[webhook]", "include"])?;
    if id != account.config.klaviyo.webhook_id {
        return Err(error_for(StatusCode::NOT_FOUND));
    }
    Ok(Answer::ok(json!({ "data": webhook(account, call) })))
}

pub(super) fn patch(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    let body: Value = serde_json::from_slice(&call.body)
        .map_err(|_| invalid("body", "The body is not valid JSON."))?;
    let enabled = body.pointer("/data/attributes/enabled").and_then(Value::as_bool);
    let enabled = enabled.ok_or_else(|| invalid("enabled", "'enabled' must be true or false."))?;
    if id == account.config.klaviyo.webhook_id {
        account.courier.set_enabled(enabled);
    }
    one(account, call, id)
}

fn webhook(account: &Account, call: &Call) -> Value {
    let id = &account.config.klaviyo.webhook_id;
    let link = format!("{}/api/webhooks/{id}", call.origin("https://a.klaviyo.com"));
    json!({
        "type": "webhook",
        "id": id,
        "attributes": {
            "name": "Mirror",
            "description": Value::Null,
            "endpoint_url": account.courier.target(),
            "enabled": account.courier.stats().enabled,
            "created_at": "2026-01-05T10:00:00+00:00",
            "updated_at": "2026-01-05T10:00:00+00:00",
        },
        "links": { "self": link },
    })
}
