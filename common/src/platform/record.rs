//! Records as platforms give them.

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::drift::{ContentHash, Shape};
use crate::ids::ExternalId;

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
    /// The fields that count, and the arrays whose order does not.
    pub shape: &'static Shape,
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
    /// It cannot be judged yet (too young, or access to this one record is refused): look again
    /// later, conclude nothing.
    Unclear {
        /// Its id.
        external_id: ExternalId,
        /// Why, for the history.
        reason: String,
    },
}

/// Where a scan goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanFrom {
    /// The platform's token for the next page, opaque; `None` for the first.
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
}
