//! One of the schedulers leads; the others wait until it does not.
//!
//! This saves work and quota. Nothing that must be right depends on it: ticks are unique rows, and
//! enqueueing what waits already changes nothing.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, anyhow};
use common::store::leadership::Candidate;
use common::telemetry::Metrics;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often one who waits asks for the lock.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// After it could not stand for election, or not do the work.
const PAUSE: Duration = Duration::from_secs(1);
/// The lock is checked so often within a lease.
const CHECKS_PER_LEASE: u32 = 3;
/// The leader believes that it leads for so many sixths of the time for which the others do: the
/// clocks of two machines may run at slightly different speeds.
const TRUSTED_SIXTHS: u32 = 5;

/// The right to act as the leader; ends by itself when it is not confirmed in time.
#[derive(Clone, Debug)]
pub struct Tenure {
    until: watch::Receiver<Instant>,
    stop: CancellationToken,
}

impl Tenure {
    /// Cancelled when nothing new is to begin.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Whether it still holds.
    pub fn holds(&self) -> bool {
        Instant::now() < *self.until.borrow()
    }

    /// Drives `work` while it holds; drops it when it ends, and returns `None`.
    ///
    /// It is looked at before every step of the work: a process that was frozen wakes with answers
    /// in its hands, before its timers.
    pub async fn while_it_holds<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, mut ended) = (pin!(work), pin!(self.ended()));
        std::future::poll_fn(move |context| {
            if !self.holds() || ended.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    async fn ended(&self) {
        let mut until = self.until.clone();
        loop {
            let deadline = *until.borrow_and_update();
            if Instant::now() >= deadline {
                return;
            }
            tokio::select! {
                () = sleep_until(deadline) => {}
                changed = until.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// One who leads, or waits for it.
#[derive(Debug)]
pub struct Leader {
    url: SecretString,
    name: String,
    lease: Duration,
    metrics: Metrics,
}

impl Leader {
    /// - `url`: leads to Postgres itself, not to a proxy that pools transactions.
    /// - `lease`: how long it believes that it leads after each check of the lock.
    pub fn new(url: SecretString, lease: Duration, metrics: Metrics) -> Self {
        Self { url, name: name(), lease, metrics }
    }

    /// Waits for its turn and does `work` while it leads, again and again until `stop`.
    ///
    /// The work returns after `stop`, when it fails, or when its tenure has ended.
    pub async fn run<F>(&self, stop: &CancellationToken, work: impl Fn(Tenure) -> F)
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        while !stop.is_cancelled() {
            self.metrics.leads(false);
            let stood = self.stand(stop, &work).await;
            self.metrics.forget_lanes();
            if let Err(error) = stood {
                warn!(error = format!("{error:#}"), "does not lead");
                stop.run_until_cancelled(sleep(PAUSE)).await;
            }
        }
        self.metrics.leads(false);
    }

    /// Stands for election, and leads at most once.
    async fn stand<F>(
        &self,
        stop: &CancellationToken,
        work: &impl Fn(Tenure) -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let connecting = timeout(self.lease, Candidate::connect(&self.url, self.lease));
        let mut seat = connecting.await.context("Postgres is silent")??;
        let (term, asked) = loop {
            let asked = Instant::now();
            let begun = timeout(self.lease, seat.begin(&self.name));
            if let Some(term) = begun.await.context("Postgres is silent")?? {
                break (term, asked);
            }
            if stop.run_until_cancelled(sleep(ASK_EVERY)).await.is_none() {
                return Ok(());
            }
        };
        info!(term, "leads the schedulers");
        self.metrics.leads(true);

        let (confirm, until) = watch::channel(asked + self.trust());
        let mut working = pin!(work(Tenure { until, stop: stop.clone() }));
        let ended = tokio::select! {
            done = &mut working => Ok(done),
            lost = self.keep(&mut seat, term, &confirm) => Err(lost),
        };
        match ended {
            // It ended because its tenure had, which is seen here first now and then.
            Ok(Ok(())) if !stop.is_cancelled() => {
                Err(anyhow!("it could not be confirmed in time")).context("the lock was lost")
            }
            Ok(done) => {
                // Late, it has ended by itself.
                drop(timeout(self.lease, seat.resign(term)).await);
                info!(term, "leads no more");
                done
            }
            Err(lost) => {
                // Whatever still runs is dropped with this.
                confirm.send_replace(asked);
                drop(working.await);
                Err(lost).context("the lock was lost")
            }
        }
    }

    /// Confirms the term until that fails; returns why.
    async fn keep(
        &self,
        seat: &mut Candidate,
        term: i64,
        confirm: &watch::Sender<Instant>,
    ) -> anyhow::Error {
        let mut checks = interval(self.lease / CHECKS_PER_LEASE);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            let (asked, deadline) = (Instant::now(), *confirm.borrow());
            match timeout_at(deadline, seat.confirm(term)).await {
                Ok(Ok(true)) => drop(confirm.send_replace(asked + self.trust())),
                Ok(Ok(false)) => return anyhow!("another has it"),
                Ok(Err(error)) => return error.into(),
                Err(_) => return anyhow!("it could not be confirmed in time"),
            }
        }
    }

    fn trust(&self) -> Duration {
        self.lease / 6 * TRUSTED_SIXTHS
    }
}

/// Host and process id.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "unknown",
        host => host,
    };
    format!("{host}:{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenure(until: Duration) -> (watch::Sender<Instant>, Tenure) {
        let (sender, until) = watch::channel(Instant::now() + until);
        (sender, Tenure { until, stop: CancellationToken::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_dropped_when_the_tenure_is_not_confirmed_in_time() {
        let (confirm, tenure) = tenure(Duration::from_secs(5));
        let begun = Instant::now();
        let working = tenure.while_it_holds(sleep(Duration::from_mins(1)));
        let confirming = async {
            sleep(Duration::from_secs(4)).await;
            confirm.send_replace(Instant::now() + Duration::from_secs(5));
        };
        let (done, ()) = tokio::join!(working, confirming);
        assert_eq!((done, begun.elapsed()), (None, Duration::from_secs(9)));
        assert!(!tenure.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_there_when_the_tenure_has_passed_is_not_looked_at() {
        let (_confirm, tenure) = tenure(Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(tenure.while_it_holds(async { "write" }).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_by_itself_within_the_tenure() {
        let (_confirm, tenure) = tenure(Duration::from_secs(5));
        assert_eq!(tenure.while_it_holds(async { 7 }).await, Some(7));
        assert!(tenure.holds());
    }
}
