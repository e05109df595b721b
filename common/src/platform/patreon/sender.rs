//! Patreon's webhooks: whether they are paused, how often in a row they failed, and setting them
//! going again. What Patreon could not send it keeps, and sends all of it then.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::platform::patreon::document::Pagination;
use crate::platform::patreon::records::MEMBER;
use crate::platform::patreon::{DIALECT, errors};
use crate::platform::sender::{Hook, MOST_PAGES};
use crate::platform::{Call, Endpoint, Gap, PlatformError, Repair, Sender};

/// Webhooks tell of members.
pub(super) const GAP: Gap = Gap { kinds: &[MEMBER], before: Duration::ZERO };

/// The right that a token needs for all of this.
const SCOPE: &str = "w:campaigns.webhook";
/// Nothing comes that is not asked for; the secret is left where it is.
const FIELDS: (&str, &str) = ("fields[webhook]", "num_consecutive_times_failed,paused,uri");

#[derive(Deserialize)]
struct Listing {
    data: Vec<Webhook>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
struct Meta {
    pagination: Option<Pagination>,
}

#[derive(Deserialize)]
struct Webhook {
    id: String,
    attributes: Attributes,
}

#[derive(Deserialize)]
struct Attributes {
    uri: Option<String>,
    paused: Option<bool>,
    num_consecutive_times_failed: Option<u32>,
}

/// Only webhooks that our own client registered are in the list: one that was made in the portal is
/// not seen from here.
pub(super) async fn look(call: &Call<'_>, endpoint: &Endpoint) -> Result<Sender, PlatformError> {
    let mut ours = Vec::new();
    let mut next: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let mut query = vec![FIELDS];
        query.extend(next.as_deref().map(|next| ("page[cursor]", next)));
        let answer = call.get(&DIALECT, "/webhooks", &[], &query).await?;
        errors::meaning(&answer).into_result()?;
        let listing: Listing = answer.json()?;
        let empty = listing.data.is_empty();
        ours.extend(
            listing
                .data
                .into_iter()
                .filter(|webhook| {
                    webhook.attributes.uri.as_deref().is_some_and(|uri| endpoint.is(uri))
                })
                .map(|Webhook { id, attributes }| Hook {
                    id,
                    sends: attributes.paused != Some(true),
                    failed: attributes.num_consecutive_times_failed.unwrap_or_default(),
                }),
        );
        let following = listing.meta.pagination.and_then(|at| at.next().map(str::to_owned));
        // The cursor of the last page may lead to the same page for ever.
        if following.is_none() || following == next || empty {
            return Ok(found(&ours, true));
        }
        next = following;
    }
    Ok(found(&ours, false))
}

fn found(ours: &[Hook], complete: bool) -> Sender {
    if ours.is_empty() && complete {
        // It may well be there and be the portal's.
        return Sender::unknown(
            "no webhook to our address is registered by our client; the portal's are not shown",
        );
    }
    Sender::of(ours, complete)
}

pub(super) async fn repair(call: &Call<'_>, sender: &Sender) -> Result<Repair, PlatformError> {
    if sender.off.is_empty() {
        return Ok(Repair::not_done("a new one would have another secret: register it at Patreon"));
    }
    for id in &sender.off {
        let body = json!({
            "data": { "type": "webhook", "id": id, "attributes": { "paused": false } },
        });
        let template = "/webhooks/{id}";
        let answer = call.change(&DIALECT, Method::PATCH, template, &[id], &body).await?;
        let done = Repair::of(errors::meaning(&answer).into_result(), SCOPE)?;
        if done != Repair::Done {
            return Ok(done);
        }
    }
    Ok(Repair::Done)
}
