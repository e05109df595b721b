//! Waiting for wake-ups while other things may happen too.

use std::time::Duration;

use common::ids::Lane;
use common::queue::{QueueError, Shard, Wakes};
use futures_util::future::BoxFuture;
use tokio::select;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::lanes::Lanes;
use crate::pool::{Pool, REDIS_PAUSE};

/// A wake-up for a platform that has no room here is passed on this often at most. There is one at a
/// time: when it comes back at once, nobody else waits for it, and it would hide the others'.
const PASS_ON_EVERY: Duration = Duration::from_millis(100);
/// As long as a wait can be. No longer than a lease: of one that begins while this worker sleeps, with
/// another that then dies, it learns before that ends.
const LONGEST: Duration = Duration::from_secs(5);

type Rung = Result<Option<String>, QueueError>;

/// A wait that goes on when nobody waits for it: giving it up would cost a connection, and might
/// swallow a wake-up.
pub(crate) struct Bell {
    waiter: Option<Box<dyn Wakes>>,
    waiting: Option<BoxFuture<'static, (Box<dyn Wakes>, Rung)>>,
    /// When a wake-up without room was passed on.
    passed_on: Option<Instant>,
    /// One that came back since then.
    kept: bool,
}

impl Bell {
    pub(crate) fn new(waiter: Box<dyn Wakes>) -> Self {
        Self { waiter: Some(waiter), waiting: None, passed_on: None, kept: false }
    }

    /// A wait that was begun is not over: it may take a wake-up that another worker could use.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// As [`Wakes::wait`], but nothing is lost when it is dropped: the next call goes on with it.
    pub(crate) async fn rung(&mut self, longest: Option<Duration>) -> Rung {
        let goes_on = self.is_waiting();
        if let Some(mut waiter) = self.waiter.take() {
            self.waiting = Some(Box::pin(async move {
                let rung = waiter.wait(longest).await;
                (waiter, rung)
            }));
        }
        let Some(waiting) = &mut self.waiting else { return Ok(None) };
        let (waiter, rung) = if goes_on {
            // It was begun for another length of time.
            let ended = timeout(longest.unwrap_or(LONGEST), waiting).await;
            let Ok(ended) = ended else { return Ok(None) };
            ended
        } else {
            waiting.await
        };
        (self.waiter, self.waiting) = (Some(waiter), None);
        rung
    }

    /// Waits for a wake-up, until a lane may have something to run, or until one of the platforms
    /// that were left out has room. `true` when a wake-up was taken and is not passed on.
    ///
    /// - `next`: when a lane of the others may have something.
    pub(crate) async fn rest(
        &mut self,
        pool: &Pool,
        shard: Shard,
        lanes: &mut Lanes,
        without: &[String],
        next: Option<Duration>,
    ) -> bool {
        let longest = LONGEST.min(pool.worker.settings.lease);
        let wakes = Instant::now() + next.map_or(longest, |next| next.min(longest));
        loop {
            // First this, then the look: whoever makes room in between is heard.
            let loosened = pool.slots.loosened();
            if without.iter().any(|platform| pool.slots.has_room(platform)) {
                return false;
            }
            let again = self.passed_on.filter(|_| self.kept).map(|at| at + PASS_ON_EVERY);
            let until = again.map_or(wakes, |again| again.min(wakes));
            let rung = select! {
                biased;
                rung = self.rung(Some(until.saturating_duration_since(Instant::now()))) => rung,
                () = loosened, if !without.is_empty() => continue,
            };
            match rung {
                Ok(Some(name)) => return self.heard(pool, shard, lanes, without, &name).await,
                Ok(None) => {
                    if self.kept && self.may_pass_on() {
                        self.pass_on(pool, shard).await;
                    }
                    return false;
                }
                Err(error) => {
                    warn!(%shard, %error, "cannot wait for wake-ups");
                    sleep(REDIS_PAUSE).await;
                    return false;
                }
            }
        }
    }

    /// Whatever the lane, others may have asked for a wake-up meanwhile: a claim comes next.
    async fn heard(
        &mut self,
        pool: &Pool,
        shard: Shard,
        lanes: &mut Lanes,
        without: &[String],
        name: &str,
    ) -> bool {
        let platform = name.parse::<Lane>().map(|lane| lane.platform().to_owned());
        if !platform.is_ok_and(|platform| without.contains(&platform)) {
            lanes.woken(name);
            return true;
        }
        self.kept = !self.may_pass_on();
        if !self.kept {
            self.pass_on(pool, shard).await;
        }
        self.kept
    }

    fn may_pass_on(&self) -> bool {
        self.passed_on.is_none_or(|at| at.elapsed() >= PASS_ON_EVERY)
    }

    async fn pass_on(&mut self, pool: &Pool, shard: Shard) {
        (self.passed_on, self.kept) = (Some(Instant::now()), false);
        pool.pass_on(shard).await;
    }
}
