//! Reading all profiles or lists, or those that changed, page by page; and events, for hints.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::ids::ExternalId;
use crate::platform::klaviyo::document::Listing;
use crate::platform::klaviyo::look::page_size;
use crate::platform::klaviyo::records::{LIST, PROFILE, is_id, read_all};
use crate::platform::klaviyo::{DIALECT, errors};
use crate::platform::record::page;
use crate::platform::{Call, Notice, Page, PlatformError, RecordKind, ScanFrom};

/// Events on one page. There could be a thousand, but each carries what the customer put into it,
/// and an answer that is too large to be read would never get smaller.
const EVENTS: &str = "200";

/// One page, by `updated` ascending: a record that is edited meanwhile moves to the end and is
/// seen again. The other way round it would be missed.
pub(super) async fn records(
    call: &Call<'_>,
    kind: &RecordKind,
    from: &ScanFrom,
) -> Result<Page, PlatformError> {
    let changed = from.changed_since.map(|since| changed_filter("updated", since));
    let mut query = vec![("sort", "updated"), ("page[size]", page_size(kind))];
    query.extend(changed.as_deref().map(|filter| ("filter", filter)));
    query.extend(from.cursor.as_deref().map(|cursor| ("page[cursor]", cursor)));

    let template = if kind.name == LIST { "/api/lists" } else { "/api/profiles" };
    let answer = call.get(&DIALECT, template, &[], &query).await?;
    errors::meaning(&answer).into_result()?;
    let listing: Listing<'_> = answer.json()?;
    page(read_all(kind, "", &listing.data)?, listing.next()?, from)
}

/// What came after `since`, and with it what came in the same second: there is no "at or after" on
/// `updated`, all these times have a resolution of one second, and one second earlier loses
/// nothing.
pub(super) fn changed_filter(field: &str, since: Timestamp) -> String {
    let before = since.checked_sub(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MIN);
    format!("greater-than({field},{})", before.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    attributes: Attributes,
    relationships: Option<Relationships>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    datetime: Value,
}

/// Of an event, in a list as in a webhook.
#[derive(Deserialize)]
pub(super) struct Relationships {
    profile: Option<Relationship>,
}

#[derive(Deserialize)]
struct Relationship {
    data: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    id: String,
}

impl Relationships {
    /// Whose event it was.
    pub(super) fn profile(self) -> Option<String> {
        self.profile?.data.map(|profile| profile.id).filter(|id| is_id(id))
    }
}

/// One notice for each of these profiles.
pub(super) fn notices(profiles: BTreeSet<String>) -> Vec<Notice> {
    let notice = |id| Notice { record_type: PROFILE.into(), external_id: ExternalId::new(id) };
    profiles.into_iter().map(notice).collect()
}

/// One page of events: the profiles that did something. Without a time to start from there is
/// nothing that was missed, and a scan of the profiles tells more than all events there ever were.
pub(super) async fn events(call: &Call<'_>, from: &ScanFrom) -> Result<Page, PlatformError> {
    let Some(since) = from.changed_since else { return page(Vec::new(), None, from) };
    let filter = changed_filter("datetime", since);
    let mut query = vec![("sort", "datetime"), ("filter", filter.as_str()), ("page[size]", EVENTS)];
    query.extend(from.cursor.as_deref().map(|cursor| ("page[cursor]", cursor)));
    let answer = call.get(&DIALECT, "/api/events", &[], &query).await?;
    errors::meaning(&answer).into_result()?;
    let listing: Listing<'_> = answer.json()?;

    let (mut latest, mut profiles) = (None, BTreeSet::new());
    for payload in &listing.data {
        let event: Event = serde_json::from_str(payload.get()).map_err(|_| {
            PlatformError::Unexpected { what: "an event of another form".to_owned() }
        })?;
        latest = latest.max(event.attributes.datetime.as_str().and_then(|at| at.parse().ok()));
        profiles.extend(event.relationships.and_then(Relationships::profile));
    }
    let empty = page(Vec::new(), listing.next()?, from)?;
    Ok(Page { latest, hints: notices(profiles), ..empty })
}
