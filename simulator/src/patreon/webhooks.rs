//! `/webhooks`: registered, watched, paused, and set going again with everything that was kept.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use url::Url;

use super::fields::Wanted;
use super::{bad_parameter, error_for, page};
use crate::account::Account;
use crate::answer::{Answer, Call};
use crate::clock::with_offset;
use crate::config::Credential;
use crate::hook::{Channel, Hook, MOST_HOOKS};
use crate::json::member;

const TRIGGERS: [&str; 9] = [
    "members:create",
    "members:update",
    "members:delete",
    "members:pledge:create",
    "members:pledge:update",
    "members:pledge:delete",
    "posts:publish",
    "posts:update",
    "posts:delete",
];
const INCLUDES: [&str; 2] = ["client", "campaign"];

/// `GET /webhooks`: those of this client.
pub(super) fn list(account: &Account, call: &Call) -> Result<Answer, Answer> {
    let wanted = Wanted::of(call, &INCLUDES, &page::PARAMETERS)?;
    let items = account
        .courier
        .hooks(|hooks| hooks.iter().map(|hook| (hook.id.clone(), shown(hook, &wanted))).collect());
    let (data, meta) = page::cut(account, call, items, (20, 1_000))?;
    Ok(Answer::ok(json!({ "data": data, "meta": meta })))
}

/// `POST /webhooks`.
pub(super) fn create(account: &Account, call: &Call) -> Result<Answer, Answer> {
    Wanted::of(call, &INCLUDES, &[])?;
    let attributes = attributes(call, &["triggers", "uri"])?;
    let triggers = triggers(&attributes)?.ok_or_else(|| bad_body("triggers"))?;
    let uri = uri(&attributes)?.ok_or_else(|| bad_body("uri"))?;
    let (id, secret) = {
        let mut looks = account.looks.lock();
        (looks.text("123456789", 6), looks.text("0123456789abcdef", 64))
    };
    let mut hook = Hook::new(&id, Channel::Patreon, Some(uri), Credential(secret));
    hook.actions = Some(triggers);
    let all = Wanted::all(&["webhook"], &[]);
    let data = shown(&hook, &all);
    let kept = account.courier.hooks(|hooks| {
        let room = hooks.len() < MOST_HOOKS;
        hooks.extend(room.then_some(hook));
        room
    });
    if kept {
        Ok(Answer::error(StatusCode::CREATED, json!({ "data": data })))
    } else {
        Err(error_for(StatusCode::BAD_REQUEST))
    }
}

/// `PATCH /webhooks/{id}`; `paused: false` sends what was kept.
pub(super) fn patch(account: &Account, call: &Call, id: &str) -> Result<Answer, Answer> {
    Wanted::of(call, &INCLUDES, &[])?;
    let attributes = attributes(call, &["triggers", "uri", "paused"])?;
    let (triggers, uri) = (triggers(&attributes)?, uri(&attributes)?);
    let paused = match attributes.get("paused") {
        None => None,
        Some(Value::Bool(paused)) => Some(*paused),
        Some(_) => return Err(bad_body("paused")),
    };
    let data = account.courier.hooks(|hooks| {
        let hook = hooks.iter_mut().find(|hook| hook.id == id)?;
        hook.actions = triggers.or_else(|| hook.actions.take());
        hook.target = uri.or_else(|| hook.target.take());
        if let Some(paused) = paused {
            hook.set_enabled(!paused);
        }
        Some(shown(hook, &Wanted::all(&["webhook"], &[])))
    });
    let data = data.ok_or_else(|| error_for(StatusCode::NOT_FOUND))?;
    Ok(Answer::ok(json!({ "data": data })))
}

fn shown(hook: &Hook, wanted: &Wanted) -> Value {
    let triggers = hook.actions.clone();
    let all = TRIGGERS.map(str::to_owned).to_vec();
    let attributes = json!({
        "last_attempted_at": hook.last_attempt.map(with_offset),
        "num_consecutive_times_failed": hook.failures,
        "paused": !hook.enabled,
        "secret": hook.secret,
        "triggers": triggers.unwrap_or(all),
        "uri": hook.target,
    });
    let named = wanted.fields("webhook").iter();
    let shown: Map<String, Value> =
        named.map(|name| (name.clone(), member(&attributes, name).clone())).collect();
    json!({ "id": hook.id, "type": "webhook", "attributes": shown })
}

/// The attributes that a body sets; only these may be set.
fn attributes(call: &Call, known: &[&str]) -> Result<Map<String, Value>, Answer> {
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| bad_body("data"))?;
    let data = member(&body, "data");
    if member(data, "type") != "webhook" {
        return Err(bad_body("data.type"));
    }
    let attributes = member(data, "attributes").as_object().cloned();
    let attributes = attributes.ok_or_else(|| bad_body("data.attributes"))?;
    match attributes.keys().find(|name| !known.contains(&name.as_str())) {
        Some(stray) => Err(bad_body(stray)),
        None => Ok(attributes),
    }
}

fn triggers(attributes: &Map<String, Value>) -> Result<Option<Vec<String>>, Answer> {
    let Some(value) = attributes.get("triggers") else { return Ok(None) };
    let names: Option<Vec<String>> = value.as_array().and_then(|all| {
        all.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    });
    let known = |names: &Vec<String>| names.iter().all(|one| TRIGGERS.contains(&one.as_str()));
    names.filter(known).map(Some).ok_or_else(|| bad_body("triggers"))
}

fn uri(attributes: &Map<String, Value>) -> Result<Option<Url>, Answer> {
    let Some(value) = attributes.get("uri") else { return Ok(None) };
    let url = value.as_str().and_then(|text| text.parse().ok());
    url.map(Some).ok_or_else(|| bad_body("uri"))
}

fn bad_body(what: &str) -> Answer {
    bad_parameter(what, &format!("Invalid value for '{what}'."))
}
