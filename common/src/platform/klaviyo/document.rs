//! Answers as JSON:API wraps them.

use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use crate::platform::PlatformError;

/// A list of records.
#[derive(Deserialize)]
pub(super) struct Many<'a> {
    #[serde(borrow)]
    pub data: Vec<&'a RawValue>,
}

/// A list of records, and where it goes on.
#[derive(Deserialize)]
pub(super) struct Listing<'a> {
    #[serde(borrow)]
    pub data: Vec<&'a RawValue>,
    links: Links,
}

#[derive(Deserialize)]
struct Links {
    next: Option<String>,
}

/// One record.
#[derive(Deserialize)]
pub(super) struct One<'a> {
    #[serde(borrow)]
    pub data: &'a RawValue,
}

impl Listing<'_> {
    /// The cursor in the URL of the next page. The URL itself is never followed: it could lead
    /// anywhere, with our key.
    pub(super) fn next(&self) -> Result<Option<String>, PlatformError> {
        let Some(next) = self.links.next.as_deref() else { return Ok(None) };
        let cursor = Url::parse(next).ok().and_then(|url| {
            let (_, cursor) = url.query_pairs().find(|(name, _)| name == "page[cursor]")?;
            Some(cursor.into_owned())
        });
        cursor.map(Some).ok_or_else(|| PlatformError::Unexpected {
            what: "a next page without a cursor".to_owned(),
        })
    }
}
