//! Records as platforms give them.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::drift::{CanonicalError, ContentHash, Shape, canonical_at, content_hash};
use crate::ids::ExternalId;
use crate::platform::{Notice, PlatformError};

/// Longest cursor that is kept, in bytes.
const MAX_CURSOR_BYTES: usize = 4096;

/// One kind of record of a platform, and how it is read and compared.
#[derive(Debug)]
pub struct RecordKind {
    /// Its name: `profile`.
    pub name: &'static str,
    /// Goes into the hash; raised whenever `shape` changes.
    pub schema_version: u16,
    /// Records that one request of `look` can answer for.
    pub batch: u32,
    /// Whether a scan can be limited to what changed since an instant.
    pub changed_since: bool,
    /// Whether that list names every record that was edited, and not only those that are new to it.
    /// None is documented to show whatever may differ (deletions, fields that move by themselves),
    /// so a record that it does not name is not known to be unchanged.
    pub lists_edits: bool,
    /// Whether its records are mirrored. A kind that is not is only scanned for hints of others,
    /// and only from an instant on.
    pub mirrored: bool,
    /// The fields that count, and the arrays whose order does not.
    pub shape: &'static Shape,
}

impl RecordKind {
    /// What a record of this kind looks like, where it does not matter when.
    ///
    /// # Errors
    ///
    /// When the part that counts has no canonical form; no retry can change that.
    pub fn snapshot(
        &self,
        external_id: ExternalId,
        payload: &RawValue,
        version: Option<Timestamp>,
    ) -> Result<Snapshot, CanonicalError> {
        self.snapshot_at(external_id, payload, version, Timestamp::MIN)
    }

    /// What a record of this kind looks like at `now`, by the platform's clock.
    ///
    /// # Errors
    ///
    /// As [`Self::snapshot`].
    pub fn snapshot_at(
        &self,
        external_id: ExternalId,
        payload: &RawValue,
        version: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Snapshot, CanonicalError> {
        let canonical = canonical_at(payload.get(), self.shape, now)?;
        let hash = content_hash(self.name, self.schema_version, &canonical);
        Ok(Snapshot { external_id, payload: payload.to_owned(), hash, version })
    }
}

/// What a record looked like when it was fetched.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its id there.
    pub external_id: ExternalId,
    /// The whole record as it came, digits and all.
    pub payload: Box<RawValue>,
    /// xxh3 of the schema version and the canonical form of the fields that count.
    pub hash: ContentHash,
    /// When it last changed, in the platform's own words, where it says so. Only a hint.
    pub version: Option<Timestamp>,
}

/// What a look at one record found.
#[derive(Clone, Debug)]
pub enum Look {
    /// It is there.
    Found(Snapshot),
    /// The platform says that there is no such record. Two looks make a tombstone.
    Missing(ExternalId),
    /// The platform says that it is gone for good: a tombstone at once.
    Gone(ExternalId),
    /// We no longer get at it, nor at anything else below its parent (all before the last slash of
    /// its id). That says nothing about the record: it stays as it is and is left alone for long.
    OutOfReach {
        /// Its id.
        external_id: ExternalId,
        /// Why, for the history.
        reason: String,
    },
    /// There was no quota left to look at it. Nothing is wrong with it or with the platform.
    Postponed(ExternalId),
    /// It cannot be judged yet (too young, or access to this one record is refused): look again
    /// later, conclude nothing.
    Unclear {
        /// Its id.
        external_id: ExternalId,
        /// Why, for the history.
        reason: String,
    },
}

impl Look {
    /// Which record was looked at.
    pub fn external_id(&self) -> &ExternalId {
        match self {
            Self::Found(snapshot) => &snapshot.external_id,
            Self::Missing(external_id)
            | Self::Gone(external_id)
            | Self::Postponed(external_id)
            | Self::OutOfReach { external_id, .. }
            | Self::Unclear { external_id, .. } => external_id,
        }
    }

    /// A record that cannot be judged, and why.
    pub fn unclear(external_id: &ExternalId, reason: impl Into<String>) -> Self {
        Self::Unclear { external_id: external_id.clone(), reason: reason.into() }
    }

    /// A record that we no longer get at, and why.
    pub fn out_of_reach(external_id: &ExternalId, reason: impl Into<String>) -> Self {
        Self::OutOfReach { external_id: external_id.clone(), reason: reason.into() }
    }
}

/// Where a scan goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanFrom {
    /// The adapter's token for the next page, opaque; `None` for the first.
    pub cursor: Option<String>,
    /// Only what changed at or after this instant. Fixed for the whole scan.
    pub changed_since: Option<Timestamp>,
}

/// One page of a scan.
#[derive(Clone, Debug)]
pub struct Page {
    /// The records on it, each once.
    pub records: Vec<Snapshot>,
    /// The token of the next page; `None` when this was the last.
    pub next: Option<String>,
    /// The latest `version` that the platform gave, for the watermark. May lie in the future.
    pub latest: Option<Timestamp>,
    /// Other records that the page says something happened to, each once.
    pub hints: Vec<Notice>,
    /// What may be thought of records that the whole scan did not see; what the last page says
    /// counts.
    pub unseen: Unseen,
}

/// What a complete scan tells of records that it did not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unseen {
    /// They may be gone.
    #[default]
    Suspect,
    /// Those may be gone of whose parent (all before the last slash of the id) the scan saw
    /// another record. Where it saw none, the parent itself was out of reach.
    SuspectBesideSeen,
    /// Nothing: what is out of our reach is not listed either.
    Keep,
}

/// Makes a page of what an answer held, each record once, the last of those with the same id.
pub(super) fn page(
    records: Vec<Snapshot>,
    next: Option<String>,
    from: &ScanFrom,
) -> Result<Page, PlatformError> {
    let unexpected = |what: &str| Err(PlatformError::Unexpected { what: what.to_owned() });
    match &next {
        Some(cursor) if cursor.len() > MAX_CURSOR_BYTES => {
            return unexpected("a cursor of more than 4096 bytes");
        }
        // Following it would read the same page for ever.
        Some(_) if next == from.cursor => return unexpected("the cursor does not move"),
        _ => {}
    }
    let latest = records.iter().filter_map(|record| record.version).max();
    let mut seen = HashSet::new();
    let mut records: Vec<_> = records
        .into_iter()
        .rev()
        .filter(|record| seen.insert(record.external_id.clone()))
        .collect();
    records.reverse();
    Ok(Page { records, next, latest, hints: Vec::new(), unseen: Unseen::Suspect })
}
