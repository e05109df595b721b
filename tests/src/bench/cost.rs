//! What a job costs Redis in time, beside the least that a queue can do, and in memory.

use std::sync::LazyLock;

use anyhow::ensure;
use common::job::Priority;
use common::queue::{Outcome, PermitReport, Shard};
use common::quota::RateSignal;
use redis::Script;
use uuid::Uuid;

use super::effort::Effort;
use super::figure::{Figures, Reach};
use super::ground::{self, BATCH, Ground, Measured, Server, checks, float, long_id, usual_id};

static BARE_ENQUEUE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/bare_enqueue.lua")));
static BARE_CLAIM: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/bare_claim.lua")));
static BARE_ACK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/bare_ack.lua")));

/// Batches that a worker of the usual settings holds at once.
const SLOTS: usize = 16;

/// Time and memory of a job.
///
/// # Errors
///
/// When Redis fails, or a job is missing.
pub async fn measure(
    redis: &Measured,
    effort: &Effort,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for _ in 0..effort.runs {
        let long = time_per_job(redis, effort.jobs, long_id).await?;
        let name = "Redis CPU per job: enqueue + claim + ack by 50, 200 bytes each";
        figures.record(name, "us", Some(Reach::AtMost(20.0)), long.whole());
        figures.record("of which enqueue", "us", None, long.enqueue);
        figures.record("of which claim", "us", None, long.claim);
        figures.record("of which ack", "us", None, long.ack);
        let usual = time_per_job(redis, effort.jobs, usual_id).await?;
        figures.record("the same, usual ids (34 bytes)", "us", None, usual.whole());
        let us = bare_time_per_job(redis, effort.jobs).await?;
        figures.record("a bare ZADD, ZPOPMIN, HDEL by 50, 200 bytes each", "us", None, us);
    }
    for _ in 0..effort.runs {
        let bytes = bytes_per_job(redis, effort.waiting).await?;
        let name = format!("Redis memory per waiting check, {} of them", effort.waiting);
        figures.record(&name, "bytes", Some(Reach::AtMost(300.0)), bytes);
    }
    Ok(())
}

/// Microseconds of Redis' processor for one job.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    enqueue: f64,
    claim: f64,
    ack: f64,
}

impl Time {
    fn whole(self) -> f64 {
        self.enqueue + self.claim + self.ack
    }
}

/// All jobs are enqueued, then taken in turns: as many claims as a worker has slots, then as many
/// settlings.
async fn time_per_job(redis: &Measured, jobs: u64, id: fn(u64) -> String) -> anyhow::Result<Time> {
    let ground = Ground::prepare(redis, 1, BATCH).await?;
    let (lane, queue, server) = (ground.lane()?, &ground.queue, Server::new(redis));
    let waiting = checks(lane, "profile", Priority::Bulk, 0..jobs, id);
    let mut spent = Time::default();
    let mut at = server.cpu_us().await?;
    let mut lap = async |part: &mut f64| {
        let now = server.cpu_us().await?;
        *part += now - std::mem::replace(&mut at, now);
        anyhow::Ok(())
    };
    for batch in waiting.chunks(BATCH) {
        queue.enqueue(batch).await?;
    }
    lap(&mut spent.enqueue).await?;
    let mut left = waiting.len();
    while left > 0 {
        let mut held = Vec::new();
        for _ in 0..SLOTS.min(left.div_ceil(BATCH)) {
            held.extend(queue.claim(Shard(0), std::slice::from_ref(lane), 1).await?.batches);
        }
        ensure!(!held.is_empty(), "work waits and none is given");
        lap(&mut spent.claim).await?;
        for batch in held {
            let outcomes: Vec<_> =
                batch.jobs.iter().map(|job| (job.id.clone(), Outcome::Ack)).collect();
            let report = PermitReport::answered(batch.permit, RateSignal::default());
            let lost = queue.settle(lane, batch.fence, &outcomes, &[report]).await?;
            ensure!(lost.is_empty(), "leases were lost");
            left -= outcomes.len();
        }
        lap(&mut spent.ack).await?;
    }
    ground.clear().await?;
    let per_job = |us: f64| us / float(jobs);
    Ok(Time {
        enqueue: per_job(spent.enqueue),
        claim: per_job(spent.claim),
        ack: per_job(spent.ack),
    })
}

/// The same jobs through a queue that knows no lanes, quotas, leases, fences or duplicates.
async fn bare_time_per_job(redis: &Measured, jobs: u64) -> anyhow::Result<f64> {
    let (mut redis, server) = (redis.connection.clone(), Server::new(redis));
    let namespace = format!("bench-{}-", Uuid::now_v7());
    let [ready, arguments] = ["ready", "jobs"].map(|part| format!("{{{namespace}}}:{part}"));
    let argument = "x".repeat(200);
    let ids: Vec<String> = (0..jobs).map(usual_id).collect();
    let before = server.cpu_us().await?;
    for batch in ids.chunks(BATCH) {
        let mut call = BARE_ENQUEUE.key(&ready);
        call.key(&arguments);
        for id in batch {
            call.arg(id).arg(&argument);
        }
        let () = call.invoke_async(&mut redis).await?;
    }
    let mut done = 0;
    while done < jobs {
        let claimed: Vec<String> =
            BARE_CLAIM.key(&ready).key(&arguments).arg(BATCH).invoke_async(&mut redis).await?;
        ensure!(!claimed.is_empty(), "work waits and none is given");
        let ids: Vec<&String> = claimed.iter().step_by(2).collect();
        let () = BARE_ACK.key(&arguments).arg(&ids).invoke_async(&mut redis).await?;
        done += u64::try_from(ids.len())?;
    }
    let spent = server.cpu_us().await? - before;
    ground::clear(&redis, &namespace).await?;
    Ok(spent / float(jobs))
}

/// Bytes that one waiting check takes, of all that it makes Redis allocate.
async fn bytes_per_job(redis: &Measured, jobs: u64) -> anyhow::Result<f64> {
    let ground = Ground::prepare(redis, 1, BATCH).await?;
    let server = Server::new(redis);
    let waiting = checks(ground.lane()?, "profile", Priority::Webhook, 0..jobs, usual_id);
    let before = server.memory_bytes().await?;
    ground.queue.enqueue(&waiting).await?;
    let taken = server.memory_bytes().await? - before;
    ground.clear().await?;
    Ok(taken / float(jobs))
}
