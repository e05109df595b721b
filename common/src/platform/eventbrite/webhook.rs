//! Webhooks: a pointer to what changed, and nothing else.

use serde::Deserialize;

use crate::ids::ExternalId;
use crate::platform::eventbrite::records::{ATTENDEE, EVENT, ORDER, attendee_id, is_id};
use crate::platform::{Notice, Refused};

/// Where the documents say that every pointer leads. It is only taken apart, never followed:
/// anybody can send one, and following it would carry our token to them.
const API: &str = "https://www.eventbriteapi.com/v3/";

#[derive(Deserialize)]
struct Body {
    config: Config,
    api_url: String,
}

#[derive(Deserialize)]
struct Config {
    action: String,
}

/// The record that the pointer names. Equal bodies are separate notices, and neither the delivery
/// header nor the action says which came first.
pub(super) fn receive(body: &[u8]) -> Result<Vec<Notice>, Refused> {
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refused::NotUnderstood(format!("not a pointer, at line {line} column {column}"))
    })?;
    let concerns_us = body
        .config
        .action
        .split_once('.')
        .is_some_and(|(what, _)| matches!(what, "event" | "attendee" | "order"));
    if !concerns_us {
        return Ok(Vec::new());
    }
    let path = body
        .api_url
        .strip_prefix(API)
        .ok_or_else(|| Refused::NotUnderstood("the pointer leads elsewhere".to_owned()))?;
    let steps: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    let (record_type, external_id) = match *steps.as_slice() {
        ["events", event] if is_id(event) => (EVENT, ExternalId::from(event)),
        ["events", event, "attendees", attendee] if is_id(event) && is_id(attendee) => {
            (ATTENDEE, attendee_id(event, attendee))
        }
        // The form that leads to an attendee through its order has no event in it, without which
        // an attendee cannot be read: the order is what we know.
        ["orders", order] if is_id(order) => (ORDER, ExternalId::from(order)),
        ["orders", order, "attendees", attendee] if is_id(order) && is_id(attendee) => {
            (ORDER, ExternalId::from(order))
        }
        _ => return Err(Refused::NotUnderstood("the pointer is of no known form".to_owned())),
    };
    Ok(vec![Notice { record_type: record_type.into(), external_id }])
}
