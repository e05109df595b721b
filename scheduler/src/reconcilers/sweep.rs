//! Brings the index in Redis back to what Postgres says: open notices, running scans and
//! suspected records whose job Redis does not have; and, where it is made new, who is paused.

use std::sync::Arc;
use std::time::Duration;

use common::config::{SchedulerConfig, WorkerConfig};
use common::fleet::{Connection, Connections, Fleet};
use common::job::{Job, Priority, Task};
use common::queue::{Epoch, Queue};
use common::store::Store;
use futures_util::{StreamExt, TryStreamExt, stream};
use tracing::info;
use uuid::Uuid;

use crate::Reconcile;

/// A notice this young is being enqueued by whoever wrote it down.
const BEING_ENQUEUED: Duration = Duration::from_secs(2);
/// Pages of the inbox in one pass; the next one goes on from there.
const PAGES_PER_PASS: u32 = 50;
/// Lanes of a lost index whose pauses are looked at together, and how often each.
const HOLDS_UNDER_WAY: usize = 8;
const HOLDS_AT_MOST: usize = 3;
/// Suspected records of one type in one pass.
const SUSPECTED_PER_PASS: u32 = 500;

/// See the module.
#[derive(Debug)]
pub struct Sweep {
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    connections: Connections,
    batch: u32,
    /// A missing record gets its second look from the worker that saw it missing; this much later
    /// its job must have been lost.
    confirm_after: Duration,
    /// Where the walk through the inbox goes on.
    position: i64,
    /// Parts of the index that were incomplete when the walk began; empty when all was there.
    rebuilding: Vec<Epoch>,
}

impl Sweep {
    /// A sweeper at the start of the inbox.
    pub fn new(fleet: Fleet, scheduler: &SchedulerConfig, worker: &WorkerConfig) -> Self {
        let Fleet { db, queue, connections, .. } = fleet;
        let (batch, confirm_after) = (scheduler.sweep_batch, worker.missing_confirm_after);
        Self::over(Arc::new(queue), Arc::new(db), connections, batch, confirm_after)
    }

    /// The same, over other stores than a fleet's.
    ///
    /// - `batch`: notices on a page.
    /// - `confirm_after`: from a look that found nothing to the next.
    pub fn over(
        queue: Arc<dyn Queue>,
        store: Arc<dyn Store>,
        connections: Connections,
        batch: u32,
        confirm_after: Duration,
    ) -> Self {
        Self {
            queue,
            store,
            connections,
            batch,
            confirm_after,
            position: 0,
            rebuilding: Vec::new(),
        }
    }

    /// Walks on through the inbox; `true` when the end was reached.
    async fn notices(&mut self, changed: &mut u64) -> anyhow::Result<bool> {
        // After a loss nobody is enqueueing anything that Redis still has.
        let age = if self.rebuilding.is_empty() { BEING_ENQUEUED } else { Duration::ZERO };
        for _ in 0..PAGES_PER_PASS {
            let page = self.store.sweep(self.position, age, self.batch).await?;
            let jobs: Vec<Job> = page
                .records
                .into_iter()
                .map(|record| Job {
                    lane: record.lane,
                    task: Task::Check {
                        record_type: record.record_type,
                        external_id: record.external_id,
                    },
                    priority: record.priority,
                    trace: record.trace,
                })
                .collect();
            *changed += self.ensure(jobs).await?;
            let Some(next) = page.next else {
                self.position = 0;
                return Ok(true);
            };
            self.position = next;
        }
        Ok(false)
    }

    async fn scans(&self) -> anyhow::Result<u64> {
        let runs = self.store.running().await?;
        let jobs = runs
            .into_iter()
            .map(|run| Job {
                lane: run.lane,
                task: Task::Scan { record_type: run.record_type },
                priority: Priority::Bulk,
                trace: String::new(),
            })
            .collect();
        self.ensure(jobs).await
    }

    async fn suspected(&self) -> anyhow::Result<u64> {
        let mut changed = 0;
        for connection in self.connections.iter() {
            for kind in connection.platform.records() {
                let record_type = kind.name.into();
                let ids = self
                    .store
                    .suspected(connection.id, &record_type, self.confirm_after, SUSPECTED_PER_PASS)
                    .await?;
                let jobs = ids
                    .into_iter()
                    .map(|external_id| Job {
                        lane: connection.lane().clone(),
                        task: Task::Check { record_type: record_type.clone(), external_id },
                        priority: Priority::SpotCheck,
                        trace: String::new(),
                    })
                    .collect();
                changed += self.ensure(jobs).await?;
            }
        }
        Ok(changed)
    }

    /// Whether a lane is paused is what Postgres says. A Redis that took over may have missed the last
    /// word, and a lane that it takes for paused is claimed by nobody who could find out.
    async fn holds(&self, lost: &[Epoch]) -> anyhow::Result<()> {
        let is_lost = |lane| lost.iter().any(|epoch| epoch.shard == self.queue.shard_of(lane));
        let connections = self.connections.iter().filter(|connection| is_lost(connection.lane()));
        stream::iter(connections.map(|connection| self.hold(connection)).collect::<Vec<_>>())
            .buffer_unordered(HOLDS_UNDER_WAY)
            .try_collect()
            .await
    }

    async fn hold(&self, connection: &Connection) -> anyhow::Result<()> {
        let (lane, mut parked) = (connection.lane(), self.store.is_parked(connection.id).await?);
        // Who changes it meanwhile does so in Postgres first, and then here: one of us is the last.
        for _ in 0..HOLDS_AT_MOST {
            if parked {
                self.queue.pause(lane).await?;
            } else {
                self.queue.resume(lane).await?;
            }
            let now = self.store.is_parked(connection.id).await?;
            if now == parked {
                break;
            }
            parked = now;
        }
        Ok(())
    }

    async fn ensure(&self, mut jobs: Vec<Job>) -> anyhow::Result<u64> {
        // One call for each lane.
        jobs.sort_by(|a, b| a.lane.cmp(&b.lane));
        let enqueued = self.queue.ensure(&jobs).await?;
        Ok(enqueued.added + enqueued.raised)
    }
}

impl Reconcile for Sweep {
    const NAME: &'static str = "sweep";

    async fn activate(&mut self) -> anyhow::Result<u64> {
        let mut lost = self.queue.epochs().await?;
        lost.retain(|epoch| epoch.name.is_none());
        // Also when more was lost since the walk began, or the same once more.
        if lost.iter().any(|epoch| !self.rebuilding.contains(epoch)) {
            let shards: Vec<String> = lost.iter().map(|epoch| epoch.shard.to_string()).collect();
            info!(
                shards = shards.join(" "),
                "Redis is new to us or was replaced: the index is rebuilt from Postgres"
            );
            self.holds(&lost).await?;
            (self.rebuilding, self.position) = (lost, 0);
        }
        let mut changed = self.scans().await?;
        changed += self.suspected().await?;
        let complete = self.notices(&mut changed).await?;
        if complete {
            let epoch = Uuid::now_v7().to_string();
            for seen in std::mem::take(&mut self.rebuilding) {
                if self.queue.begin_epoch(&seen, &epoch).await? {
                    info!(epoch, shard = %seen.shard, "the index is complete");
                }
            }
        }
        Ok(changed)
    }
}
