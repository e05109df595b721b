//! The permits of one batch: the one that its claim brought, then further ones from the bucket.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::fleet::Connection;
use common::job::Priority;
use common::queue::PermitReport;
use common::quota::{Permit, Permits, QuotaError, RateSignal};
use tokio::time::Instant;
use tracing::warn;

use crate::batch::Worker;

/// Windows up to this length are settled at once: waiting for the database would cost them a
/// large share of their rate.
const SHORT_WINDOW: Duration = Duration::from_secs(5);

/// Where a batch gets its permits.
#[derive(Debug)]
pub struct BatchPermits<'a> {
    worker: &'a Worker,
    connection: &'a Connection,
    priority: Priority,
    first: Mutex<Option<Permit>>,
    used: Mutex<Vec<PermitReport>>,
}

impl<'a> BatchPermits<'a> {
    /// - `first`: what the claim brought.
    pub fn new(
        worker: &'a Worker,
        connection: &'a Connection,
        priority: Priority,
        first: Permit,
    ) -> Self {
        let (first, used) = (Mutex::new(Some(first)), Mutex::default());
        Self { worker, connection, priority, first, used }
    }

    /// What is to be told of permits at the end: those that were used and are not settled yet, and
    /// the first one when nothing came of it.
    pub fn reports(&self) -> Vec<PermitReport> {
        let mut reports =
            std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        reports.extend(first.map(PermitReport::unused));
        reports
    }

    fn take_first(&self, kind: &str) -> Option<Permit> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.take_if(|permit| permit.kind == kind)
    }

    async fn acquire(&self, kind: &str) -> Result<Permit, QuotaError> {
        let (queue, lane) = (&self.worker.queue, self.connection.lane());
        let ask = || queue.acquire(lane, kind, self.priority);
        match self.worker.lines.wait(lane, kind, self.priority, ask).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(wait)) => Err(QuotaError::After(wait)),
            Err(error) => Err(QuotaError::Unreachable(error.into())),
        }
    }

    fn draws_on(&self, kind: &str, of_interest: impl Fn(&common::quota::Quota) -> bool) -> bool {
        self.connection.limits.drawn_on(kind).any(of_interest)
    }
}

#[async_trait]
impl Permits for BatchPermits<'_> {
    async fn take(&self, kind: &str) -> Result<Permit, QuotaError> {
        let permit = match self.take_first(kind) {
            Some(permit) if Instant::now() < permit.use_by => permit,
            _ => self.acquire(kind).await?,
        };
        if self.draws_on(kind, common::quota::Quota::is_recorded) {
            // Before it is sent: a lost ledger is rebuilt from these rows.
            self.worker
                .store
                .record_sent(self.connection.id, &[permit.id])
                .await
                .map_err(|error| QuotaError::Unreachable(error.into()))?;
        }
        Ok(permit)
    }

    async fn settle(&self, permit: Permit, signal: RateSignal) {
        let at_once = signal.refused_for.is_some()
            || self.draws_on(&permit.kind, |quota| quota.window <= SHORT_WINDOW);
        let report = PermitReport::answered(permit, signal);
        if at_once {
            let lane = self.connection.lane();
            match self.worker.queue.observe(lane, std::slice::from_ref(&report)).await {
                Ok(()) => return,
                // It is told once more at the end of the batch.
                Err(error) => warn!(%error, %lane, "a permit could not be settled"),
            }
        }
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(report);
    }

    async fn failed(&self) {
        self.worker.fleet.count_failure(self.connection).await;
    }
}
