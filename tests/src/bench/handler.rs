//! Handlers that do nothing but tell of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::job::Priority;
use common::queue::Outcome;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use worker::handlers::{Failure, Handler, Work};
use worker::outcome::Then;

/// Counts jobs down.
#[derive(Debug)]
pub struct Countdown {
    left: AtomicU64,
    over: Notify,
}

impl Countdown {
    /// From as many.
    pub fn from(jobs: u64) -> Self {
        Self { left: AtomicU64::new(jobs), over: Notify::new() }
    }

    /// Returns when all have been handled.
    pub async fn over(&self) {
        self.over.notified().await;
    }
}

#[async_trait]
impl Handler for Countdown {
    async fn run(&self, work: &Work<'_>) -> Result<Vec<Then>, Failure> {
        let jobs = u64::try_from(work.jobs.len()).unwrap_or(u64::MAX);
        if self.left.fetch_sub(jobs, Ordering::Relaxed) == jobs {
            self.over.notify_one();
        }
        Ok(all(work, Outcome::Ack))
    }
}

/// Says when a webhook's handler began. Bulk jobs take as long as a request would and are enqueued
/// again at the end of their priority, so that as many wait as before.
#[derive(Debug)]
pub struct Watch {
    began: mpsc::UnboundedSender<Instant>,
    bulk_takes: Duration,
}

impl Watch {
    /// And where it says so.
    pub fn new(bulk_takes: Duration) -> (Self, mpsc::UnboundedReceiver<Instant>) {
        let (began, when) = mpsc::unbounded_channel();
        (Self { began, bulk_takes }, when)
    }
}

#[async_trait]
impl Handler for Watch {
    async fn run(&self, work: &Work<'_>) -> Result<Vec<Then>, Failure> {
        if work.priority == Priority::Webhook {
            // Nobody listens any more when the bench ends.
            let _ = self.began.send(Instant::now());
            return Ok(all(work, Outcome::Ack));
        }
        sleep(self.bulk_takes).await;
        Ok(all(work, Outcome::Again { after: Duration::ZERO, round: 0 }))
    }
}

fn all(work: &Work<'_>, outcome: Outcome) -> Vec<Then> {
    work.jobs.iter().map(|_| Then::Settle(outcome)).collect()
}
