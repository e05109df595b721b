//! Eventbrite's webhooks: whether the organization has one to our address, and making it. Eventbrite
//! removes one whose address answered 410.

use std::time::Duration;

use http::Method;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use crate::platform::eventbrite::records::{ATTENDEE, EVENT, ORDER};
use crate::platform::eventbrite::{DIALECT, errors};
use crate::platform::sender::{Hook, MOST_PAGES};
use crate::platform::{Call, Endpoint, Gap, PlatformError, Repair, Sender};

/// Webhooks tell of all that is mirrored.
pub(super) const GAP: Gap = Gap { kinds: &[EVENT, ATTENDEE, ORDER], before: Duration::ZERO };

const TEMPLATE: &str = "/organizations/{organization}/webhooks/";
/// What is of use here: everything that tells of an event, an attendee or an order.
const ACTIONS: &str = "attendee.checked_in,attendee.checked_out,attendee.updated,event.created,\
                       event.published,event.unpublished,event.updated,order.placed,\
                       order.refunded,order.updated";

#[derive(Deserialize)]
struct Listing {
    pagination: Option<Pagination>,
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
struct Pagination {
    #[serde(default)]
    has_more_items: bool,
    continuation: Option<String>,
}

#[derive(Deserialize)]
struct Webhook {
    id: String,
    endpoint_url: Option<String>,
}

/// What is in the list sends: nothing there says that it does not.
pub(super) async fn look(call: &Call<'_>, endpoint: &Endpoint) -> Result<Sender, PlatformError> {
    let organization = call.account().account.as_str();
    let mut ours = Vec::new();
    let mut continuation: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let query: Vec<_> =
            continuation.as_deref().map(|token| ("continuation", token)).into_iter().collect();
        let answer = call.get(&DIALECT, TEMPLATE, &[organization], &query).await?;
        errors::meaning(&answer).into_result()?;
        let listing: Listing = answer.json()?;
        ours.extend(
            listing
                .webhooks
                .into_iter()
                .filter(|webhook| {
                    webhook.endpoint_url.as_deref().is_some_and(|url| endpoint.is(url))
                })
                .map(|webhook| Hook { id: webhook.id, sends: true, failed: 0 }),
        );
        continuation =
            listing.pagination.filter(|at| at.has_more_items).and_then(|at| at.continuation);
        if continuation.is_none() {
            return Ok(Sender::of(&ours, true));
        }
    }
    Ok(Sender::of(&ours, false))
}

/// Makes the webhook that is missing.
pub(super) async fn repair(call: &Call<'_>, endpoint: &Endpoint) -> Result<Repair, PlatformError> {
    let Some(address) = endpoint.address() else {
        return Ok(Repair::not_done("our address is not known here: set ingress.public_url"));
    };
    let organization = call.account().account.as_str();
    let body = json!({ "endpoint_url": address.expose_secret(), "actions": ACTIONS });
    let answer = call.change(&DIALECT, Method::POST, TEMPLATE, &[organization], &body).await?;
    Repair::of(errors::meaning(&answer).into_result(), "a token of the organization's owner")
}
