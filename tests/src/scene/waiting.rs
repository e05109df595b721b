//! What a story waits for: nothing sleeps, conditions are looked at until they hold.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use common::fleet::Fleet;
use common::ids::Lane;
use serde_json::Value;
use simulator::LiveRecord;
use tokio::time::{Instant, sleep};

use super::Scene;
use crate::mirror::{self, Mismatch, Name};

/// How long a condition may take to come true. Far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Scene {
    /// What is true on the platforms.
    pub fn truth(&self) -> BTreeMap<Name, Value> {
        let named = |record: LiveRecord| {
            let record_type = format!("{:?}", record.record_type).to_lowercase();
            let name = mirror::name(record.platform.name(), &record_type, record.external_id);
            (name, record.payload)
        };
        self.platforms.truth().records.into_iter().map(named).collect()
    }

    /// Every difference between mirror and truth.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn mismatches(&self) -> anyhow::Result<Vec<Mismatch>> {
        Ok(mirror::compare(&self.truth(), &mirror::mirrored(&self.db).await?))
    }

    /// Waits until the mirror is true.
    ///
    /// # Errors
    ///
    /// When it does not become so; the error has the differences.
    pub async fn becomes_true(&mut self) -> anyhow::Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            self.nobody_failed()?;
            let wrong = self.mismatches().await?;
            if wrong.is_empty() {
                return Ok(());
            }
            if Instant::now() > give_up {
                bail!("the mirror does not become true: {wrong:#?}");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until `condition` is met.
    ///
    /// # Errors
    ///
    /// When it is not, or it fails.
    pub async fn until(
        &mut self,
        what: &str,
        condition: impl AsyncFn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while !condition(self).await? {
            self.nobody_failed()?;
            if Instant::now() > give_up {
                bail!("it does not happen that {what}");
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until nothing waits for this fleet: no open notice, no job in the lane.
    ///
    /// # Errors
    ///
    /// When it does not come to rest.
    pub async fn comes_to_rest(&mut self, lane: &str) -> anyhow::Result<()> {
        let (fleet, lane): (Fleet, Lane) = (self.fleet().await?, lane.parse()?);
        self.until("the fleet comes to rest", async |scene| {
            let open: i64 =
                sqlx::query_scalar("select count(*) from inbox").fetch_one(&scene.db).await?;
            let depths = fleet.queue.depths(&lane).await?;
            let waiting = depths.ready.iter().sum::<u64>() + depths.delayed + depths.leased;
            Ok(open == 0 && waiting == 0)
        })
        .await
    }

    /// A story cannot go on when one of the processes has ended.
    fn nobody_failed(&mut self) -> anyhow::Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(ended) => {
                ended??;
                bail!("a process ended by itself")
            }
        }
    }
}
