//! Webhooks: a pointer to what changed, and nothing else.

use serde::Deserialize;

use crate::ids::ExternalId;
use crate::platform::eventbrite::records::{
    API, ATTENDEE, EVENT, ORDER, Place, attendee_id, place,
};
use crate::platform::{Notice, Refused};

#[derive(Deserialize)]
struct Body {
    config: Config,
    api_url: String,
}

#[derive(Deserialize)]
struct Config {
    action: String,
}

/// The record that the pointer names. The pointer is only taken apart, never followed: anybody can
/// send one, and following it would carry our token to them.
///
/// Equal bodies are separate notices, and neither the delivery
/// header nor the action says which came first.
pub(super) fn receive(body: &[u8]) -> Result<Vec<Notice>, Refused> {
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refused::NotUnderstood(format!("not a pointer, at line {line} column {column}"))
    })?;
    // attendee.checked_in, checked_out, updated; event.created, published, unpublished, updated;
    // order.placed, refunded, updated; and any that may come, but none tells of a deletion. What
    // happened to organizers, ticket classes and venues does not concern us, nor does a test.
    let concerns_us = body
        .config
        .action
        .split_once('.')
        .is_some_and(|(what, _)| matches!(what, EVENT | ATTENDEE | ORDER));
    if !concerns_us {
        return Ok(Vec::new());
    }
    if !body.api_url.starts_with(API) {
        return Err(Refused::NotUnderstood("the pointer leads elsewhere".to_owned()));
    }
    let (record_type, external_id) = match place(&body.api_url) {
        Some(Place::Event(event)) => (EVENT, ExternalId::from(event)),
        Some(Place::Attendee { event, attendee }) => (ATTENDEE, attendee_id(event, attendee)),
        Some(Place::Order(order)) => (ORDER, ExternalId::from(order)),
        None => return Err(Refused::NotUnderstood("the pointer is of no known form".to_owned())),
    };
    Ok(vec![Notice { record_type: record_type.into(), external_id }])
}
