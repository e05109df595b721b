//! What jobs do: one match on the task.

mod backlog;
mod check;
mod form;
mod probe;
mod scan;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use common::fleet::Connection;
use common::ids::{ExternalId, Fence, RecordType};
use common::job::{JobId, Priority, Task};
use common::platform::{Call, PlatformError, RecordKind};
use common::queue::Leased;
use common::store::StoreError;
use common::store::habits::Planning;

use crate::batch::Worker;
use crate::outcome::Then;
use crate::permits::BatchPermits;

pub use scan::Brake;

/// How records are kept true.
#[derive(Clone, Copy, Debug)]
pub struct Care {
    /// No spot check before this age of a record,
    pub min_age: Duration,
    /// and one at this age whatever it is worth.
    pub max_age: Duration,
    /// Records of each run that are looked at once more.
    pub run_samples: u32,
    /// Drift in one record is repaired so often within an hour.
    pub repairs_per_hour: u32,
}

/// A batch as handlers see it: jobs of one group, and the right to work on them.
pub struct Work<'a> {
    /// Stores, settings.
    pub worker: &'a Worker,
    /// Whose jobs they are.
    pub connection: &'a Connection,
    /// Where requests get their permits.
    pub permits: &'a BatchPermits<'a>,
    /// At which they waited.
    pub priority: Priority,
    /// Carried by every write.
    pub fence: Fence,
    /// At least one.
    pub jobs: &'a [Leased],
}

impl Work<'_> {
    fn call<'a>(&'a self, kind: &'a str) -> Call<'a> {
        Call::new(&self.worker.api, &self.connection.account, self.permits, kind)
    }

    /// When records of a kind are looked at next.
    fn planning(&self, kind: &RecordKind) -> Planning {
        let Care { min_age, max_age, .. } = self.worker.care;
        let weights = self.connection.config.weights.get(&kind.name.into()).cloned();
        Planning { min_age, max_age, looks_per_request: kind.batch, weights }
    }
}

/// Why nothing can be said about any job of a batch.
#[derive(Debug)]
pub enum Failure {
    /// The platform, or the way to it.
    Platform(PlatformError),
    /// Postgres or Redis.
    Store(anyhow::Error),
}

impl Failure {
    /// For spans.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Platform(error) => error.name(),
            Self::Store(_) => "store",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(error) => write!(f, "{error}"),
            Self::Store(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<PlatformError> for Failure {
    fn from(error: PlatformError) -> Self {
        Self::Platform(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Does batches. The fleet's is [`Tasks`]; the benchmarks of the queue have one that does nothing.
#[async_trait]
pub trait Handler: fmt::Debug + Send + Sync {
    /// Does the batch, and says what becomes of each of its jobs, in their order.
    ///
    /// # Errors
    ///
    /// When nothing can be said about any of them.
    async fn run(&self, work: &Work<'_>) -> Result<Vec<Then>, Failure>;
}

/// Every task of the fleet.
#[derive(Clone, Copy, Debug)]
pub struct Tasks;

#[async_trait]
impl Handler for Tasks {
    async fn run(&self, work: &Work<'_>) -> Result<Vec<Then>, Failure> {
        // All jobs of a batch are of one group, and so of one kind.
        let Some(first) = work.jobs.first() else { return Ok(Vec::new()) };
        match Task::try_from(&first.id) {
            Ok(Task::Check { record_type, .. }) => check::run(work, &record_type).await,
            Ok(Task::Scan { .. }) if backlog::is_above_mark(work).await => {
                Ok(backlog::stand_back(work))
            }
            Ok(Task::Scan { record_type }) => scan::run(work, &record_type).await,
            Ok(Task::Probe) => probe::run(work, first.id.kind()).await,
            Err(error) => Err(PlatformError::Unexpected { what: error.to_string() }.into()),
        }
    }
}

/// A record type that this connection's platform does not have: written by another version,
/// perhaps.
fn unknown(record_type: &RecordType) -> Failure {
    PlatformError::Unexpected { what: format!("no record type {record_type} on this platform") }
        .into()
}

/// The record that a check looks at.
fn external_id(id: &JobId) -> Option<ExternalId> {
    match Task::try_from(id) {
        Ok(Task::Check { external_id, .. }) => Some(external_id),
        _ => None,
    }
}
