//! What a claim hands out, and what comes back.

use std::time::Duration;

use tokio::time::Instant;

use crate::ids::{Fence, Lane};
use crate::job::{JobId, Priority};
use crate::quota::{Permit, RateSignal};

/// Jobs that share one request, leased together, and the permit for that request.
#[derive(Debug)]
#[must_use = "a batch that is never settled holds its jobs until the lease runs out"]
pub struct Batch {
    /// Whose quota it uses.
    pub lane: Lane,
    /// At which priority it waited.
    pub priority: Priority,
    /// Carried by every write under this lease.
    pub fence: Fence,
    /// At least one; all of one [`JobId::group`].
    pub jobs: Vec<Leased>,
    /// For the first request.
    pub permit: Permit,
    /// After this instant the lease may be another's: begin nothing any more. Counted from before
    /// the claim was sent, so it is early rather than late.
    pub ends: Instant,
    /// When it was claimed, by Redis' clock: microseconds since the Unix epoch.
    pub claimed_at_us: i64,
}

/// One job under a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// What to do; parse it into a [`crate::job::Task`].
    pub id: JobId,
    /// How often it has been leased since it last succeeded, counting this time.
    pub attempt: u32,
    /// 0 for a first look; above, which confirming look this is.
    pub round: u8,
    /// The W3C `traceparent` of the span that asked for it, or empty.
    pub trace: String,
    /// When it got its priority, by Redis' clock: microseconds since the Unix epoch.
    pub arrived_us: i64,
}

/// What became of a leased job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ack,
    /// Done, and to be looked at once more.
    Again {
        /// From now.
        after: Duration,
        /// Which confirming look that will be.
        round: u8,
    },
    /// Failed; try again later. Nothing shortens the delay.
    Nack {
        /// From now.
        after: Duration,
    },
    /// Not now, and no attempt used.
    Defer {
        /// From now.
        after: Duration,
    },
    /// Given up. The dead letter must be in Postgres already.
    Bury,
}

impl Outcome {
    /// Its name in scripts and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Again { .. } => "again",
            Self::Nack { .. } => "nack",
            Self::Defer { .. } => "defer",
            Self::Bury => "bury",
        }
    }
}

/// What became of a permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitReport {
    /// [`Permit::id`].
    pub id: i64,
    /// [`Permit::kind`].
    pub kind: String,
    /// Whether a request was sent under it. When none was, and none ever will be, it is given back.
    pub sent: bool,
    /// What the answer said about limits.
    pub signal: RateSignal,
}

impl PermitReport {
    /// A request was sent and answered.
    pub fn answered(permit: Permit, signal: RateSignal) -> Self {
        Self { id: permit.id, kind: permit.kind, sent: true, signal }
    }

    /// No request was sent. Takes the permit, so that none can be.
    pub fn unused(permit: Permit) -> Self {
        Self { id: permit.id, kind: permit.kind, sent: false, signal: RateSignal::default() }
    }
}
