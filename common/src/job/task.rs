//! Every kind of work, and the id that follows from it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{ExternalId, RecordType};

/// The kind and the only id of [`Task::Probe`].
pub const PROBE: &str = "probe";

/// What a job does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// Look at one record and make the mirror true.
    Check {
        /// Its kind.
        record_type: RecordType,
        /// Its id there.
        external_id: ExternalId,
    },
    /// Read one page of the bulk sync of a record type.
    Scan {
        /// What is scanned.
        record_type: RecordType,
    },
    /// Look at what sends the platform's webhooks to us.
    Probe,
}

/// A job's name inside its lane: what it looks at, so that looking twice is one job.
///
/// `profile:01J…` for a check, `scan@profile` for a scan, `probe`. What stands before the first colon is
/// the *kind*, to which batch sizes and quotas belong. Jobs *share a request* when all before the
/// last slash (or, without one, the kind) is equal: `attendee:88/1` and `attendee:88/2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first colon, or all of it.
    pub fn kind(&self) -> &str {
        self.0.split(':').next().unwrap_or(&self.0)
    }

    /// What jobs that can share a request have in common.
    pub fn group(&self) -> &str {
        self.0.rsplit_once('/').map_or_else(|| self.kind(), |(group, _)| group)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no job's id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no job id: expected <record type>:<id>, scan@<record type> or probe")]
pub struct InvalidJobId(String);

impl Task {
    /// The id of the job that does this.
    pub fn job_id(&self) -> JobId {
        JobId(match self {
            Self::Check { record_type, external_id } => format!("{record_type}:{external_id}"),
            Self::Scan { record_type } => format!("scan@{record_type}"),
            Self::Probe => PROBE.to_owned(),
        })
    }

    /// The record type it concerns, if it is one.
    pub fn record_type(&self) -> Option<&RecordType> {
        match self {
            Self::Check { record_type, .. } | Self::Scan { record_type } => Some(record_type),
            Self::Probe => None,
        }
    }

    /// Its name in spans, metrics and tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Check { .. } => "check",
            Self::Scan { .. } => "scan",
            Self::Probe => PROBE,
        }
    }
}

impl FromStr for Task {
    type Err = InvalidJobId;

    fn from_str(id: &str) -> Result<Self, InvalidJobId> {
        let task = match (id.split_once(':'), id.strip_prefix("scan@")) {
            (None, None) if id == PROBE => Self::Probe,
            (None, Some(record_type)) if !record_type.is_empty() => {
                Self::Scan { record_type: record_type.into() }
            }
            (Some((record_type, external_id)), None)
                if !record_type.is_empty() && !external_id.is_empty() =>
            {
                Self::Check { record_type: record_type.into(), external_id: external_id.into() }
            }
            _ => return Err(InvalidJobId(id.to_owned())),
        };
        Ok(task)
    }
}

impl TryFrom<&JobId> for Task {
    type Error = InvalidJobId;

    fn try_from(id: &JobId) -> Result<Self, InvalidJobId> {
        id.as_str().parse()
    }
}

impl From<&str> for JobId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for JobId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_task() {
        for id in ["profile:01J", "attendee:88/1", "profile:with:colons", "scan@profile", "probe"] {
            let task: Task = id.parse().unwrap();
            assert_eq!(task.job_id().as_str(), id);
        }
        for bad in ["", "profile", ":x", "profile:", "scan@", "probes"] {
            assert!(bad.parse::<Task>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn jobs_share_a_request_when_kind_and_parent_are_equal() {
        let group = |id: &str| JobId::from(id).group().to_owned();
        assert_eq!(group("attendee:88/1"), group("attendee:88/2"));
        assert_ne!(group("attendee:88/1"), group("attendee:99/1"));
        assert_eq!(group("profile:a"), group("profile:b"));
        assert_ne!(group("profile:a"), group("order:a"));
    }
}
