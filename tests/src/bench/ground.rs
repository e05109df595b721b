//! Where the queue itself is measured: lanes of its own on a server that tells what it spent.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use common::ids::Lane;
use common::job::{Job, Priority, Task};
use common::link::Links;
use common::queue::{Keys, LaneBook, Ledger, QueueSettings, RedisQueue};
use common::quota::{KindLimits, LaneLimits, Quota};
use redis::RedisError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use uuid::Uuid;

/// Jobs that share a request, and that are enqueued with one call.
pub const BATCH: usize = 50;
/// Keys that are deleted with one call.
const DELETED_AT_ONCE: usize = 500;

/// Deleting a million jobs takes a while.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);

/// A connection to the server.
pub async fn connect(url: &str) -> Result<ConnectionManager, RedisError> {
    let settings = ConnectionManagerConfig::new().set_response_timeout(Some(ANSWERS_WITHIN));
    let client = redis::Client::open(url)?;
    ConnectionManager::new_with_config(client, settings).await
}

/// The server that is measured.
pub struct Measured {
    url: String,
    /// For what no queue does.
    pub connection: ConnectionManager,
}

impl Measured {
    /// The server at this address.
    ///
    /// # Errors
    ///
    /// When it cannot be reached.
    pub async fn at(url: &str) -> Result<Self, RedisError> {
        Ok(Self { url: url.to_owned(), connection: connect(url).await? })
    }
}

/// Lanes with more quota than is ever used.
pub struct Ground {
    /// Their queue.
    pub queue: RedisQueue,
    /// Their names.
    pub lanes: Vec<Lane>,
    redis: ConnectionManager,
    namespace: String,
}

impl Ground {
    /// - `batch`: how many jobs share a request.
    pub async fn prepare(redis: &Measured, lanes: usize, batch: usize) -> anyhow::Result<Self> {
        let namespace = format!("bench-{}-", Uuid::now_v7());
        let keys = Keys::new(&namespace);
        let names: Vec<Lane> =
            (0..lanes).map(|n| format!("bench/lane-{n:05}").parse()).collect::<Result<_, _>>()?;
        let limits = ample(u32::try_from(batch)?);
        let book = LaneBook::new(&keys, names.iter().map(|lane| (lane.clone(), limits.clone())))?;
        let links = Links::new(&redis.url.parse()?, keys.shards().map(|shard| keys.shard(shard)))?;
        let queue = RedisQueue::new(links, keys, book, QueueSettings::default());
        for lane in &names {
            queue.open(lane, &[Ledger::Empty]).await?;
        }
        // Buckets start empty.
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(Self { queue, lanes: names, redis: redis.connection.clone(), namespace })
    }

    /// The first lane.
    pub fn lane(&self) -> anyhow::Result<&Lane> {
        self.lanes.first().context("no lane")
    }

    /// Deletes all of it.
    pub async fn clear(self) -> anyhow::Result<()> {
        clear(&self.redis, &self.namespace).await
    }
}

/// Deletes all keys of a namespace.
pub async fn clear(redis: &ConnectionManager, namespace: &str) -> anyhow::Result<()> {
    let mut redis = redis.clone();
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{{{namespace}*")).query_async(&mut redis).await?;
    for keys in keys.chunks(DELETED_AT_ONCE) {
        redis::cmd("DEL").arg(keys).exec_async(&mut redis).await?;
    }
    Ok(())
}

/// A million requests a second, in bursts of a thousand.
fn ample(batch: u32) -> LaneLimits {
    let (burst, headroom) = (1_000, 5);
    let quota = Quota { burst, headroom, ..Quota::new("ample", 1_000_000, Duration::from_secs(1)) };
    let profile = KindLimits { batch, cost: 1, quotas: vec![0] };
    LaneLimits { quotas: vec![quota], kinds: BTreeMap::from([("profile".to_owned(), profile)]) }
}

/// The id of a check as platforms make them: a type and 26 letters and digits.
pub fn usual_id(n: u64) -> String {
    format!("01J8ZQ5K{n:018}")
}

/// An id that makes the job's 200 bytes long.
pub fn long_id(n: u64) -> String {
    format!("{n:0>192}")
}

/// Checks with the trace context of whoever asked.
pub fn checks(
    lane: &Lane,
    kind: &str,
    priority: Priority,
    numbers: std::ops::Range<u64>,
    id: fn(u64) -> String,
) -> Vec<Job> {
    numbers
        .map(|n| Job {
            lane: lane.clone(),
            task: Task::Check {
                record_type: kind.into(),
                external_id: common::ids::ExternalId::new(id(n)),
            },
            priority,
            trace: format!("00-{:032x}-{:016x}-01", n + 1, n + 1),
        })
        .collect()
}

/// What a server says of itself.
pub struct Server {
    redis: ConnectionManager,
}

impl Server {
    /// Asks over this connection.
    pub fn new(redis: &Measured) -> Self {
        Self { redis: redis.connection.clone() }
    }

    /// Processor time that it has used, user and system, in microseconds.
    pub async fn cpu_us(&self) -> anyhow::Result<f64> {
        let info = self.info("cpu").await?;
        let seconds = field(&info, "used_cpu_user")? + field(&info, "used_cpu_sys")?;
        Ok(seconds * 1e6)
    }

    /// Memory that it has allocated, in bytes.
    pub async fn memory_bytes(&self) -> anyhow::Result<f64> {
        field(&self.info("memory").await?, "used_memory")
    }

    async fn info(&self, section: &str) -> anyhow::Result<String> {
        Ok(redis::cmd("INFO").arg(section).query_async(&mut self.redis.clone()).await?)
    }
}

fn field(info: &str, name: &str) -> anyhow::Result<f64> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.trim().parse().ok())
        .with_context(|| format!("INFO has no {name}"))
}

/// As a number of figures: exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}
