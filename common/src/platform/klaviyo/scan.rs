//! Reading all profiles, or those that changed, page by page.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use crate::platform::klaviyo::{DIALECT, errors, profile};
use crate::platform::record::page;
use crate::platform::{Call, Page, PlatformError, RecordKind, ScanFrom};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    links: Links,
}

#[derive(Deserialize)]
struct Links {
    next: Option<String>,
}

/// One page, by `updated` ascending: a profile that is edited meanwhile moves to the end and is
/// seen again. The other way round it would be missed.
pub(super) async fn profiles(
    call: &Call<'_>,
    kind: &RecordKind,
    from: &ScanFrom,
) -> Result<Page, PlatformError> {
    let changed = from.changed_since.map(changed_filter);
    let mut query = vec![("sort", "updated"), ("page[size]", "100")];
    query.extend(changed.as_deref().map(|filter| ("filter", filter)));
    query.extend(from.cursor.as_deref().map(|cursor| ("page[cursor]", cursor)));

    let answer = call.get(&DIALECT, "/api/profiles", &[], &query).await?;
    errors::meaning(&answer).into_result()?;
    let Body { data, links } = answer.json()?;
    let next = links.next.as_deref().map(cursor_of).transpose()?;
    page(profile::read_all(kind, &data)?, next, from)
}

/// There is no "at or after" on `updated`, which has a resolution of one second: a second earlier
/// is what does not lose the others of the same second.
fn changed_filter(since: Timestamp) -> String {
    let before = since.checked_sub(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MIN);
    format!("greater-than(updated,{})", before.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

/// The cursor in the URL of the next page. The URL itself is never followed: it could lead
/// anywhere, with our key.
fn cursor_of(next: &str) -> Result<String, PlatformError> {
    let url = Url::parse(next).ok();
    url.as_ref()
        .and_then(|url| url.query_pairs().find(|(name, _)| name == "page[cursor]"))
        .map(|(_, cursor)| cursor.into_owned())
        .ok_or_else(|| PlatformError::Unexpected {
            what: "a next page without a cursor".to_owned(),
        })
}
