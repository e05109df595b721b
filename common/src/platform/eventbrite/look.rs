//! Looking at records by id: fifty events or attendees with one request, orders one by one.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use crate::ids::ExternalId;
use crate::platform::answer::{Answer, Meaning};
use crate::platform::confirm::confirm;
use crate::platform::eventbrite::records::{ATTENDEE, EVENT, attendee_parts, is_id, read};
use crate::platform::eventbrite::scan::Listing;
use crate::platform::eventbrite::{DIALECT, errors};
use crate::platform::{Call, Look, PlatformError, RecordKind};

/// Looks at `ids` with one request where there is one for the kind. What that leaves out is asked
/// for by itself before it counts as missing: a list hides more than what is gone.
pub(super) async fn records(
    call: &Call<'_>,
    kind: &RecordKind,
    ids: &[ExternalId],
) -> Result<Vec<Look>, PlatformError> {
    // Attendees that share a request share the event.
    let event = ids.iter().find_map(attendee_parts).map_or("", |(event, _)| event);
    let can_ask = |id: &ExternalId| match kind.name {
        ATTENDEE => attendee_parts(id).is_some_and(|(parent, _)| parent == event),
        _ => is_id(id.as_str()),
    };
    let (asked, strange): (BTreeSet<_>, BTreeSet<_>) = ids.iter().partition(|id| can_ask(id));
    let mut looks: Vec<_> =
        strange.into_iter().map(|id| Look::unclear(id, "no id to ask for here")).collect();
    if asked.is_empty() {
        return Ok(looks);
    }
    looks.extend(match kind.name {
        EVENT => events(call, kind, asked).await?,
        ATTENDEE => attendees(call, kind, event, asked).await?,
        _ => {
            let mut orders = Vec::with_capacity(asked.len());
            for id in asked {
                orders.push(one(call, kind, id).await?);
            }
            orders
        }
    });
    Ok(looks)
}

async fn events(
    call: &Call<'_>,
    kind: &RecordKind,
    asked: BTreeSet<&ExternalId>,
) -> Result<Vec<Look>, PlatformError> {
    let ids: Vec<_> = asked.iter().map(|id| id.as_str()).collect();
    let ids = ids.join(",");
    let query = [("event_ids", ids.as_str()), ("status", "all"), ("page_size", "50")];
    let organization = call.account().account.as_str();
    let template = "/organizations/{organization}/events/";
    let answer = call.get(&DIALECT, template, &[organization], &query).await?;
    errors::meaning(&answer).into_result()?;
    the_rest(call, kind, &answer, asked).await
}

async fn attendees(
    call: &Call<'_>,
    kind: &RecordKind,
    event: &str,
    asked: BTreeSet<&ExternalId>,
) -> Result<Vec<Look>, PlatformError> {
    let ids: Vec<_> =
        asked.iter().filter_map(|id| attendee_parts(id)).map(|(_, attendee)| attendee).collect();
    let ids = ids.join(",");
    let query = [("attendee_ids", ids.as_str()), ("page_size", "50")];
    let answer = call.get(&DIALECT, "/events/{event}/attendees/", &[event], &query).await?;
    match errors::meaning(&answer) {
        // Without their event, none of them can be found.
        Meaning::Missing => Ok(asked.into_iter().cloned().map(Look::Missing).collect()),
        Meaning::Forbidden(reason) => {
            Ok(asked.into_iter().map(|id| Look::unclear(id, reason.as_str())).collect())
        }
        meaning => {
            meaning.into_result()?;
            the_rest(call, kind, &answer, asked).await
        }
    }
}

/// What the list holds of `asked`, and the others one by one.
async fn the_rest(
    call: &Call<'_>,
    kind: &RecordKind,
    list: &Answer,
    mut asked: BTreeSet<&ExternalId>,
) -> Result<Vec<Look>, PlatformError> {
    let listing: Listing<'_> = list.json()?;
    let mut looks = Vec::with_capacity(asked.len());
    for payload in listing.records(kind)? {
        let look = read(kind, payload)?;
        if asked.remove(look.external_id()) {
            looks.push(look);
        }
    }
    let left_out = asked.into_iter().collect();
    looks.extend(confirm(left_out, |id| one(call, kind, id)).await);
    Ok(looks)
}

/// One record with a request of its own.
async fn one(call: &Call<'_>, kind: &RecordKind, id: &ExternalId) -> Result<Look, PlatformError> {
    let answer = match (kind.name, attendee_parts(id)) {
        (ATTENDEE, Some((event, attendee))) => {
            let template = "/events/{event}/attendees/{attendee}/";
            call.get(&DIALECT, template, &[event, attendee], &[]).await?
        }
        (EVENT, _) => call.get(&DIALECT, "/events/{event}/", &[id.as_str()], &[]).await?,
        _ => call.get(&DIALECT, "/orders/{order}/", &[id.as_str()], &[]).await?,
    };
    match errors::meaning(&answer) {
        Meaning::Missing => return Ok(Look::Missing(id.clone())),
        Meaning::Forbidden(reason) => return Ok(Look::unclear(id, reason)),
        meaning => meaning.into_result()?,
    }
    let payload: &RawValue = answer.json()?;
    let look = read(kind, payload)?;
    if look.external_id() == id {
        return Ok(look);
    }
    Ok(Look::unclear(id, "answered with another record"))
}
