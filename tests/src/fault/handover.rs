//! What a killed worker held, and when others had it. Told in Redis' time.

use std::time::Duration;

use anyhow::{Context, bail};
use common::ids::Lane;
use common::queue::Keys;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep};

use super::{Crew, Member, figures};
use crate::config_file::{EVENTBRITE, KLAVIYO};

const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the leases of one that was killed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handover {
    /// Jobs whose lease ran out.
    pub jobs: usize,
    /// From the kill until another had the last of them.
    pub last: Duration,
    /// From the end of a lease until another had its job, the worst.
    pub late: Duration,
    /// The longest time between two looks: so much of the others this machine may have held up.
    pub blind: Duration,
}

/// Looks at the leases of a crew's lanes.
pub struct Watch {
    redis: MultiplexedConnection,
    lanes: Vec<Leases>,
    /// At most a quarter of a lease is left when a living worker extends it.
    margin_us: u64,
    killed_us: u64,
}

/// The keys of a lane.
struct Leases {
    leases: String,
    jobs: String,
}

/// A lease that was there at the kill.
struct Held {
    lane: usize,
    job: String,
    ends_us: u64,
    seen_us: u64,
}

impl Crew {
    /// Waits until so many workers have nothing to do and wait for work.
    ///
    /// # Errors
    ///
    /// When they do not.
    pub async fn idle(&mut self, workers: usize) -> anyhow::Result<()> {
        let client = redis::Client::open(self.redis.url())?;
        let redis = client.get_multiplexed_async_connection().await?;
        let waiting = format!("blocked_clients:{workers}\r");
        self.scene
            .until("the workers wait for work", async |_| {
                let clients: String =
                    redis::cmd("INFO").arg("clients").query_async(&mut redis.clone()).await?;
                Ok(clients.contains(&waiting))
            })
            .await
    }

    /// SIGKILL to a worker; what it held is watched from then on.
    ///
    /// # Errors
    ///
    /// When it does not run, or Redis fails.
    pub async fn kill_and_watch(&mut self, member: Member) -> anyhow::Result<Watch> {
        let client = redis::Client::open(self.redis.url())?;
        let mut redis = client.get_multiplexed_async_connection().await?;
        let keys: Keys = self.scene.fleet().await?.queue.keys().clone();
        let lanes = [KLAVIYO, EVENTBRITE].map(|name| leases_of(&keys, name));
        let lanes = lanes.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let lease = self.scene.config().worker.lease;
        let killed_us = time_us(&mut redis).await?;
        self.kill(member).await?;
        let margin_us = u64::try_from((lease / 4).as_micros())?;
        Ok(Watch { redis, lanes, margin_us, killed_us })
    }
}

impl Watch {
    /// Looks until others have all that the dead one held.
    ///
    /// # Errors
    ///
    /// When that takes too long, or Redis fails.
    pub async fn handover(mut self) -> anyhow::Result<Handover> {
        let begun = Instant::now();
        let mut held = self.held().await?;
        let (mut handover, mut looked_us) = (Handover::default(), time_us(&mut self.redis).await?);
        while !held.is_empty() {
            if begun.elapsed() > PATIENCE {
                bail!("nobody takes what a dead worker held: {} jobs", held.len());
            }
            sleep(LOOK_EVERY).await;
            let now_us = time_us(&mut self.redis).await?;
            handover.blind = handover.blind.max(Duration::from_micros(now_us - looked_us));
            looked_us = now_us;
            let mut waiting = Vec::new();
            for mut lease in held {
                let (ends_us, there) = self.look(&lease).await?;
                let ran_out = lease.seen_us + self.margin_us >= lease.ends_us;
                if ends_us == Some(lease.ends_us) {
                    lease.seen_us = now_us;
                    waiting.push(lease);
                } else if !ran_out {
                    // A living worker has extended or settled it.
                } else if ends_us.is_none() && there {
                    waiting.push(lease);
                } else {
                    handover.jobs += 1;
                    let last = Duration::from_micros(now_us - self.killed_us);
                    let late = Duration::from_micros(now_us.saturating_sub(lease.ends_us));
                    (handover.last, handover.late) =
                        (handover.last.max(last), handover.late.max(late));
                }
            }
            held = waiting;
        }
        figures::note_handover("the jobs of a killed worker", &handover)?;
        Ok(handover)
    }

    async fn held(&mut self) -> anyhow::Result<Vec<Held>> {
        let seen_us = time_us(&mut self.redis).await?;
        let mut held = Vec::new();
        for (lane, keys) in self.lanes.iter().enumerate() {
            let leases: Vec<(String, u64)> =
                self.redis.zrange_withscores(&keys.leases, 0, -1).await?;
            let lease = |(job, ends_us)| Held { lane, job, ends_us, seen_us };
            held.extend(leases.into_iter().map(lease));
        }
        Ok(held)
    }

    /// When the lease of the job ends, if it has one, and whether there is such a job.
    async fn look(&mut self, held: &Held) -> anyhow::Result<(Option<u64>, bool)> {
        let keys = self.lanes.get(held.lane).context("its lane")?;
        Ok(redis::pipe()
            .atomic()
            .zscore(&keys.leases, &held.job)
            .hexists(&keys.jobs, &held.job)
            .query_async(&mut self.redis)
            .await?)
    }
}

fn leases_of(keys: &Keys, lane: &str) -> anyhow::Result<Leases> {
    let lane: Lane = lane.parse()?;
    let keys = keys.lane(&lane);
    let named = |part: &str| {
        let key = keys.iter().find(|key| key.contains(&format!(":{part}:")));
        key.cloned().with_context(|| format!("no key of {part}"))
    };
    Ok(Leases { leases: named("leases")?, jobs: named("jobs")? })
}

async fn time_us(redis: &mut MultiplexedConnection) -> anyhow::Result<u64> {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(redis).await?;
    Ok(seconds * 1_000_000 + micros)
}
