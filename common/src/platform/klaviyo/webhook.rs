//! System webhooks: up to a thousand events, signed over the body and the time.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use serde::Deserialize;
use sha2::Sha256;

use crate::platform::answer::instant;
use crate::platform::klaviyo::scan::{Relationships, notices};
use crate::platform::{Account, Notice, Refused, SignedAt, WebhookRequest};

/// Most events in one delivery.
const MAX_EVENTS: usize = 1000;

/// Klaviyo tries again for two days, and perhaps with the time of the first attempt.
const SENT_FOR: Duration = Duration::from_hours(49);

#[derive(Deserialize)]
struct Delivery {
    data: Vec<Item>,
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    klaviyo_webhook_id: String,
}

#[derive(Deserialize)]
struct Item {
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    data: Event,
}

#[derive(Deserialize)]
struct Event {
    relationships: Option<Relationships>,
}

/// One notice for each profile that did something. Events without a profile do not concern us.
pub(super) fn receive(
    account: &Account,
    request: &WebhookRequest<'_>,
) -> Result<Vec<Notice>, Refused> {
    verify(account, request)?;
    let delivery: Delivery = serde_json::from_slice(request.body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refused::NotUnderstood(format!("not a delivery, at line {line} column {column}"))
    })?;
    if header(request, "klaviyo-webhook-id")? != delivery.meta.klaviyo_webhook_id.as_bytes() {
        return Err(Refused::Forged("the webhook's id is another than in the body"));
    }
    if delivery.data.len() > MAX_EVENTS {
        return Err(Refused::NotUnderstood(format!("more than {MAX_EVENTS} events")));
    }
    let profiles = delivery
        .data
        .into_iter()
        .filter_map(|item| item.payload.data.relationships?.profile())
        .collect();
    Ok(notices(profiles))
}

/// HMAC-SHA256 in hex, over the raw body and right behind it the time as the header has it.
fn verify(account: &Account, request: &WebhookRequest<'_>) -> Result<(), Refused> {
    let secret = account
        .webhook_secret
        .as_ref()
        .map(ExposeSecret::expose_secret)
        .filter(|secret| !secret.is_empty())
        .ok_or(Refused::Forged("this connection has no webhook secret to check it with"))?;
    let signature = hex::decode(header(request, "klaviyo-signature")?)
        .map_err(|_| Refused::Forged("not in hex"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map_err(|_| Refused::Forged("the webhook secret cannot be a key"))?;
    mac.update(request.body);
    mac.update(header(request, "klaviyo-timestamp")?);
    mac.verify_slice(&signature).map_err(|_| Refused::Forged("not made with our secret"))
}

/// The time in the header: an HTTP date, or seconds.
pub(super) fn signed_at(request: &WebhookRequest<'_>) -> Option<SignedAt> {
    let at = instant(request.only("klaviyo-timestamp")?)?;
    Some(SignedAt { at, sent_for: SENT_FOR })
}

/// A header that must be there exactly once.
fn header<'a>(request: &WebhookRequest<'a>, name: &'static str) -> Result<&'a [u8], Refused> {
    let mut values = request.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.as_bytes()),
        _ => Err(Refused::Forged("a header of the signature is missing or doubled")),
    }
}
