//! The right to send one request.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

/// The right to send one request, until `use_by`. It holds a slot in the ledger of each quota it
/// draws on until one window after its answer.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not used holds its slot until its deadline"]
pub struct Permit {
    /// Unique in its lane.
    pub id: i64,
    /// The kind of job it was granted for; says which quotas it draws on.
    pub kind: String,
    /// A request that is not on its way by then is not sent.
    pub use_by: Instant,
}

/// What an answer said about the platform's own counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateSignal {
    /// How many requests the platform would still take, and when it starts to count anew.
    ///
    /// Of a lane, the longest quota of the permit's kind is lowered to it. Of a kind, only 0 counts
    /// and closes the kind until then: what is on its way is not counted by kind.
    pub remaining: Option<(u32, Duration)>,
    /// The platform refused (429) and wants to be left alone for this long.
    pub refused_for: Option<Duration>,
    /// Whose requests this is about.
    pub scope: RateScope,
    /// The refusal is not for going over a limit of ours: others used it up, or the platform's edge
    /// blocks us. It is obeyed like any other, and not counted as over-quota.
    pub blameless: bool,
}

impl RateSignal {
    /// Whether the platform refused because we asked for more than it allows us.
    pub fn is_over_quota(&self) -> bool {
        self.refused_for.is_some() && !self.blameless
    }
}

/// Which requests a [`RateSignal`] is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateScope {
    /// All of the lane.
    #[default]
    Lane,
    /// Those of the permit's kind: the platform counts them apart, like Discord its routes.
    Kind,
}

/// Why there is no permit.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// Nothing is free before this time is over.
    #[error("no permit for the next {0:?}")]
    After(Duration),
    /// The store of the buckets cannot be reached. An unknown budget is an empty one.
    #[error("the quota store cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where a job gets its permits: the one that its claim brought, then further ones.
#[async_trait]
pub trait Permits: Send + Sync {
    /// The next permit for a request of this kind of job.
    ///
    /// # Errors
    ///
    /// [`QuotaError::After`] when the quota is used up for longer than a job may wait in place.
    async fn take(&self, kind: &str) -> Result<Permit, QuotaError>;

    /// Tells that a request was answered: `signal` is what the answer said about limits. Without
    /// an answer it is not called, and the permit holds its slots until its deadline.
    async fn settle(&self, permit: Permit, signal: RateSignal);

    /// Tells that a request got an answer that the platform counts towards a block of our address.
    /// Its permit is settled besides.
    async fn failed(&self) {}
}
