//! Reading all records of a kind, or those that changed, page by page.

use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::warn;

use crate::platform::eventbrite::records::{ATTENDEE, EVENT, ORDER, read};
use crate::platform::eventbrite::{DIALECT, errors};
use crate::platform::record::page;
use crate::platform::{Call, Look, Page, PlatformError, RecordKind, ScanFrom};

/// A list of any kind of record, as all lists come.
#[derive(Deserialize)]
pub(super) struct Listing<'a> {
    pagination: Pagination,
    #[serde(borrow)]
    events: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    attendees: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    orders: Option<Vec<&'a RawValue>>,
}

/// The last page has a `continuation` too, which leads to an empty one.
#[derive(Deserialize)]
struct Pagination {
    has_more_items: bool,
    continuation: Option<String>,
}

impl<'a> Listing<'a> {
    /// The records of this kind.
    pub(super) fn records(&self, kind: &RecordKind) -> Result<&[&'a RawValue], PlatformError> {
        let list = match kind.name {
            EVENT => &self.events,
            ATTENDEE => &self.attendees,
            _ => &self.orders,
        };
        list.as_deref().ok_or_else(|| PlatformError::Unexpected {
            what: format!("a list without a list of {}s", kind.name),
        })
    }
}

/// One pass over an organization's list. Most kinds need one; attendees need two, since those
/// that were deleted are only listed among those who do not attend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Plain,
    NotAttending,
}

impl Pass {
    /// What stands before Eventbrite's own token in our cursor.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Plain => "plain:",
            Self::NotAttending => "not_attending:",
        }
    }

    /// The pass and the continuation that a cursor stands for; an empty one is the first page.
    fn of(cursor: Option<&str>) -> Result<(Self, &str), PlatformError> {
        let Some(cursor) = cursor else { return Ok((Self::Plain, "")) };
        [Self::Plain, Self::NotAttending]
            .into_iter()
            .find_map(|pass| Some((pass, cursor.strip_prefix(pass.prefix())?)))
            .ok_or(PlatformError::CursorLost)
    }

    fn after(self, kind: &RecordKind) -> Option<Self> {
        (kind.name == ATTENDEE && self == Self::Plain).then_some(Self::NotAttending)
    }
}

/// One page. `changed_since` is inclusive there as here; for events there is no such filter.
pub(super) async fn records(
    call: &Call<'_>,
    kind: &RecordKind,
    from: &ScanFrom,
) -> Result<Page, PlatformError> {
    let (pass, continuation) = Pass::of(from.cursor.as_deref())?;
    let since = from
        .changed_since
        .filter(|_| kind.changed_since)
        .map(|since| since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());

    let (template, mut query) = match (kind.name, pass) {
        (EVENT, _) => (
            "/organizations/{organization}/events/",
            vec![("status", "all"), ("order_by", "created_asc")],
        ),
        (ORDER, _) => ("/organizations/{organization}/orders/", vec![("status", "both")]),
        (_, Pass::Plain) => ("/organizations/{organization}/attendees/", Vec::new()),
        (_, Pass::NotAttending) => {
            ("/organizations/{organization}/attendees/", vec![("status", "not_attending")])
        }
    };
    query.push(("page_size", "50"));
    query.extend(since.as_deref().map(|since| ("changed_since", since)));
    if !continuation.is_empty() {
        query.push(("continuation", continuation));
    }

    let organization = call.account().account.as_str();
    let answer = call.get(&DIALECT, template, &[organization], &query).await?;
    errors::meaning(&answer).into_result()?;
    let listing: Listing<'_> = answer.json()?;
    let mut snapshots = Vec::new();
    for payload in listing.records(kind)? {
        match read(kind, payload)? {
            Look::Found(snapshot) => snapshots.push(snapshot),
            // Not seen by the scan, and so looked at by itself later.
            other => {
                warn!(record.id = %other.external_id(), "a record of a scan has no canonical form");
            }
        }
    }
    page(snapshots, next(&listing.pagination, pass, kind)?, from)
}

/// The cursor of the next page. Only `has_more_items` says whether there is one.
fn next(
    pagination: &Pagination,
    pass: Pass,
    kind: &RecordKind,
) -> Result<Option<String>, PlatformError> {
    match (pagination.has_more_items, pagination.continuation.as_deref()) {
        (false, _) => Ok(pass.after(kind).map(|pass| pass.prefix().to_owned())),
        (true, Some(token)) if !token.is_empty() => Ok(Some(format!("{}{token}", pass.prefix()))),
        (true, _) => Err(PlatformError::Unexpected {
            what: "more items, and no continuation to them".to_owned(),
        }),
    }
}
