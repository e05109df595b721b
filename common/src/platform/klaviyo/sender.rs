//! Klaviyo's system webhooks: whether they are enabled, and enabling them again.
//!
//! A webhook whose deliveries were in error for 48 hours is disabled.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::platform::klaviyo::records::{EVENT, PROFILE};
use crate::platform::klaviyo::{DIALECT, errors};
use crate::platform::sender::Hook;
use crate::platform::{Call, Endpoint, Gap, PlatformError, Repair, Sender};

/// Webhooks tell of events, and events of profiles. What was in error when the webhook was disabled
/// is lost with it.
pub(super) const GAP: Gap = Gap { kinds: &[EVENT, PROFILE], before: Duration::from_hours(48) };

#[derive(Deserialize)]
struct Listing {
    data: Vec<Webhook>,
    #[serde(default)]
    links: Links,
}

#[derive(Default, Deserialize)]
struct Links {
    next: Option<String>,
}

#[derive(Deserialize)]
struct Webhook {
    id: String,
    attributes: Attributes,
}

#[derive(Deserialize)]
struct Attributes {
    endpoint_url: Option<String>,
    enabled: Option<bool>,
}

/// One request: the list has no pages in the documents.
pub(super) async fn look(call: &Call<'_>, endpoint: &Endpoint) -> Result<Sender, PlatformError> {
    let answer = call.get(&DIALECT, "/api/webhooks", &[], &[]).await?;
    errors::meaning(&answer).into_result()?;
    let listing: Listing = answer.json()?;
    let ours: Vec<Hook> = listing
        .data
        .into_iter()
        .filter(|webhook| {
            webhook.attributes.endpoint_url.as_deref().is_some_and(|url| endpoint.is(url))
        })
        .map(|Webhook { id, attributes }| Hook {
            id,
            sends: attributes.enabled != Some(false),
            failed: 0,
        })
        .collect();
    Ok(Sender::of(&ours, listing.links.next.is_none()))
}

/// A missing one is not made anew: its topics are the customer's choice.
pub(super) async fn repair(call: &Call<'_>, sender: &Sender) -> Result<Repair, PlatformError> {
    if sender.off.is_empty() {
        return Ok(Repair::not_done("only a person knows its topics: create it at Klaviyo"));
    }
    for id in &sender.off {
        let body = json!({
            "data": { "type": "webhook", "id": id, "attributes": { "enabled": true } },
        });
        let template = "/api/webhooks/{id}";
        let answer = call.change(&DIALECT, Method::PATCH, template, &[id], &body).await?;
        let done = Repair::of(errors::meaning(&answer).into_result(), "webhooks:write")?;
        if done != Repair::Done {
            return Ok(done);
        }
    }
    Ok(Repair::Done)
}
