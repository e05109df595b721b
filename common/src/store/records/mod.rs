//! The mirror: what the platforms' records looked like when they were last fetched.

mod judge;
mod learn;
mod payload;
mod plan;
mod sample;
mod stored;
mod write;

pub use plan::{PlannedRecord, Replanned, first_due, next_due, replan, walk};
pub use sample::{Sampled, random, window};
pub use stored::{RowStanding, StoredRecord, row_standing, stored, suspected};
pub(super) use write::Judged;
pub use write::write;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::bulk_runs::RunId;
use super::habits::Planning;
use super::text_enum;
use crate::drift::ContentHash;
#[cfg(doc)]
use crate::drift::Excluded;
use crate::ids::{ConnectionId, ExternalId, Fence, RecordType};
use crate::job::{JobId, Priority};

/// The most looks that one [`write()`] may carry.
pub const MAX_LOOKS: usize = 10_000;

text_enum! {
    /// Why somebody looked at a record.
    Trigger {
        /// The platform told us.
        Webhook = "webhook",
        /// A person asked.
        Manual = "manual",
        /// A bulk run came by.
        Bulk = "bulk",
        /// It was this record's turn.
        SpotCheck = "spot-check",
    }
}

impl Trigger {
    /// Whether nobody had told us: a difference found by such a look may be drift.
    pub const fn is_unprompted(self) -> bool {
        matches!(self, Self::Bulk | Self::SpotCheck)
    }
}

impl From<Priority> for Trigger {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Webhook => Self::Webhook,
            Priority::Manual => Self::Manual,
            Priority::Bulk => Self::Bulk,
            Priority::SpotCheck => Self::SpotCheck,
        }
    }
}

text_enum! {
    /// What became of a record in a write.
    Outcome {
        /// It is mirrored for the first time.
        Created = "created",
        /// It differs from what was mirrored.
        Changed = "changed",
        /// It is as mirrored (or is still gone).
        Unchanged = "unchanged",
        /// What was mirrored was hashed by other rules: by those of today it is as found, or
        /// nothing can be said about a change; the new look was taken over.
        Rehashed = "rehashed",
        /// It was missing; another look, `confirm_after` later, must confirm that.
        Suspected = "suspected",
        /// It was missing again: it is marked as deleted.
        Deleted = "deleted",
        /// It is missing and was never mirrored.
        Absent = "absent",
        /// It is there again after it was deleted.
        Restored = "restored",
        /// Refused: a fetch that began later has written already.
        Stale = "stale",
        /// It differs, and drift in it was repaired so often within the hour that it is left as it
        /// is: it does not settle.
        Capped = "capped",
        /// Nothing can be concluded; nothing was written, its notices stay open.
        Unclear = "unclear",
    }
}

impl Outcome {
    /// Whether the mirror was not as the platform is.
    pub const fn is_difference(self) -> bool {
        matches!(self, Self::Created | Self::Changed | Self::Deleted | Self::Restored)
    }

    /// Whether the look told us what the platform has, so that older notices are answered.
    pub const fn is_answer(self) -> bool {
        !matches!(self, Self::Stale | Self::Capped | Self::Unclear)
    }
}

/// What one look at a record found.
#[derive(Clone, Debug)]
pub struct Look {
    /// Its id on the platform.
    pub external_id: ExternalId,
    /// What was found.
    pub finding: Finding,
}

/// What a look found.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It is there.
    Found {
        /// The whole record as it came.
        payload: Box<RawValue>,
        /// Of its canonical form.
        hash: ContentHash,
        /// The version of the rules that the hash was made by, [`Excluded::version`].
        schema_version: i32,
        /// When it last changed, in the platform's own words.
        remote_version: Option<Timestamp>,
        /// What is mirrored, hashed by the rules of today, where they were others when it was
        /// written: then a changed rule is told from a changed record.
        rehash: Option<Rehash>,
        /// The difference to what [`stored()`] gave, for the history and the drift event.
        diff: Option<Box<RawValue>>,
    },
    /// The platform says that there is no such record.
    Missing,
    /// The platform says that it is gone for good.
    Gone,
    /// It cannot be judged yet.
    Unclear {
        /// Why, for the history; no bodies, no secrets.
        reason: String,
    },
    /// Nothing can be said about it, nor about its siblings: the others with the same id up to the
    /// last slash. None of them is spot-checked for a day.
    OutOfReach {
        /// Why, for the history; no bodies, no secrets.
        reason: String,
    },
}

/// What [`stored()`] gave, hashed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rehash {
    /// The hash that is mirrored with it.
    pub of: ContentHash,
    /// Its hash by the rules of today.
    pub hash: ContentHash,
}

impl Finding {
    /// Whether it says something about the record.
    pub(super) const fn is_telling(&self) -> bool {
        !matches!(self, Self::Unclear { .. } | Self::OutOfReach { .. })
    }
}

/// The looks that one fetch answered, and under what right they are written.
#[derive(Clone, Debug)]
pub struct WriteBatch {
    /// Whose records they are.
    pub connection: ConnectionId,
    /// Their kind.
    pub record_type: RecordType,
    /// Why somebody looked.
    pub trigger: Trigger,
    /// The job that did.
    pub job_id: JobId,
    /// The fence of its lease.
    pub fence: Fence,
    /// The server's clock before the fetch began, from [`super::inbox::open_for`].
    pub fetched_at: Timestamp,
    /// The bulk run, when this is one of its pages.
    pub run: Option<RunId>,
    /// The platform listed what was edited since then, and these are what it named: before that,
    /// what it names now was not edited. `None`: nothing is known of that.
    pub listed_since: Option<Timestamp>,
    /// What was found; where a record occurs twice, the last one counts.
    pub looks: Vec<Look>,
    /// The notices that were open before the fetch began.
    pub close_notices: Vec<i64>,
    /// How much later than the first look a second one must begin to make a deletion of a missing
    /// record.
    pub confirm_after: Duration,
    /// A difference in a record that changed at the platform less than this long ago is no drift:
    /// the notice of it may be on its way, and what was fetched before it may have been old.
    pub young: Duration,
    /// When the records are looked at next.
    pub planning: Planning,
    /// A record in which drift was repaired so often within an hour is left as it is.
    pub repairs_per_hour: u32,
    /// The W3C `traceparent` of the span that writes, or empty.
    pub trace: String,
}

/// What became of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What became of the record.
    pub outcome: Outcome,
    /// The mirror was wrong and nothing had told us.
    pub drift: bool,
}

/// The bits of the column `flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub i32);

impl Flags {
    /// The record is gone from its platform.
    pub const DELETED: Self = Self(1);
    /// It was missing at the last look; another must confirm that.
    pub const SUSPECTED: Self = Self(2);
    /// Reserved: a person has set its content by hand.
    pub const FORCED: Self = Self(4);
    /// Reserved: not to be overwritten.
    pub const LOCKED: Self = Self(8);

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
