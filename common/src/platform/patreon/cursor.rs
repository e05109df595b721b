//! Where a scan goes on: our own cursor, since Patreon's is one of several things to know.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::platform::PlatformError;
use crate::platform::patreon::document::Pagination;

/// A list of a million pages has no end.
const MOST_PAGES: u32 = 1_000_000;

/// How far the reading of one list has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// Patreon's cursor of the page that is due; `None` for the first.
    pub(super) next: Option<String>,
    /// Records on the pages so far.
    seen: u64,
    /// Pages so far.
    pages: u32,
    /// Made from the ids of the last page.
    last: u64,
}

impl Progress {
    /// Whether a page with `ids` is the last page once more.
    pub(super) fn repeats(&self, ids: &BTreeSet<&str>) -> bool {
        self.pages > 0 && fingerprint(ids) == self.last
    }

    /// Where the list goes on after a page with `ids`; `None` when that was the last.
    ///
    /// Patreon's cursor alone does not tell: there may be a fresh one after the last page, again
    /// and again. A list ends without a cursor, with a page that has nothing new, or when as many
    /// records were seen as it is said to have.
    ///
    /// # Errors
    ///
    /// `Unexpected` when it does not end.
    pub(super) fn after(
        &self,
        ids: &BTreeSet<&str>,
        pagination: &Pagination,
    ) -> Result<Option<Self>, PlatformError> {
        let seen = self.seen.saturating_add(ids.len() as u64);
        let last = fingerprint(ids);
        let nothing_new = ids.is_empty() || self.repeats(ids);
        let complete = pagination.total.is_some_and(|total| seen >= total);
        match pagination.next() {
            Some(next) if !nothing_new && !complete => {
                if self.pages == MOST_PAGES {
                    let what = "a list without an end".to_owned();
                    return Err(PlatformError::Unexpected { what });
                }
                let (next, pages) = (Some(next.to_owned()), self.pages + 1);
                Ok(Some(Self { next, seen, pages, last }))
            }
            _ => Ok(None),
        }
    }
}

fn fingerprint(ids: &BTreeSet<&str>) -> u64 {
    xxh3_64(ids.iter().copied().collect::<Vec<_>>().join("/").as_bytes())
}

/// Where a scan of members stands: they are listed campaign by campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Members {
    /// The campaigns that are known and not yet read to their end; the first one is being read.
    /// When there are none, a page of the list of campaigns is due.
    pub(super) campaigns: Vec<String>,
    /// How far in the members of the first campaign.
    pub(super) progress: Progress,
    /// How far in the list of campaigns; `None` when it has been read to its end.
    pub(super) list: Option<Progress>,
}

impl Members {
    pub(super) fn start() -> Self {
        Self { list: Some(Progress::default()), ..Self::default() }
    }

    /// Whether anything is left to read.
    pub(super) fn goes_on(&self) -> bool {
        !self.campaigns.is_empty() || self.list.is_some()
    }
}

/// A cursor as text.
pub(super) fn write(cursor: &impl Serialize) -> Result<String, PlatformError> {
    serde_json::to_string(cursor)
        .map_err(|_| PlatformError::Unexpected { what: "a cursor that is no text".to_owned() })
}

/// A cursor that we wrote; one that we did not is lost.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, PlatformError> {
    serde_json::from_str(text).map_err(|_| PlatformError::CursorLost)
}
