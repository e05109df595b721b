//! Look at what sends the platform's webhooks to us.

use common::fleet::senders::{self, WatchError};
use common::queue::Outcome;

use super::{Failure, Work};
use crate::outcome::Then;

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Platform(error) => Self::Platform(error),
            WatchError::Store(error) => error.into(),
        }
    }
}

/// Looks, and does what there is to do about it. The next look is the scheduler's to ask for.
pub(super) async fn run(work: &Work<'_>, kind: &str) -> Result<Vec<Then>, Failure> {
    let (worker, connection) = (work.worker, work.connection);
    if senders::is_watched(connection) {
        let call = work.call(kind);
        senders::watch(&worker.fleet, connection, &call, worker.watch, &worker.metrics).await?;
    }
    Ok(work.jobs.iter().map(|_| Then::Settle(Outcome::Ack)).collect())
}
