//! Where clients get their permits: our queue, or one of the usual limiters.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use common::ids::Lane;
use common::job::Priority;
use common::link::Links;
use common::queue::{Keys, LaneBook, Ledger, PermitReport, QueueSettings, RedisQueue};
use common::quota::{Permit, RateSignal};
use redis::Script;
use redis::aio::ConnectionManager;
use tokio::time::Instant;

use super::plan::{Plan, Posted, Scheme};

/// A client gives up an answer after this. Shorter than in production, so that some of the
/// requests that stall run into it.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// What all requests are.
const KIND: &str = "check";
/// Windows up to this length are settled at once, as a worker does.
const SHORT_WINDOW: Duration = Duration::from_secs(5);

static TOKEN_BUCKET: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/token_bucket.lua")));
static GRANT_LOG: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/grant_log.lua")));

/// Permits for the clients of one trial in one process.
pub struct Gate {
    redis: ConnectionManager,
    queue: RedisQueue,
    lane: Lane,
    scheme: Scheme,
    settled_at_once: bool,
    /// Keys and arguments of the plain schemes.
    keys: Vec<String>,
    args: Vec<u64>,
    /// Permits that were used and are not settled yet.
    used: Mutex<Vec<PermitReport>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// The queue that serves all trials of a plan.
///
/// # Errors
///
/// When quotas contradict themselves.
pub fn queue(redis_url: &str, plan: &Plan) -> anyhow::Result<RedisQueue> {
    let keys = Keys::new(&plan.namespace);
    let links = Links::new(&redis_url.parse()?, keys.shards().map(|shard| keys.shard(shard)))?;
    let lanes = plan.trials.iter().map(|posted| (posted.lane.clone(), posted.trial.limits()));
    let book = LaneBook::new(&keys, lanes)?;
    let settings = QueueSettings { request_timeout: REQUEST_TIMEOUT, ..QueueSettings::default() };
    Ok(RedisQueue::new(links, keys, book, settings))
}

/// Says that nothing was sent before, as on the first start of a fleet: without it the ledgers
/// stay closed for a window.
///
/// # Errors
///
/// When Redis is away.
pub async fn open(queue: &RedisQueue, plan: &Plan) -> anyhow::Result<()> {
    for posted in &plan.trials {
        let ledgers = vec![Ledger::Empty; posted.trial.quotas.len()];
        queue.open(&posted.lane, &ledgers).await?;
    }
    Ok(())
}

impl Gate {
    /// The gate of one trial.
    pub fn new(
        redis: &ConnectionManager,
        queue: &RedisQueue,
        plan: &Plan,
        posted: &Posted,
    ) -> Self {
        let quotas = &posted.trial.quotas;
        let micros = |window: Duration| u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        Self {
            redis: redis.clone(),
            queue: queue.clone(),
            lane: posted.lane.clone(),
            scheme: posted.trial.scheme,
            settled_at_once: quotas.iter().any(|quota| quota.window <= SHORT_WINDOW),
            keys: quotas
                .iter()
                .map(|quota| format!("{{{}}}:plain:{}:{}", plan.namespace, posted.lane, quota.name))
                .collect(),
            args: quotas
                .iter()
                .flat_map(|quota| [u64::from(quota.limit), micros(quota.window)])
                .collect(),
            used: Mutex::default(),
        }
    }

    /// A permit, or the time until there may be one.
    ///
    /// # Errors
    ///
    /// When Redis is away.
    pub async fn take(&self, priority: Priority) -> anyhow::Result<Result<Permit, Duration>> {
        let script = match self.scheme {
            Scheme::Ours => return Ok(self.queue.acquire(&self.lane, KIND, priority).await?),
            Scheme::TokenBucket => &TOKEN_BUCKET,
            Scheme::GrantLog => &GRANT_LOG,
        };
        let asked_at = Instant::now();
        let wait_us: u64 = script
            .key(&self.keys)
            .arg(&self.args)
            .invoke_async(&mut self.redis.clone())
            .await
            .context("plain scheme")?;
        if wait_us > 0 {
            return Ok(Err(Duration::from_micros(wait_us)));
        }
        let use_by = asked_at + self.queue.settings().permit_use_by;
        Ok(Ok(Permit { id: 0, kind: KIND.to_owned(), use_by }))
    }

    /// What became of a permit that was sent. Settled at once or with the next batch, as
    /// `worker::permits` does.
    ///
    /// # Errors
    ///
    /// When Redis is away.
    pub async fn settle(&self, permit: Permit, signal: RateSignal) -> anyhow::Result<()> {
        if self.scheme != Scheme::Ours {
            return Ok(());
        }
        let at_once = self.settled_at_once || signal.refused_for.is_some();
        let report = PermitReport::answered(permit, signal);
        if at_once {
            self.queue.observe(&self.lane, &[report]).await?;
        } else {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        }
        Ok(())
    }

    /// Nothing was sent under a permit.
    ///
    /// # Errors
    ///
    /// When Redis is away.
    pub async fn give_back(&self, permit: Permit) -> anyhow::Result<()> {
        if self.scheme == Scheme::Ours {
            self.queue.observe(&self.lane, &[PermitReport::unused(permit)]).await?;
        }
        Ok(())
    }

    /// Settles the batch that has come together.
    ///
    /// # Errors
    ///
    /// When Redis is away.
    pub async fn settle_batch(&self) -> anyhow::Result<()> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if !used.is_empty() {
            self.queue.observe(&self.lane, &used).await?;
        }
        Ok(())
    }
}
